"""JSON forms of values, and canonical JSON: one text for equal values in every process and order."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import math
import pathlib
import uuid
from collections.abc import Mapping
from typing import Any, Final

import orjson

from hokusai_core.dspy_classes import media_kind
from hokusai_core.media import media_record

__all__ = ["canonical_json", "jsonable", "without_numpy"]

_SCALARS: Final = frozenset((str, int, float, bool, type(None)))
#: Beyond this limit orjson, which writes 64 bits, cannot distinguish an int from a float.
_INT_LIMIT: Final = 2**63
#: How DSPy marks what a prompt holds beside text.
_DSPY_MARKER: Final = "<<CUSTOM-TYPE-START-IDENTIFIER>>"
#: CPython refuses to write longer integers in decimal.
_DIGITS_LIMIT: Final = 14_000


def jsonable(value: Any) -> Any:
    """Convert ``value`` to None, bool, int, float, str, lists, and dicts with str keys.

    Enums become their values; pydantic models, attrs models and dataclasses become mappings of their fields; dates,
    durations, UUIDs, decimals, URLs and paths become texts; sets become sorted lists; scalars and arrays of numpy
    become the plain values that they hold. Pictures, sounds and files of DSPy become their type, size and digest.

    Raises:
        TypeError: naming the type that has no JSON form.
        ValueError: where the value is nested too deeply, or contains itself.
    """
    try:
        return _jsonable(value)
    except RecursionError:
        raise ValueError("the value is nested too deeply, or contains itself") from None


def _jsonable(value: Any) -> Any:
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is list or kind is tuple:
        return [_jsonable(item) for item in value]
    if isinstance(value, enum.Enum):
        return _jsonable(value.value)
    if isinstance(value, Mapping):
        return _mapping(value)
    for base in (str, bool, int, float):
        if isinstance(value, base):
            return base.__str__(value) if base is str else base(value)
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((_jsonable(item) for item in value), key=canonical_json)
    if isinstance(value, (datetime.date, datetime.time)):
        if value != value:  # pandas calls a missing time one
            raise TypeError(f"a value of type {kind.__name__} has no JSON form")
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return _duration(value)
    if isinstance(value, (uuid.UUID, decimal.Decimal, pathlib.PurePath)):
        return str(value)
    plain = without_numpy(value)
    return _model(value) if plain is value else _jsonable(plain)


def _duration(value: datetime.timedelta) -> str:
    """Return a duration as ISO 8601 writes it, to the microsecond."""
    sign, value = ("-", -value) if value < datetime.timedelta() else ("", value)
    seconds = f"{value.seconds}.{value.microseconds:06d}" if value.microseconds else f"{value.seconds}"
    return f"{sign}P{value.days}DT{seconds}S"


def without_numpy(value: Any) -> Any:
    """Return a scalar or array of numpy, or a column of pandas, as plain values; everything else as it is."""
    module = type(value).__module__.partition(".")[0]
    if module not in ("numpy", "pandas") or not hasattr(value, "tolist"):
        return value
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if kind == "V":  # records: bytes of any layout
        return value
    if module == "numpy" and kind in ("M", "m"):
        unit = value.dtype.str.partition("[")[2]
        fine = unit in ("ns]", "ps]", "fs]", "as]")  # of which numpy gives plain numbers
        exact = value.astype(f"{kind}8[us]") if fine else value
        return exact.tolist() if (exact == value).all() else value  # NaT equals nothing
    return value.tolist()


def _mapping(value: Mapping[Any, Any]) -> dict[str, Any]:
    result = {_key(key): _jsonable(item) for key, item in value.items()}
    if len(result) != len(value):
        raise ValueError("two keys of a mapping have the same JSON form")
    return result


def _key(key: Any) -> str:
    if type(key) is str:
        return key
    plain = _jsonable(key)
    if type(plain) is str:
        return plain
    if type(plain) is int:
        return str(plain)
    raise TypeError(f"a mapping key of type {type(key).__name__} has no JSON form; use texts")


def _model(value: Any) -> Any:
    cls = type(value)
    if media_kind(cls) is not None:
        return media_record(value)
    if hasattr(cls, "__pydantic_core_schema__") and hasattr(cls, "__pydantic_decorators__"):
        decorators = cls.__pydantic_decorators__
        if decorators.field_serializers or decorators.model_serializers:
            plain = value.model_dump(mode="json")
            if isinstance(plain, str) and plain.startswith(_DSPY_MARKER):  # the text is for a prompt, not for data
                raise TypeError(f"a value of type {cls.__name__} has no JSON form")
            return _jsonable(plain)
        # Not model_dump: computed fields would not be accepted when the value is read again.
        return {**{name: _jsonable(getattr(value, name)) for name in cls.model_fields}, **_extra(value)}
    if cls.__module__ in ("pydantic.networks", "pydantic_core._pydantic_core"):
        return str(value)
    if "__attrs_attrs__" in vars(cls):
        return {item.alias: _jsonable(getattr(value, item.name)) for item in cls.__attrs_attrs__ if item.init}
    if hasattr(cls, "__dataclass_fields__"):
        return {name: _jsonable(getattr(value, name)) for name in cls.__dataclass_fields__}
    raise TypeError(f"a value of type {cls.__name__} has no JSON form")


def _extra(value: Any) -> dict[str, Any]:
    return {name: _jsonable(item) for name, item in (value.__pydantic_extra__ or {}).items()}


def canonical_json(value: Any) -> bytes:
    """Return the one JSON text that ``value`` and everything equal to it has.

    Keys are sorted. ``1`` and ``1.0`` are equal, ``True`` and ``1`` are not; NaN equals itself. The text is for
    hashing: NaN, infinities and lone surrogates appear in it although strict JSON has none.

    Raises:
        TypeError: naming the type that has no JSON form.
        ValueError: where the value is nested too deeply, contains itself, or holds a number of over 4000 digits.

    Example:
        >>> canonical_json({"b": 1.0, "a": [True, None]})
        b'{"a":[true,null],"b":1}'
    """
    try:
        plain = _is_canonical(value)
        if not plain:
            value = _canonical(_jsonable(value))
        if plain or not _needs_tokens(value):
            try:
                return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
            except TypeError:  # a lone surrogate, an integer beyond 64 bits, or very deep nesting
                pass
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    except RecursionError:
        raise ValueError("the value is nested too deeply, or contains itself") from None
    return text.encode("utf-8", "surrogatepass")


def _is_canonical(value: Any) -> bool:
    """Return whether ``value`` is plain already and holds no number that is written in two ways."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return bool(-_INT_LIMIT < value < _INT_LIMIT)
    if kind is float:
        return bool(not value.is_integer() and math.isfinite(value))
    if kind is list:
        return all(map(_is_canonical, value))
    if kind is dict:
        for key, item in value.items():  # most inputs are a few texts, and pass here on every look-up
            if type(key) is not str or not (type(item) is str or _is_canonical(item)):
                return False
        return True
    return False


def _canonical(value: Any) -> Any:
    kind = type(value)
    if kind is float and value.is_integer():
        return int(value)
    if kind is int and value.bit_length() > _DIGITS_LIMIT:
        raise ValueError("a number has more than 4000 digits")
    if kind is list:
        return [_canonical(item) for item in value]
    if kind is dict:
        return {key: _canonical(item) for key, item in value.items()}
    return value


def _needs_tokens(value: Any) -> bool:
    """Return whether NaN or an infinity is in it, which orjson would write as null."""
    kind = type(value)
    if kind is float:
        return not math.isfinite(value)
    if kind is list:
        return any(map(_needs_tokens, value))
    if kind is dict:
        return any(map(_needs_tokens, value.values()))
    return False
