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
from collections.abc import Callable, Mapping
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import Any, Final

from attrs import frozen

from hokusai_core.errors import HokusaiError
from hokusai_core.json_encoding import jsonable
from hokusai_core.signatures.field_types import Shape, is_attrs_model, is_pydantic_model

__all__ = ["Coercer", "CoercionError", "is_finite", "mismatch", "scalar_coercer", "type_name"]

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


def _text(shape: Shape, value: Any) -> str:
    if isinstance(value, str):
        # A subclass, an Enum of texts among them, may write itself differently.
        return value if type(value) is str else str.__str__(value)
    raise mismatch(shape, value)


def _whole(shape: Shape, value: Any) -> int:
    if type(value) is int:
        return value
    if isinstance(value, str):
        if len(value) < _LONGEST and _WHOLE.fullmatch(value):
            with suppress(ValueError):  # more digits than Python reads
                return int(value)
        raise CoercionError("expected a whole number, got another text")
    if isinstance(value, (float, Decimal)):
        if value.is_integer() if isinstance(value, float) else value.is_finite() and value == value.to_integral_value():
            return int(value)
        raise CoercionError("expected a whole number, got a number with a fraction")
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    raise mismatch(shape, value)


def _number(shape: Shape, value: Any) -> float:
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


def _decimal(shape: Shape, value: Any) -> Decimal:
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        # Of a float what was written, not the binary number next to it.
        number = Decimal(repr(float(value)) if isinstance(value, float) else value)
        if not number.is_finite():
            raise CoercionError("expected a finite number", "out_of_range")
        return number
    if isinstance(value, str) and len(value) < _LONGEST and re.fullmatch(_DECIMAL, value.strip()):
        return Decimal(value.strip())
    raise mismatch(shape, value)


def _truth(shape: Shape, value: Any) -> bool:
    truth = _TRUTHS.get(value.strip().lower()) if isinstance(value, str) else value
    if type(truth) is bool:
        return truth
    raise mismatch(shape, value)


def _nothing(shape: Shape, value: Any) -> None:
    if value is not None:
        raise mismatch(shape, value)


def _anything(_shape: Shape, value: Any) -> Any:
    if type(value) is str:
        return value
    try:
        plain = jsonable(value)
    except (TypeError, ValueError):
        raise CoercionError(f"expected plain data that JSON can hold, got {type_name(value)}") from None
    if not is_finite(plain):
        raise CoercionError("expected finite numbers", "out_of_range")
    return plain


def _text_form(shape: Shape, value: Any) -> Any:
    """Read a date, time, duration or identifier."""
    form = _FORMS[shape.kind]
    if type(value) is shape.cls:
        return value
    if isinstance(value, str):
        text = value.strip()
        if re.fullmatch(form.pattern, text):
            with suppress(ValueError, OverflowError):
                return form.parse(text)
    elif isinstance(value, shape.cls) and value == value:  # pandas calls a missing time one
        plain = form.plain(value)
        if plain is not None:
            return plain
    raise mismatch(shape, value)


def _plain_date(value: Any) -> datetime.date | None:
    return None if isinstance(value, datetime.datetime) else datetime.date(value.year, value.month, value.day)


def _plain_datetime(value: Any) -> datetime.datetime | None:
    if getattr(value, "nanosecond", 0):  # of pandas, finer than what it would become
        return None
    clock = datetime.time(value.hour, value.minute, value.second, value.microsecond, value.tzinfo, fold=value.fold)
    return datetime.datetime.combine(datetime.date(value.year, value.month, value.day), clock)


def _plain_timedelta(value: Any) -> datetime.timedelta | None:
    fine = getattr(value, "nanoseconds", 0)
    return None if fine else datetime.timedelta(value.days, value.seconds, value.microseconds)


