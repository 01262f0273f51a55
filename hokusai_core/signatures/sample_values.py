"""Sample values: made-up answers for testing mode, where no language model may be called."""

from __future__ import annotations

import datetime
import math
import uuid
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from hokusai_core.errors import SignatureDefinitionError
from hokusai_core.signatures.constraints import Constraints
from hokusai_core.signatures.field_types import Shape
from hokusai_core.signatures.fields import FieldSpec
from hokusai_core.signatures.lenient_input import CoercionError, coercer
from hokusai_core.signatures.model_fields import model_fields

__all__ = ["sample_value"]

#: Recursive models stop here; their optional and list fields are empty below.
_DEEPEST: Final = 4
#: Tried in turn where a text must match a pattern.
_WORDS: Final = (
    "sample@example.com", "https://example.com/", "2024-01-31", "09:30", "+15550100", "1", "12", "123", "1234", "12345",
    "123456", "1.0", "1.0.0", "A", "AB", "ABC", "a", "ab", "abc", "a-b", "a_b", "A1", "A-1", "AB-123", "ab12", "true",
)  # fmt: skip
_MOMENT: Final = datetime.datetime(2024, 1, 31, 9, 30)
_SCALARS: Final[dict[str, Any]] = {
    "bool": True,
    "null": None,
    "date": _MOMENT.date(),
    "datetime": _MOMENT,
    "time": _MOMENT.time(),
    "timedelta": datetime.timedelta(hours=1),
    "uuid": uuid.UUID(int=1),
}
_URLS: Final = {"FileUrl": "file:///sample", "FtpUrl": "ftp://example.com/", "AnyWebsocketUrl": "wss://example.com/",
                "WebsocketUrl": "wss://example.com/"}  # fmt: skip


def sample_value(field: FieldSpec, examples: Iterable[Mapping[str, Any]] = ()) -> Any:
    """Return a value of the field's type and constraints that depends on nothing but the field and the examples.

    Args:
        field: the field.
        examples: outputs of examples; the first that has the field gives the value where none can be made up.

    Raises:
        SignatureDefinitionError: where no value could be made up, as for a pattern or a model with validators of its
            own; an example in the signature helps.

    Example:
        >>> sample_value(FieldSpec("confidence", "output", float, ge=0, le=1))
        0.5
    """
    problem: object
    try:
        value = field.coerce(_sample(field.shape, field.name, field.constraints, 0))
        problem = field.constraints.violation(value)
    except CoercionError as error:
        value, problem = None, error
    if problem is None:
        return value
    for example in examples:
        if field.name in example:
            return field.coerce(example[field.name])
    raise SignatureDefinitionError(
        f"field {field.name!r}: no sample value fits its rules; give the signature an example with one"
    )


def _sample(shape: Shape, name: str, constraints: Constraints, depth: int) -> Any:
    kind = shape.kind
    if kind in ("str", "any"):
        return _text(f"Sample {name.replace('_', ' ')}", constraints)
    if kind in ("int", "float", "decimal"):
        return _number(constraints, kind)
    if kind in _SCALARS:
        return _moment(_SCALARS[kind], constraints)
    if kind == "url":
        return _URLS.get(shape.cls.__name__, "https://example.com/")
    if kind in ("literal", "enum"):
        return _choices(shape)[0]
    if kind == "constrained":
        return _sample(shape.args[0], name, shape.constraints or constraints, depth)
    if kind == "union":
        told = next((member for member in shape.members if member.kind != "null"), shape.members[0])
        return None if depth >= _DEEPEST and shape.optional else _sample(told, name, constraints, depth)
    if kind in ("model", "attrs"):
        required = [item for item in model_fields(shape.cls) if item.required and depth <= 2 * _DEEPEST]
        data = {item.name: _sample(item.shape, item.name, item.constraints, depth + 1) for item in required}
        return coercer(shape)(data) if depth <= 2 * _DEEPEST else None
    if kind == "fixed_tuple":
        return [_sample(arg, name, Constraints(), depth + 1) for arg in shape.args]
    fewest = constraints.min_length
    if fewest is None:
        fewest = int(depth < _DEEPEST and constraints.max_length != 0)
    items = [_sample(shape.args[-1], name, Constraints(), depth + 1) for _ in range(fewest)]
    if kind == "dict":
        return {_key(shape.args[0], number): item for number, item in enumerate(items)}
    return [_distinct(item, number) for number, item in enumerate(items)] if kind in ("set", "frozenset") else items


def _choices(shape: Shape) -> list[Any]:
    return list(shape.values if shape.kind == "literal" else shape.cls)


def _key(shape: Shape, number: int) -> Any:
    if shape.kind in ("literal", "enum"):
        choices = _choices(shape)
        return choices[number % len(choices)]
    return number if shape.kind == "int" else f"key {number + 1}"


def _distinct(item: Any, number: int) -> Any:
    """Return the item of a set as one that differs from those of other numbers."""
    if isinstance(item, str) and number:
        return f"{item} {number}"
    return item + number if type(item) is int else item


def _first(candidates: Iterable[Any], constraints: Constraints, otherwise: Any) -> Any:
    return next((value for value in candidates if constraints.violation(value) is None), otherwise)


def _moment(value: Any, constraints: Constraints) -> Any:
    """Return ``value``, or a value at or beside a bound."""
    step = datetime.timedelta(days=1) if type(value) is datetime.date else datetime.timedelta(seconds=1)
    at = [bound for bound in (constraints.ge, constraints.le) if bound is not None]
    beside = [bound + sign * step for bound, sign in ((constraints.gt, 1), (constraints.lt, -1))
              if bound is not None and not isinstance(bound, datetime.time)]  # fmt: skip
    return _first([value, *at, *beside], constraints, value)


def _text(text: str, constraints: Constraints) -> str:
    words = (text, *_WORDS) if constraints.pattern is not None else (text,)
    fewest, most = constraints.min_length or 0, constraints.max_length
    return str(_first((word.ljust(fewest, ".")[:most] for word in words), constraints, text))


def _number(constraints: Constraints, kind: str) -> Any:
    low = constraints.ge if constraints.ge is not None else constraints.gt
    high = constraints.le if constraints.le is not None else constraints.lt
    if constraints.multiple_of is not None:
        steps = 1 if low is None else math.floor(low / constraints.multiple_of) + 1
        value = steps * constraints.multiple_of
    elif low is not None:
        value = low + 1 if high is None else (low + high) / 2
    else:
        value = 1 if high is None else min(1, high - 1)
    if kind == "float":
        return float(value)
    if kind == "decimal":
        exact = Decimal(str(value))
        return exact if constraints.decimal_places is None else round(exact, constraints.decimal_places)
    # Between two bounds that lie close together the rounded middle may be outside while the lower end is not.
    return _first([math.floor(value)], constraints, math.ceil(value))
