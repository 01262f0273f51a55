"""Rebuild types from JSON: enums and models from their descriptions.

The table of types is closed: a description names rows of the table and nothing else, so nothing is ever imported or
evaluated from data. Everything that a description may hold is checked before a class is made of it.
"""

from __future__ import annotations

import builtins
import copy
import datetime
import decimal
import enum
import functools
import operator
import typing
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

import attrs

from hokusai_core.dspy_classes import DSPY_CLASSES, dspy_class
from hokusai_core.errors import SignatureDefinitionError
from hokusai_core.signatures.checked_json import CheckedJson
from hokusai_core.signatures.constraints import CONSTRAINTS, Constraints
from hokusai_core.signatures.field_types import (
    MAX_DEPTH,
    TEXT_FORMS,
    URLS,
    UnsupportedTypeError,
    is_attrs_model,
    is_pydantic_model,
    parse_annotation,
)
from hokusai_core.signatures.fields import OPTIONS
from hokusai_core.signatures.lenient_input import CoercionError, coercer
from hokusai_core.signatures.model_fields import ModelField, pydantic_model
from hokusai_core.signatures.type_description import CONFIG

__all__ = ["TypeBuilder", "field_options"]

_NAMED: dict[str, Any] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "null": type(None),
    "any": Any,
    "list": list,
    "dict": dict,
    "date": datetime.date,
    "datetime": datetime.datetime,
    "time": datetime.time,
    "timedelta": datetime.timedelta,
    "decimal": decimal.Decimal,
    "uuid": uuid.UUID,
}
_ENUM_BASES: dict[str, tuple[type, ...]] = {"none": (), "str": (str,), "int": (int,), "float": (float,)}
_TEXTS = ("description", "title", "alias", "discriminator")
_FIELD_KEYS = frozenset({"name", "type", "examples", "schema_extra", "default", "factory", *_TEXTS})