def _duration(text: str) -> datetime.timedelta:
    found = re.fullmatch(_DURATION, text) or re.fullmatch(_HOURS, text)
    parts = {name: part for name, part in found.groupdict().items() if part} if found else {}
    sign = -1 if parts.pop("sign", "+") == "-" else 1
    if not parts or (sign < 0 and found and not found[0].startswith("-P") and "days" in parts):
        raise ValueError  # Python writes minus one hour as "-1 day, 23:00:00", in which the sign is that of the day
    if "years" in parts:  # pydantic, and so a prompt, writes 400 days as P1Y35D
        parts["days"] = str(365 * int(parts.pop("years")) + int(parts.get("days", 0)))
    fraction = parts.pop("fraction", "")
    parts["microseconds"] = fraction.ljust(6, "0") if fraction else "0"
    return sign * datetime.timedelta(**{name: int(part) for name, part in parts.items()})


@frozen
class _TextForm:
    """How values of one kind are written.

    Args:
        pattern: what a text has to match.
        parse: reads it; raises ``ValueError``.
        plain: makes a value of a subclass one of the class itself; None where that would change it.
    """

    pattern: str
    parse: Callable[[str], Any]
    plain: Callable[[Any], Any]


_FORMS: Final = {
    "date": _TextForm(_DATE, datetime.date.fromisoformat, _plain_date),
    "datetime": _TextForm(_DATETIME, datetime.datetime.fromisoformat, _plain_datetime),
    "time": _TextForm(_TIME, datetime.time.fromisoformat, lambda value: value),
    "timedelta": _TextForm(r".{1,59}", _duration, _plain_timedelta),
    "uuid": _TextForm(_UUID, uuid.UUID, lambda value: value),
}


def _literal(shape: Shape) -> Coercer:
    exact = {(type(value), value): value for value in shape.values}
    by_text = {str(value).lower(): value for value in shape.values if isinstance(value, bool)}
    return _choice(shape, exact, by_text | {str(value): value for value in shape.values})


def _enumeration(shape: Shape) -> Coercer:
    members: type[enum.Enum] = shape.cls
    exact = {(type(member.value), member.value): member for member in members}
    # JSON may write 1 for 1.0.
    whole = {(int, int(value)): member for (kind, value), member in exact.items()
             if kind is float and value.is_integer() and abs(value) < 2**53}  # fmt: skip
    # A text that is one member's name and another's value means the value: that is what prompts and JSON show.
    by_text = dict(members.__members__) | {str(member.value): member for member in members}
    choose = _choice(shape, whole | exact, by_text)

    def coerce(value: Any) -> Any:
        if isinstance(value, members):
            return value
        # The value of a class that was rebuilt from its description, or of the one that was described.
        return choose(value.value if isinstance(value, enum.Enum) else value)

    return coerce


def _choice(shape: Shape, exact: Mapping[tuple[type, Any], Any], by_text: Mapping[str, Any]) -> Coercer:
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


def _url(shape: Shape) -> Coercer:
    from pydantic import TypeAdapter  # imported already: the type is one of pydantic's

    validate = TypeAdapter(shape.cls).validate_python

    def coerce(value: Any) -> Any:
        if type(value) is shape.cls:
            return value
        if isinstance(value, str) or type(value).__module__ in ("pydantic.networks", "pydantic_core._pydantic_core"):
            with suppress(ValueError):
                return validate(str(value).strip())
        raise mismatch(shape, value)

    return coerce


#: Kind -> what reads a value of it.
_READERS: Final[dict[str, Callable[[Shape, Any], Any]]] = {
    "str": _text,
    "int": _whole,
    "float": _number,
    "bool": _truth,
    "null": _nothing,
    "any": _anything,
    "decimal": _decimal,
    **dict.fromkeys(_FORMS, _text_form),
}
#: Kind -> what prepares the reading of its values.
_MAKERS: Final[dict[str, Callable[[Shape], Coercer]]] = {"literal": _literal, "enum": _enumeration, "url": _url}


def scalar_coercer(shape: Shape) -> Coercer:
    """Return the function that turns values into a scalar; it raises CoercionError for what cannot be turned."""
    make = _MAKERS.get(shape.kind)
    return make(shape) if make else partial(_READERS[shape.kind], shape)
