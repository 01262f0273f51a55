"""Validation into pydantic and attrs models, with messages that hold nothing of what was given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from hokusai_core.json_encoding import jsonable
from hokusai_core.signatures.attrs_mirrors import Mirrors, from_mirror
from hokusai_core.signatures.field_types import Shape, is_attrs_model, is_pydantic_model
from hokusai_core.signatures.lenient_input import Coercer, CoercionError, type_name
from hokusai_core.signatures.text_lists import looks_like_json

__all__ = ["model_coercer", "validation_message"]

_SHOWN = 3


def model_coercer(shape: Shape) -> Coercer:
    """Return the function that turns mappings, JSON text and models of equal structure into ``shape.cls``."""
    target = shape.cls if shape.kind == "model" else Mirrors().annotation(shape.cls)
    adapter: TypeAdapter[Any] = TypeAdapter(target)

    def coerce(value: Any) -> Any:
        if isinstance(value, str):
            parsed = looks_like_json(value)
            value = parsed if isinstance(parsed, dict) else value
        if isinstance(value, BaseModel) or is_attrs_model(type(value)):
            value = jsonable(value)
        if not isinstance(value, Mapping) and not _reads_itself(shape):
            raise CoercionError(f"expected {shape.expected}, got {type_name(value)}")
        try:
            # Values are stored under field names, language models answer with aliases: both are understood.
            model = adapter.validate_python(value, by_alias=True, by_name=True)
            return from_mirror(model, shape) if shape.kind == "attrs" else model
        except ValidationError as error:
            raise CoercionError(f"does not fit {shape.cls.__name__}: {validation_message(error)}") from None
        except Exception as error:
            # A validator or converter of the model; its text may quote the value.
            raise CoercionError(f"was refused by {shape.cls.__name__} ({type(error).__name__})") from None

    return coerce


def _reads_itself(shape: Shape) -> bool:
    """Return whether a pydantic model brings validators of its own, which may take other things than mappings."""
    return is_pydantic_model(shape.cls) and bool(shape.cls.__pydantic_decorators__.model_validators)


def validation_message(error: ValidationError) -> str:
    """Return what pydantic found, as ``field: what is wrong``, free of the input and of keys that came with it."""
    found = error.errors(include_input=False, include_url=False, include_context=False)
    shown = [_describe(item) for item in found[:_SHOWN]]
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return "; ".join(shown) + more


def _describe(item: Mapping[str, Any]) -> str:
    # Below the first step the location may hold keys of a mapping, which are data.
    first = item["loc"][0] if item["loc"] else ""
    where = f"{first}: " if isinstance(first, str) and first and item["type"] != "extra_forbidden" else ""
    return where + _WORDING.get(item["type"], "is not valid")


_WORDING = {
    "missing": "is missing",
    "extra_forbidden": "has a field that the model does not know",
    "string_type": "expected text",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "finite_number": "expected a finite number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "list_type": "expected a list",
    "dict_type": "expected a mapping",
    "model_type": "expected a mapping",
    "literal_error": "is none of the allowed values",
    "enum": "is none of the allowed values",
    "greater_than": "is too small",
    "greater_than_equal": "is too small",
    "less_than": "is too large",
    "less_than_equal": "is too large",
    "multiple_of": "is not a multiple of the allowed number",
    "string_too_short": "is too short",
    "string_too_long": "is too long",
    "too_short": "has too few items",
    "too_long": "has too many items",
    "string_pattern_mismatch": "does not match its pattern",
    "none_required": "expected nothing",
    "value_error": "was refused by a validator",
    "assertion_error": "was refused by a validator",
}