class TypeBuilder:
    """Builds types out of descriptions and the definitions that they refer to.

    Args:
        definitions: reader of the mapping of name to description of an enum or model.
    """

    def __init__(self, definitions: CheckedJson) -> None:
        self._definitions = {name: definitions.at(name) for name in definitions.mapping()}
        self._built: dict[str, Any] = {}
        self._building: dict[str, str] = {}
        self._scope: dict[str, Any] = {}

    def build(self, description: CheckedJson, depth: int = 0) -> Any:
        """Return the annotation that ``description`` describes.

        Raises:
            SignatureDefinitionError: naming the path of what is malformed.
        """
        if depth > MAX_DEPTH:
            raise description.error("is nested too deeply")
        if isinstance(description.value, str):
            if description.value not in _NAMED:
                raise description.error(f"unknown type; known are {', '.join(_NAMED)}")
            return _NAMED[description.value]
        row, inner = description.single()
        if row == "ref":
            return self._refer(inner)
        if row == "literal":
            return self._literal(inner)
        if row == "tuple":
            return tuple[self.build(inner, depth + 1), ...]  # type: ignore[misc]
        if row in ("list", "set", "frozenset"):
            return getattr(builtins, row)[self.build(inner, depth + 1)]
        if row == "fixed_tuple":
            return tuple[tuple(self.build(part, depth + 1) for part in inner.items(at_least=1))]  # type: ignore[misc]
        if row == "dspy":
            return dspy_class(inner.one_of(*DSPY_CLASSES))
        if row == "url":
            return _url(inner)
        if row == "dict":
            key, value = (self.build(part, depth + 1) for part in inner.items(exactly=2))
            return dict[key, value]  # type: ignore[valid-type]
        if row == "union":
            members = tuple(self.build(part, depth + 1) for part in inner.items(at_least=1))
            return functools.reduce(operator.or_, members)
        if row == "constrained":
            return self._constrained(inner, depth)
        raise description.error(f"unknown type {row[:60]!r}")

    def _constrained(self, inner: CheckedJson, depth: int) -> Any:
        from pydantic import Field

        inner.only({"type", *CONSTRAINTS})
        annotation = self.build(inner.at("type"), depth + 1)
        return typing.Annotated[annotation, Field(**_constraints(inner, annotation).to_dict())]

    def _literal(self, inner: CheckedJson) -> Any:
        values = [part.scalar(str, int, bool, type(None)) for part in inner.items(at_least=1)]
        return Literal[tuple(values)]

    def _refer(self, inner: CheckedJson) -> Any:
        name = inner.text()
        if name not in self._definitions:
            raise inner.error("refers to a type that is not defined")
        if name in self._building:
            return typing.ForwardRef(self._building[name])
        if name not in self._built:
            if len(self._building) > MAX_DEPTH:
                raise inner.error("is nested too deeply")
            # The key may be no identifier; what models call each other while they are incomplete must be one.
            internal = f"Type{len(self._building) + len(self._built)}"
            self._building[name] = internal
            self._built[name] = self._scope[internal] = self._make(self._definitions[name])
            del self._building[name]
        return self._built[name]

    def finish(self) -> None:
        """Complete recursive models, now that all of them exist, and report definitions that nothing refers to."""
        for name, definition in self._definitions.items():
            if name not in self._built:
                raise definition.error("is defined but nothing refers to it")
            try:
                _complete(self._built[name], self._scope)
            except Exception as error:
                raise definition.error(f"cannot be built: {type(error).__name__}: {str(error)[:200]}") from error

    def _make(self, definition: CheckedJson) -> Any:
        kind = definition.at("kind").one_of("enum", "model", "attrs")
        name = definition.at("name").text(at_most=200)
        if not name.isprintable() or name.startswith("__") or not name:
            raise definition.at("name").error("is not a name for a type")
        if kind == "enum":
            return _make_enum(definition, name)
        definition.only({"kind", "name", "description", "config", "fields"})
        return self._make_model(definition, name, kind)

    def _make_model(self, definition: CheckedJson, name: str, kind: str) -> Any:
        doc = definition.get("description")
        make = _make_attrs if kind == "attrs" else _make_pydantic
        try:
            made = [self._field(part) for part in definition.at("fields").items()]
            if len({item.name for item in made}) != len(made):
                raise definition.at("fields").error("two fields have the same name")
            return make(name, doc.text() if doc else None, made, definition)
        except SignatureDefinitionError:
            raise
        except Exception as error:
            # pydantic and attrs refuse names and constraints in too many ways to check for each of them here.
            raise definition.error(f"cannot be built: {type(error).__name__}: {str(error)[:200]}") from error

    def _field(self, part: CheckedJson) -> ModelField:
        part.only({*_FIELD_KEYS, *CONSTRAINTS})
        name = part.at("name").text(at_most=200)
        if not name.isidentifier() or name.startswith("_") or name.startswith("model_"):
            raise part.at("name").error("is not a name for a field of a model")
        annotation = self.build(part.at("type"))
        default, factory = part.get("default"), part.get("factory")
        if default and factory:
            raise part.error("has both a default and a factory")
        extra, examples = part.get("schema_extra"), part.get("examples")
        texts: dict[str, Any] = {key: reader.text() for key in _TEXTS if (reader := part.get(key))}
        return ModelField(
            name,
            annotation,
            required=not (default or factory),
            # As in the model that was described, None may stand for absence whatever the type.
            default=_typed(default, annotation) if default and default.value is not None else None,
            factory=functools.partial(copy.deepcopy, _typed(factory, annotation)) if factory else None,
            constraints=_constraints(part, annotation),
            examples=tuple(item.value for item in examples.items()) if examples else (),
            schema_extra=dict(extra.mapping()) if extra else None,
            **texts,
        )


def _typed(reader: CheckedJson, annotation: Any) -> Any:
    try:
        return coercer(parse_annotation(annotation))(reader.value)
    except UnsupportedTypeError:
        return copy.deepcopy(reader.value)  # a model that is not complete yet; its default is None or empty
    except CoercionError as error:
        raise reader.error(f"does not fit its type: {error}") from None


