"""Sample values: what stands for an answer where no language model may be called."""

from __future__ import annotations

import math
from typing import Any

from hokusai_core.errors import SignatureDefinitionError
from hokusai_core.signatures.constraints import Constraints
from hokusai_core.signatures.field_spec import FieldSpec
from hokusai_core.signatures.field_types import Shape
from hokusai_core.signatures.lenient_input import CoercionError, coercer
from hokusai_core.signatures.model_fields import ModelField, model_fields

__all__ = ["sample_value"]

#: Recursive models stop here; their optional and list fields are empty below.
_DEEPEST = 4


def sample_value(field: FieldSpec) -> Any:
    """Return a value of the field's type and constraints that depends on nothing but the field.

    Raises:
        SignatureDefinitionError: where no value could be made up, as for a pattern; an example in the signature helps.

    Example:
        >>> sample_value(FieldSpec("confidence", "output", float, ge=0, le=1))
        0.5
    """
    value = _sample(field.shape, field.name, field.constraints, 0)
    problem: object = None
    try:
        problem = field.constraints.violation(coercer(field.shape)(value))
    except CoercionError as error:
        problem = error
    if problem is not None:
        raise SignatureDefinitionError(
            f"field {field.name!r}: no sample value fits its constraints; give the signature an example with one"
        )
    return value


def _sample(shape: Shape, name: str, constraints: Constraints, depth: int) -> Any:
    kind = shape.kind
    if kind in ("str", "any"):
        return _text(f"Sample {name.replace('_', ' ')}", constraints)
    if kind in ("int", "float"):
        return _number(constraints, whole=kind == "int")
    if kind == "bool":
        return True
    if kind == "literal":
        return shape.values[0]
    if kind == "enum":
        return next(iter(shape.cls))
    if kind == "constrained":
        return _sample(shape.args[0], name, shape.constraints or constraints, depth)
    if kind == "union":
        return _sample_union(shape, name, constraints, depth)
    if kind == "list":
        fewest = (
            constraints.min_length
            if constraints.min_length is not None
            else int(depth < _DEEPEST and constraints.max_length != 0)
        )
        return [_sample(shape.args[0], name, Constraints(), depth + 1) for _ in range(fewest)]
    if kind == "dict":
        return _mapping(shape, name, constraints, depth)
    if kind == "null" or depth > 2 * _DEEPEST:
        return None
    return _model(shape, depth)


def _sample_union(shape: Shape, name: str, constraints: Constraints, depth: int) -> Any:
    if depth >= _DEEPEST and shape.optional:
        return None
    told = next((member for member in shape.members if member.kind != "null"), shape.members[0])
    return _sample(told, name, constraints, depth)


def _text(text: str, constraints: Constraints) -> str:
    if constraints.min_length is not None and len(text) < constraints.min_length:
        text = text.ljust(constraints.min_length, ".")
    return text if constraints.max_length is None else text[: constraints.max_length]


def _number(constraints: Constraints, *, whole: bool) -> Any:
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
    if not whole:
        return float(value)
    # Between two constraints that lie close together the rounded middle may be outside while the lower end is not.
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
