"""Convert values of callers and language models to scalars: texts, numbers, choices, dates, identifiers.

Lenient where text stands for something else (``"3"`` for a whole number), strict between types: True is not a
number, a number is not a text, a date is not a date and time. Messages name types, never a value.
"""

from __future__ import annotations

import datetime
import enum
import math
import re
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, TypeVar

from hokusai_core.errors import HokusaiError
from hokusai_core.json_encoding import jsonable
from hokusai_core.signatures.field_types import Shape, is_attrs_model, is_pydantic_model

__all__ = ["SCALARS", "Coercer", "CoercionError", "is_finite", "mismatch", "type_name"]

Coercer = Callable[[Any], Any]

_TRUTHS: Final = {
    "true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip
_WHOLE: Final = re.compile(r"\s*[+-]?[0-9]+\s*")
# Compiled when a value of their type is first read, and kept by the module re: a listing reads no values.
_DATE: Final = r"(?a)\d{4}-\d\d-\d\d"
_CLOCK: Final = r"\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:?\d\d(?::?\d\d(?:\.\d{1,6})?)?)?"
_TIME: Final = rf"(?a){_CLOCK}"
_DATETIME: Final = rf"(?a)\d{{4}}-\d\d-\d\d[T ]{_CLOCK}"
_DECIMAL: Final = r"(?a)[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,6})?"
_UUID: Final = r"(?ai)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}"
_DURATION: Final = (
    r"(?a)(?P<sign>[+-])?P(?:(?P<years>\d+)Y)?(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)(?:\.(?P<fraction>\d{1,6}))?S)?)?"
)
_HOURS: Final = (
    r"(?a)(?P<sign>[+-])?(?:(?P<days>\d+) days?,? )?(?P<hours>\d+):(?P<minutes>[0-5]\d)"
    r"(?::(?P<seconds>[0-5]\d)(?:\.(?P<fraction>\d{1,6}))?)?"
)
_LONGEST: Final = 5000


class CoercionError(HokusaiError, ValueError):
    """A value does not fit its field. The message says what was expected; it never holds the value.

    Args:
        message: a sentence fragment for a message.
        code: code of the problem.
    """

    def __init__(self, message: str, code: str = "wrong_type") -> None:
        super().__init__(message)
        self.code = code


def type_name(value: Any) -> str:
    """Return the kind of ``value``, which is all that a message may say about it."""
    return "None" if value is None else type(value).__name__


def mismatch(shape: Shape, value: Any) -> CoercionError:
    """Return the error for a value of another type."""
    if isinstance(value, str):
        return CoercionError(f"expected {shape.expected}, got another text")
    return CoercionError(f"expected {shape.expected}, got {type_name(value)}")


def is_finite(value: Any) -> bool:
    """Return whether no NaN and no infinity is in a number, list, mapping or model."""
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return True
    if kind is float:
        return bool(value - value == 0.0)  # false for NaN and the infinities
    if kind is list or kind is tuple:
        return all(map(is_finite, value))
    if kind is dict:
        return all(map(is_finite, value.values()))
    if is_pydantic_model(kind):
        return all(map(is_finite, vars(value).values())) and is_finite(value.__pydantic_extra__)
    if is_attrs_model(kind):
        return all(is_finite(getattr(value, item.name, None)) for item in kind.__attrs_attrs__)
    return True


def _text(shape: Shape) -> Coercer:
    def coerce(value: Any) -> str:
        if type(value) is str:
            return value
        if isinstance(value, str):
            return str.__str__(value)  # a subclass, an Enum of texts among them, may write itself differently
        raise mismatch(shape, value)

    return coerce


def _whole(shape: Shape) -> Coercer:
    def coerce(value: Any) -> int:
        if type(value) is int:
            return value
        if isinstance(value, bool):
            raise mismatch(shape, value)
        if isinstance(value, int):
            return int(value)
        if isinstance(value, str):
            if len(value) < _LONGEST and _WHOLE.fullmatch(value):
                try:
                    return int(value)
                except ValueError:  # more digits than Python reads
                    pass
            raise CoercionError("expected a whole number, got another text")
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
            return int(value)
        if isinstance(value, (float, Decimal)):
            raise CoercionError("expected a whole number, got a number with a fraction")
        raise mismatch(shape, value)

    return coerce


def _number(shape: Shape) -> Coercer:
    def coerce(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
            raise mismatch(shape, value)
        if isinstance(value, str) and "_" in value:
            raise CoercionError("expected a number, got another text")
        try:
            number = float(value)
        except (ValueError, OverflowError):
            raise CoercionError("expected a number, got another text or one that is too large") from None
        if not math.isfinite(number):
            raise CoercionError("expected a finite number", "out_of_range")
        return number

    return coerce


def _truth(shape: Shape) -> Coercer:
    def coerce(value: Any) -> bool:
        if type(value) is bool:
            return value
        if isinstance(value, str):
            truth = _TRUTHS.get(value.strip().lower())
            if truth is not None:
                return truth
            raise CoercionError("expected true or false, got another text")
        raise mismatch(shape, value)

    return coerce


def _nothing(shape: Shape) -> Coercer:
    def coerce(value: Any) -> None:
        if value is not None:
            raise mismatch(shape, value)

    return coerce


def _anything(_shape: Shape) -> Coercer:
    def coerce(value: Any) -> Any:
        if type(value) is str:
            return value
        try:
            plain = jsonable(value)
        except (TypeError, ValueError):
            raise CoercionError(f"expected plain data that JSON can hold, got {type_name(value)}") from None
        if not is_finite(plain):
            raise CoercionError("expected finite numbers", "out_of_range")
        return plain

    return coerce


def _literal(shape: Shape) -> Coercer:
    exact = {(type(value), value): value for value in shape.values}
    by_text: dict[str, Any] = {str(value): value for value in shape.values}
    for value in shape.values:
        if isinstance(value, bool):
            by_text.setdefault(str(value).lower(), value)

    def coerce(value: Any) -> Any:
        try:
            if (type(value), value) in exact:
                return exact[type(value), value]
        except TypeError:  # unhashable
            raise mismatch(shape, value) from None
        if isinstance(value, str):
            text = str.__str__(value).strip()
            if text in by_text:
                return by_text[text]
            raise CoercionError(f"must be {shape.expected}", "not_a_choice")
        raise mismatch(shape, value)

    return coerce


def _enumeration(shape: Shape) -> Coercer:
    members: type[enum.Enum] = shape.cls
    by_value = {(type(member.value), member.value): member for member in members}
    # A text that is one member's name and another's value means the value: that is what prompts and JSON show.
    by_text = dict(members.__members__) | {str(member.value): member for member in members}

    def coerce(value: Any) -> enum.Enum:
        if isinstance(value, members):
            return value
        if isinstance(value, enum.Enum):
            value = value.value  # of a class rebuilt from its description, or the one that was described
        try:
            member = by_value.get((type(value), value))
        except TypeError:  # unhashable
            raise mismatch(shape, value) from None
        if member is None and isinstance(value, str):
            member = by_text.get(value.strip())
            if member is None:
                raise CoercionError(f"must be {shape.expected}", "not_a_choice")
        if member is None and type(value) is int:
            member = by_value.get((float, float(value))) if abs(value) < 2**53 else None  # JSON may write 1 for 1.0
        if member is None:
            raise mismatch(shape, value)
        return member

    return coerce


def _date(shape: Shape) -> Coercer:
    def coerce(value: Any) -> datetime.date:
        if type(value) is datetime.date:
            return value
        if isinstance(value, str) and re.fullmatch(_DATE, value.strip()):
            return _parsed(datetime.date.fromisoformat, value.strip(), shape)
        if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
            return datetime.date(value.year, value.month, value.day)
        raise mismatch(shape, value)

    return coerce


def _datetime(shape: Shape) -> Coercer:
    def coerce(value: Any) -> datetime.datetime:
        if type(value) is datetime.datetime:
            return value
        if isinstance(value, str) and re.fullmatch(_DATETIME, value.strip()):
            return _parsed(datetime.datetime.fromisoformat, value.strip(), shape)
        # A subclass, such as a timestamp of pandas, which may be finer than microseconds or no time at all.
        if isinstance(value, datetime.datetime) and value == value and not getattr(value, "nanosecond", 0):
            return datetime.datetime.combine(
                datetime.date(value.year, value.month, value.day),
                datetime.time(value.hour, value.minute, value.second, value.microsecond, value.tzinfo, fold=value.fold),
            )
        raise mismatch(shape, value)

    return coerce


def _time(shape: Shape) -> Coercer:
    def coerce(value: Any) -> datetime.time:
        if isinstance(value, datetime.time):
            return value
        if isinstance(value, str) and re.fullmatch(_TIME, value.strip()):
            return _parsed(datetime.time.fromisoformat, value.strip(), shape)
        raise mismatch(shape, value)

    return coerce


def _timedelta(shape: Shape) -> Coercer:
    def coerce(value: Any) -> datetime.timedelta:
        if type(value) is datetime.timedelta:
            return value
        if isinstance(value, str):
            return _parsed(_duration, value.strip(), shape)
        if isinstance(value, datetime.timedelta) and value == value and not getattr(value, "nanoseconds", 0):
            return datetime.timedelta(value.days, value.seconds, value.microseconds)
        raise mismatch(shape, value)

    return coerce


def _duration(text: str) -> datetime.timedelta:
    found = re.fullmatch(_DURATION, text) or re.fullmatch(_HOURS, text)
    parts = {name: part for name, part in found.groupdict().items() if part} if found and len(text) < 60 else {}
    sign = -1 if parts.pop("sign", "+") == "-" else 1
    if not parts or (sign < 0 and found and not found[0].startswith("-P") and "days" in parts):
        raise ValueError  # Python writes minus one hour as "-1 day, 23:00:00", in which the sign is that of the day
    if "years" in parts:  # pydantic, and so a prompt, writes 400 days as P1Y35D
        parts["days"] = str(365 * int(parts.pop("years")) + int(parts.get("days", 0)))
    fraction = parts.pop("fraction", "")
    parts["microseconds"] = fraction.ljust(6, "0") if fraction else "0"
    return sign * datetime.timedelta(**{name: int(part) for name, part in parts.items()})


def _decimal(shape: Shape) -> Coercer:
    def coerce(value: Any) -> Decimal:
        if isinstance(value, bool):
            raise mismatch(shape, value)
        if isinstance(value, Decimal):
            if not value.is_finite():
                raise CoercionError("expected a finite number", "out_of_range")
            return Decimal(value)
        if isinstance(value, int):
            return Decimal(int(value))
        if isinstance(value, float):
            if not math.isfinite(value):
                raise CoercionError("expected a finite number", "out_of_range")
            return Decimal(repr(float(value)))  # what was written, not the binary number next to it
        if isinstance(value, str) and len(value) < _LONGEST and re.fullmatch(_DECIMAL, value.strip()):
            return Decimal(value.strip())
        raise mismatch(shape, value)

    return coerce


def _uuid(shape: Shape) -> Coercer:
    def coerce(value: Any) -> uuid.UUID:
        if isinstance(value, uuid.UUID):
            return value
        if isinstance(value, str) and re.fullmatch(_UUID, value.strip()):
            return uuid.UUID(value.strip())
        raise mismatch(shape, value)

    return coerce


def _url(shape: Shape) -> Coercer:
    from pydantic import TypeAdapter  # imported already: the type is one of pydantic's

    validate = TypeAdapter(shape.cls).validate_python

    def coerce(value: Any) -> Any:
        if type(value) is shape.cls:
            return value
        if isinstance(value, str) or type(value).__module__ in ("pydantic.networks", "pydantic_core._pydantic_core"):
            return _parsed(validate, str(value).strip(), shape)
        raise mismatch(shape, value)

    return coerce


_Parsed = TypeVar("_Parsed")


def _parsed(parse: Callable[[str], _Parsed], text: str, shape: Shape) -> _Parsed:
    try:
        return parse(text)
    except (ValueError, OverflowError):
        raise mismatch(shape, text) from None


#: Kind -> what makes its coercer.
SCALARS: Final[dict[str, Callable[[Shape], Coercer]]] = {
    "str": _text,
    "int": _whole,
    "float": _number,
    "bool": _truth,
    "null": _nothing,
    "any": _anything,
    "literal": _literal,
    "enum": _enumeration,
    "date": _date,
    "datetime": _datetime,
    "time": _time,
    "timedelta": _timedelta,
    "decimal": _decimal,
    "uuid": _uuid,
    "url": _url,
}
