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
from hokusai_core.signatures.field_spec import FieldSpec
from hokusai_core.signatures.field_types import COLLECTIONS, Shape
from hokusai_core.signatures.lenient_input import CoercionError, coercer
from hokusai_core.signatures.model_fields import ModelField, model_fields

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
    if kind == "literal":
        return shape.values[0]
    if kind == "enum":
        return next(iter(shape.cls))
    if kind == "constrained":
        return _sample(shape.args[0], name, shape.constraints or constraints, depth)
    if kind == "union":
        return _sample_union(shape, name, constraints, depth)
    if kind == "fixed_tuple":
        return [_sample(arg, name, Constraints(), depth + 1) for arg in shape.args]
    if kind in COLLECTIONS:
        return _items(shape, name, constraints, depth)
    if kind == "dict":
        return _mapping(shape, name, constraints, depth)
    return None if depth > 2 * _DEEPEST else _model(shape, depth)


def _items(shape: Shape, name: str, constraints: Constraints, depth: int) -> list[Any]:
    fewest = constraints.min_length
    if fewest is None:
        fewest = int(depth < _DEEPEST and constraints.max_length != 0)
    items = [_sample(shape.args[0], name, Constraints(), depth + 1) for _ in range(fewest)]
    if shape.kind in ("set", "frozenset"):
        items = [f"{item} {number}" if isinstance(item, str) and number else item for number, item in enumerate(items)]
        items = [item + number if type(item) is int else item for number, item in enumerate(items)]
    return items


def _moment(value: Any, constraints: Constraints) -> Any:
    """Return ``value``, or a value at or beside a bound."""
    if constraints.violation(value) is None:
        return value
    step = datetime.timedelta(days=1) if type(value) is datetime.date else datetime.timedelta(seconds=1)
    bounds = ((constraints.ge, 0), (constraints.le, 0), (constraints.gt, 1), (constraints.lt, -1))
    near = [bound + sign * step if sign else bound for bound, sign in bounds
            if bound is not None and not isinstance(bound, datetime.time)]  # fmt: skip
    near += [bound for bound in (constraints.ge, constraints.le) if isinstance(bound, datetime.time)]
    return next((bound for bound in near if constraints.violation(bound) is None), value)


def _sample_union(shape: Shape, name: str, constraints: Constraints, depth: int) -> Any:
    if depth >= _DEEPEST and shape.optional:
        return None
    told = next((member for member in shape.members if member.kind != "null"), shape.members[0])
    return _sample(told, name, constraints, depth)


def _text(text: str, constraints: Constraints) -> str:
    for word in (text, *_WORDS) if constraints.pattern is not None else (text,):
        padded = word.ljust(constraints.min_length or 0, ".")
        fitting = padded if constraints.max_length is None else padded[: constraints.max_length]
        if constraints.violation(fitting) is None:
            return fitting
    return text


def _number(constraints: Constraints, kind: str) -> Any:
    low = constraints.ge if constraints.ge is not None else constraints.gt
    high = constraints.le if constraints.le is not None else constraints.lt
    if constraints.multiple_of is not None:
        steps = 1 if low is None else math.floor(low / constraints.multiple_of) + 1
        value = steps * constraints.multiple_of
    elif low is not None and high is not None:
        value = (low + high) / 2
    elif low is not None:
        value = low + 1
    else:
        value = 1 if high is None else min(1, high - 1)
    if kind == "float":
        return float(value)
    if kind == "decimal":
        exact = Decimal(str(value))
        return exact if constraints.decimal_places is None else round(exact, constraints.decimal_places)
    # Between two bounds that lie close together the rounded middle may be outside while the lower end is not.
    rounded = math.floor(value)
    return rounded if constraints.violation(rounded) is None else math.ceil(value)


def _mapping(shape: Shape, name: str, constraints: Constraints, depth: int) -> dict[Any, Any]:
    keys, values = shape.args
    fewest = constraints.min_length if constraints.min_length is not None else int(depth < _DEEPEST)
    choices = list(keys.values) if keys.kind == "literal" else list(keys.cls) if keys.kind == "enum" else None
    made = {}
    for number in range(fewest):
        if choices is not None:
            key = choices[number % len(choices)]
        else:
            key = number if keys.kind == "int" else f"key {number + 1}"
        made[key] = _sample(values, name, Constraints(), depth + 1)
    return made


def _model(shape: Shape, depth: int) -> Any:
    fields = model_fields(shape.cls)
    data = {item.name: _field(item, depth) for item in fields if item.required}
    return coercer(shape)(data)


def _field(item: ModelField, depth: int) -> Any:
    return _sample(item.shape, item.name, item.constraints, depth + 1)
