"""Quick checks of defaults and examples, for listings: they spare the import of the modules that read values.

A quick check says only that a value fits. What it cannot tell, the full check of the same value decides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from hokusai_core.signatures.field_types import Shape
from hokusai_core.signatures.fields import FieldSpec
from hokusai_core.signatures.signature_data import SignatureData

__all__ = ["has_plain_type", "is_plain_example"]

_EXACT: Final[dict[str, type]] = {"str": str, "int": int, "bool": bool}
_SCALARS: Final = (str, int, bool)
_MEMBERS: Final = ("str", "int", "bool", "float", "null", "list", "dict")
_DEEPEST: Final = 8


def has_plain_type(shape: Shape, value: Any, depth: int = 0) -> bool:
    """Return whether ``value`` is plain data that this type takes without reading it from text."""
    kind = type(value)
    if depth > _DEEPEST:
        return False
    if shape.kind in _EXACT:
        return kind is _EXACT[shape.kind]
    if shape.kind == "float":
        return kind is float and math.isfinite(value)
    if shape.kind == "list":
        return kind in (list, tuple) and all(has_plain_type(shape.args[0], item, depth + 1) for item in value)
    if shape.kind == "dict":
        keys, values = shape.args
        return kind is dict and all(
            has_plain_type(keys, key) and has_plain_type(values, item, depth + 1) for key, item in value.items()
        )
    if shape.kind == "union":
        known = all(member.kind in _MEMBERS for member in shape.args) and kind is not tuple
        return known and any(has_plain_type(member, value, depth + 1) for member in shape.args)
    return shape.kind == "any" and _is_plain_data(value, depth)


def _is_plain_data(value: Any, depth: int) -> bool:
    if type(value) is list and depth < _DEEPEST:
        return all(_is_plain_data(item, depth + 1) for item in value)
    if type(value) is dict and depth < _DEEPEST:
        return all(type(key) is str and _is_plain_data(item, depth + 1) for key, item in value.items())
    return type(value) in _SCALARS or (type(value) is float and math.isfinite(value))


def is_plain_example(spec: SignatureData, example: Mapping[str, Any]) -> bool:
    """Return whether an example has a value for every field that needs one, and each evidently fits."""
    inputs, outputs = _by_field(spec.inputs, example["inputs"]), _by_field(spec.outputs, example["outputs"])
    if inputs is None or outputs is None:
        return False
    for item in spec.fields:
        values = inputs if item.role == "input" else outputs
        if item.name in values:
            if not _fits(item, values[item.name]):
                return False
        elif item.required or item.role == "output":
            return False
        if item.choices_from is not None and not _is_given_choice(outputs[item.name], inputs.get(item.choices_from)):
            return False
    return True


def _by_field(fields: Mapping[str, FieldSpec], values: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return field name -> value; None where a name is unknown or a field is given twice."""
    names = {name: item.name for item in fields.values() for name in (item.name, *item.aliases)}
    found = {names[name]: _items(fields[names[name]], value) for name, value in values.items() if name in names}
    return found if len(found) == len(values) else None


def _items(item: FieldSpec, value: Any) -> Any:
    """Return the items of a text that enumerates texts, such as ``"red, blue"``; any other value as it is."""
    if type(value) is not str or item.shape.kind != "list" or item.shape.args[0].kind != "str":
        return value
    if value.strip()[:1] in ("[", "{"):
        return value  # may be JSON
    from hokusai_core.signatures.text_lists import split_list  # few examples need it

    return split_list(value)


def _fits(item: FieldSpec, value: Any) -> bool:
    if not (value.strip() if type(value) is str else type(value) not in (list, tuple, dict) or value):
        return False  # an empty value may be allowed; the full check knows
    return has_plain_type(item.shape, value) and item.constraints.violation(value) is None


def _is_given_choice(value: Any, choices: Any) -> bool:
    return type(choices) in (list, tuple) and all(choice.strip() for choice in choices) and value in choices
