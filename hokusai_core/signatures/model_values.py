"""Build values of pydantic and attrs models from mappings and from models of equal structure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hokusai_core.json_encoding import jsonable
from hokusai_core.signatures.field_types import Shape, is_attrs_model, is_model
from hokusai_core.signatures.model_fields import ModelField, deep_kinds, model_fields, reads_itself
from hokusai_core.signatures.scalar_input import Coercer, CoercionError, is_finite, mismatch

__all__ = ["model_coercer"]

MakeCoercer = Callable[[Shape], Coercer]

_SHOWN = 3
_NUMBERS = {"float", "any", "raw"}


def model_coercer(shape: Shape, make: MakeCoercer) -> Coercer:
    """Return the function that turns mappings and models of equal structure into ``shape.cls``.

    Fields are coerced like those of a signature (enum names, strict dates, finite numbers); pydantic's own validation
    follows, with every rule of the model.

    Args:
        shape: the model.
        make: makes the coercers of its fields.
    """
    fields = {item.name: _FieldRule(item, make) for item in model_fields(shape.cls)}
    build = _attrs_builder(shape, fields) if shape.kind == "attrs" else _pydantic_builder(shape, fields)
    # What was coerced is finite; what functions of the model made of it, and fields it does not declare, may not be.
    changes = _changes_values(shape.cls)
    numbers = [rule.item.attribute for rule in fields.values() if deep_kinds(rule.item.shape) & _NUMBERS]

    def coerce(value: Any) -> Any:
        if not isinstance(value, shape.cls):
            value = build(jsonable(value) if type(value) is not dict and is_model(type(value)) else value)
            finite = not changes or is_finite(value)
        else:
            finite = is_finite(value) if changes else all(is_finite(getattr(value, name)) for name in numbers)
        if not finite:
            raise CoercionError(f"does not fit {shape.cls.__name__}: expected finite numbers", "out_of_range")
        return value

    return coerce


def _changes_values(cls: Any) -> bool:
    """Return whether a model may hold other values than its fields were given."""
    if is_attrs_model(cls):
        return True
    decorators = cls.__pydantic_decorators__
    return bool(
        decorators.field_validators
        or decorators.model_validators
        or cls.model_config.get("extra") == "allow"
        or any(item.raw or item.lost for item in model_fields(cls))
    )


#: Values of exactly this type need no coercion.
_EXACT = {"str": str, "int": int, "bool": bool}


class _FieldRule:
    """One field of a model: its names in data, and what coerces its values."""

    def __init__(self, item: ModelField, make: MakeCoercer) -> None:
        self.item = item
        self.names = tuple(dict.fromkeys(name for name in (item.alias, item.name) if name))
        self.coerce = make(item.shape)
        self.exact = _EXACT.get(item.shape.kind)

    def __call__(self, value: Any, model: str) -> Any:
        if self.item.raw or (value is None and self.item.default is None and not self.item.required):
            return value  # pydantic keeps None where it is the default, whatever the type
        try:
            coerced = self.coerce(value)
        except CoercionError as error:
            raise CoercionError(f"does not fit {model}: {self.item.name}: {error}", error.code) from None
        if self.item.strict and not _is_strict(value, coerced):
            raise CoercionError(f"does not fit {model}: {self.item.name}: is strict; expected its type in JSON")
        return coerced


def _is_strict(given: Any, coerced: Any) -> bool:
    """Return whether pydantic's strict mode takes ``given`` from JSON: text is not a number, and no list."""
    if isinstance(coerced, (list, tuple)):
        return isinstance(given, (list, tuple)) and all(map(_is_strict, given, coerced))
    if isinstance(coerced, Mapping):
        return isinstance(given, Mapping) and all(map(_is_strict, given.values(), coerced.values()))
    if isinstance(coerced, (set, frozenset)):
        return not isinstance(given, str)
    kind = type(coerced)
    return kind not in (int, float, bool) or type(given) is kind or (kind is float and type(given) is int)


def _pydantic_builder(shape: Shape, fields: Mapping[str, _FieldRule]) -> Coercer:
    from pydantic import TypeAdapter, ValidationError

    cls, name = shape.cls, shape.cls.__name__
    validate = TypeAdapter(cls).validate_python
    raw = reads_itself(cls)
    rules = {key: rule for rule in fields.values() for key in rule.names}

    def build(value: Any) -> Any:
        if not raw and (type(value) is dict or isinstance(value, Mapping)):
            value = {
                key: item if (rule := rules.get(key)) is None or type(item) is rule.exact else rule(item, name)
                for key, item in value.items()
            }
        elif not raw:
            raise mismatch(shape, value)
        try:
            # Values are stored under field names, language models answer with aliases: both are understood.
            return validate(value, by_alias=True, by_name=True)
        except ValidationError as error:
            raise CoercionError(f"does not fit {name}: {_validation_message(error)}") from None
        except Exception as error:
            # A validator of the model; its text may quote the value.
            raise CoercionError(f"was refused by {name} ({type(error).__name__})") from None

    return build


def _attrs_builder(shape: Shape, fields: Mapping[str, _FieldRule]) -> Coercer:
    cls, name = shape.cls, shape.cls.__name__

    def build(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise mismatch(shape, value)
        arguments = {}
        for field, rule in fields.items():
            if field in value:
                arguments[field] = rule(value[field], name)
            elif rule.item.required:
                raise CoercionError(f"does not fit {name}: {field}: is missing")
        try:
            return cls(**arguments)
        except Exception as error:
            # A validator or converter of the class; its text may quote the value.
            raise CoercionError(f"was refused by {name} ({type(error).__name__})") from None

    return build


def _validation_message(error: Any) -> str:
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
