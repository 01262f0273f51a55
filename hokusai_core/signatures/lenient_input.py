"""Turning what callers and language models give into values of a field's type.

Lenient where text stands for something else (``"3"`` for a whole number, ``"a, b"`` for a list), strict where a type
was mixed up (True is no number, a number is no text). Messages name types and positions, never a value.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping
from typing import Any

from hokusai_core.errors import HokusaiError
from hokusai_core.signatures.constraints import Constraints
from hokusai_core.signatures.field_types import Shape
from hokusai_core.signatures.text_lists import looks_like_json, split_list

__all__ = ["Coercer", "CoercionError", "coercer", "type_name"]

Coercer = Callable[[Any], Any]

_TRUTHS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


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


def coercer(shape: Shape) -> Coercer:
    """Return the function that turns values into ``shape``; it raises CoercionError for what cannot be turned."""
    return _MAKERS[shape.kind](shape)


def _mismatch(shape: Shape, value: Any) -> CoercionError:
    return CoercionError(f"expected {shape.expected}, got {type_name(value)}")


def _text(shape: Shape) -> Coercer:
    def coerce(value: Any) -> str:
        if type(value) is str:
            return value
        if isinstance(value, str):
            return str.__str__(value)  # a subclass, an Enum of texts among them, may write itself differently
        raise _mismatch(shape, value)

    return coerce


def _whole(shape: Shape) -> Coercer:
    def coerce(value: Any) -> int:
        if type(value) is int:
            return value
        if isinstance(value, bool):
            raise _mismatch(shape, value)
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if isinstance(value, str):
            try:
                return int(value)
            except ValueError:
                raise CoercionError("expected a whole number, got a text that is none") from None
        if isinstance(value, float):
            raise CoercionError("expected a whole number, got a number with a fraction")
        raise _mismatch(shape, value)

    return coerce


def _number(shape: Shape) -> Coercer:
    def coerce(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise _mismatch(shape, value)
        try:
            number = float(value)
        except (ValueError, OverflowError):
            raise CoercionError("expected a number, got a text or size that is none") from None
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
        raise _mismatch(shape, value)

    return coerce


def _nothing(shape: Shape) -> Coercer:
    def coerce(value: Any) -> None:
        if value is not None:
            raise _mismatch(shape, value)

    return coerce


def _anything(_shape: Shape) -> Coercer:
    from hokusai_core.json_encoding import jsonable

    def coerce(value: Any) -> Any:
        if type(value) is str:
            return value
        try:
            return jsonable(value)
        except (TypeError, ValueError):
            raise CoercionError(f"expected plain data that JSON can hold, got {type_name(value)}") from None

    return coerce


def _literal(shape: Shape) -> Coercer:
    exact = {(type(value), value): value for value in shape.values}
    by_text: dict[str, Any] = {}
    for value in shape.values:
        by_text.setdefault(str(value).lower() if isinstance(value, bool) else str(value), value)

    def coerce(value: Any) -> Any:
        try:
            if (type(value), value) in exact:
                return exact[type(value), value]
        except TypeError:  # unhashable
            raise _mismatch(shape, value) from None
        if isinstance(value, str) and value.strip() in by_text:
            return by_text[value.strip()]
        if isinstance(value, str):
            raise CoercionError(f"must be {shape.expected}", "not_a_choice")
        raise _mismatch(shape, value)

    return coerce


def _enumeration(shape: Shape) -> Coercer:
    members: type[enum.Enum] = shape.cls
    by_value = {(type(member.value), member.value): member for member in members}
    by_text = {str(member.value): member for member in members} | dict(members.__members__)

    def coerce(value: Any) -> enum.Enum:
        if isinstance(value, members):
            return value
        if isinstance(value, enum.Enum):
            value = value.value  # of a class rebuilt from its description, or the one that was described
        try:
            member = by_value.get((type(value), value))
        except TypeError:  # unhashable
            raise _mismatch(shape, value) from None
        if member is None and isinstance(value, str):
            member = by_text.get(value.strip())
            if member is None:
                raise CoercionError(f"must be {shape.expected}", "not_a_choice")
        if member is None:
            raise _mismatch(shape, value)
        return member

    return coerce


def _list(shape: Shape) -> Coercer:
    item_shape = shape.args[0]
    coerce_item = coercer(item_shape)
    plain_texts = item_shape.kind == "str"
    splits = all(member.kind not in ("list", "dict", "model", "attrs", "any") for member in item_shape.members)

    def coerce(value: Any) -> list[Any]:
        if isinstance(value, str):
            value = _items_of_text(value, splits, shape)
        elif not isinstance(value, (list, tuple)):
            raise _mismatch(shape, value)
        if plain_texts and all(type(item) is str for item in value):
            return list(value)
        items = []
        for number, item in enumerate(value, start=1):
            try:
                items.append(coerce_item(item))
            except CoercionError as error:
                raise CoercionError(f"item {number}: {error}", error.code) from None
        return items

    return coerce


def _items_of_text(text: str, splits: bool, shape: Shape) -> list[Any]:
    parsed = looks_like_json(text)
    if isinstance(parsed, list):
        return parsed
    if not splits:
        raise _mismatch(shape, text)
    return list(split_list(text))


def _dict(shape: Shape) -> Coercer:
    coerce_key, coerce_value = coercer(shape.args[0]), coercer(shape.args[1])

    def coerce(value: Any) -> dict[Any, Any]:
        if isinstance(value, str):
            parsed = looks_like_json(value)
            value = parsed if isinstance(parsed, dict) else value
        if not isinstance(value, Mapping):
            raise _mismatch(shape, value)
        result = {}
        for key, item in value.items():
            try:
                result[coerce_key(key)] = coerce_value(item)
            except CoercionError as error:
                # Keys are data as much as values are, so the entry is not named.
                raise CoercionError(f"an entry: {error}", error.code) from None
        return result

    return coerce


def _union(shape: Shape) -> Coercer:
    members = shape.args
    coercers = [coercer(member) for member in members]
    of_exact_type = {_PYTHON[member.kind]: index for index, member in reversed(list(enumerate(members)))
                     if member.kind in _PYTHON}  # fmt: skip

    enums = [member for member in members if member.kind == "enum"]

    def coerce(value: Any) -> Any:
        # A value that is one of the types already must not become another that comes first: 3 in ``str | int``.
        index = of_exact_type.get(type(value))
        if index is not None:
            return _member_of(enums, value) or coercers[index](value)
        errors = []
        for attempt in _by_likeness(value, members, coercers):
            try:
                return attempt(value)
            except CoercionError as error:
                errors.append(error)
        told = [error for error, member in zip(errors, members, strict=False) if member.kind != "null"]
        if len(told) == 1:
            raise told[0]
        raise _mismatch(shape, value)

    return coerce


def _member_of(enums: list[Shape], value: Any) -> enum.Enum | None:
    """Return the member with that very value: in ``Color | str``, a stored ``"red"`` was, and is again, a Color."""
    return next(
        (item for shape in enums for item in shape.cls if type(item.value) is type(value) and item.value == value), None
    )


_PYTHON: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool, "null": type(None)}


def _by_likeness(value: Any, members: tuple[Shape, ...], coercers: list[Coercer]) -> list[Coercer]:
    """Put the member whose class the value has first."""
    own = [make for member, make in zip(members, coercers, strict=True)
           if member.cls is not None and isinstance(value, member.cls)]  # fmt: skip
    return own + coercers


def _constrained(shape: Shape) -> Coercer:
    inner, constraints = coercer(shape.args[0]), shape.constraints or Constraints()

    def coerce(value: Any) -> Any:
        coerced = inner(value)
        violation = constraints.violation(coerced)
        if violation:
            raise CoercionError(violation[1], violation[0])
        return coerced

    return coerce


def _model(shape: Shape) -> Coercer:
    prepared: list[Coercer] = []

    def coerce(value: Any) -> Any:
        if isinstance(value, shape.cls):
            return value
        if not prepared:
            # pydantic is imported, and the validator built, only when there is a value to validate.
            from hokusai_core.signatures.model_values import model_coercer

            prepared.append(model_coercer(shape))
        return prepared[0](value)

    return coerce


_MAKERS: dict[str, Callable[[Shape], Coercer]] = {
    "str": _text,
    "int": _whole,
    "float": _number,
    "bool": _truth,
    "null": _nothing,
    "any": _anything,
    "literal": _literal,
    "enum": _enumeration,
    "list": _list,
    "dict": _dict,
    "union": _union,
    "constrained": _constrained,
    "model": _model,
    "attrs": _model,
}