def _complete(made: Any, scope: Mapping[str, Any]) -> None:
    """Resolve the names by which a recursive model refers to models that did not exist when it was made."""
    if is_pydantic_model(made):
        if not made.__pydantic_complete__:
            made.model_rebuild(_types_namespace=dict(scope))
    elif is_attrs_model(made):
        made.__annotations__ = typing.get_type_hints(made, dict(scope), include_extras=True)


def _url(inner: CheckedJson) -> Any:
    import pydantic

    return getattr(pydantic, inner.one_of(*URLS))


def field_options(reader: CheckedJson, options: Mapping[str, str], annotation: Any) -> dict[str, Any]:
    """Return the options of a field that are given, by name.

    Args:
        reader: of the mapping that holds them.
        options: option -> its form.
        annotation: the type of the field.

    Raises:
        SignatureDefinitionError: naming the path of what is malformed.
    """
    # Not scalar(float): 1 stays 1, so that writing it again gives the same data.
    read: dict[str, Callable[[CheckedJson], Any]] = {
        "text": CheckedJson.text,
        "texts": CheckedJson.texts,
        "flag": CheckedJson.flag,
        "count": lambda value: value.scalar(int),
        "pattern": lambda value: value.text(at_most=1000),
        "bound": lambda value: _bound(value, annotation),
    }
    return {key: read[form](value) for key, form in options.items() if form in read and (value := reader.get(key))}


def _bound(reader: CheckedJson, annotation: Any) -> Any:
    """Return a number, or a value of the type that it bounds, written as text."""
    value = reader.scalar(int, float, str)
    if not isinstance(value, str):
        return value
    try:
        forms = [member for member in parse_annotation(annotation).members if member.kind in TEXT_FORMS]
        if forms:
            return coercer(forms[0])(value)
    except UnsupportedTypeError:
        pass
    except CoercionError as error:
        raise reader.error(str(error)) from None
    raise reader.error("expected a number")


def _constraints(reader: CheckedJson, annotation: Any) -> Constraints:
    return Constraints(**field_options(reader, {key: OPTIONS[key] for key in CONSTRAINTS}, annotation))


def _make_enum(definition: CheckedJson, name: str) -> type[enum.Enum]:
    definition.only({"kind", "name", "base", "members"})
    base = definition.at("base").one_of(*_ENUM_BASES)
    members: dict[str, Any] = {}
    for part in definition.at("members").items(at_least=1):
        key, value = part.items(exactly=2)
        if key.text(at_most=200).startswith("_") or key.value == "mro" or key.value in members:
            raise key.error("is not a name for a member, or is there twice")
        members[key.value] = value.scalar(*(_ENUM_BASES[base] or (str, int, float, bool)))
    bases = _ENUM_BASES[base]
    try:
        made = enum.Enum(name, members, type=bases[0] if bases else None, module=__name__)  # type: ignore[misc]
    except (TypeError, ValueError, AttributeError) as error:
        raise definition.error(f"cannot be built: {error}") from error
    return cast("type[enum.Enum]", made)


def _make_pydantic(name: str, doc: str | None, items: list[ModelField], definition: CheckedJson) -> Any:
    config = definition.get("config")
    if config is not None:
        config.only(set(CONFIG))
    return pydantic_model(name, doc, items, dict(config.mapping()) if config else None)


def _make_attrs(name: str, doc: str | None, items: list[ModelField], definition: CheckedJson) -> Any:
    if definition.get("config") is not None:
        raise definition.at("config").error("is for pydantic models")
    made = attrs.make_class(name, {item.name: _attrs_field(item) for item in items})
    made.__doc__ = doc
    # attrs keeps the types in its own records; what reads the class looks for annotations.
    made.__annotations__ = {item.name: item.annotation for item in items}
    return made


def _attrs_field(item: ModelField) -> Any:
    default: Any = attrs.NOTHING if item.required else item.default
    if item.factory is not None:
        default = attrs.Factory(item.factory)
    metadata = {"description": item.description} if item.description else {}
    # By keyword only, so that the order of required and optional fields does not matter.
    return attrs.field(default=default, type=item.annotation, metadata=metadata, kw_only=True)
