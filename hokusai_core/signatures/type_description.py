"""Describe the types of a signature as JSON: by structure, not by the module that defines them.

A scalar is its name (``"str"``), and so is a list or mapping of anything; other types are mappings of one key:
``{"list": T}`` and likewise ``tuple``, ``set`` and ``frozenset``, ``{"fixed_tuple": [...]}``, ``{"dict": [K, V]}``,
``{"literal": [...]}``, ``{"union": [...]}``, ``{"url": "HttpUrl"}``, ``{"dspy": "Image"}``,
``{"constrained": {"type": T, "ge": 0}}`` and ``{"ref": name}`` for enums and models, which are described once under
their name so that recursive models work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from hokusai_core.errors import SignatureDefinitionError
from hokusai_core.json_encoding import canonical_json, jsonable
from hokusai_core.signatures.field_types import Shape
from hokusai_core.signatures.model_fields import ModelField, custom_serializers, model_fields

__all__ = ["SCALARS", "TypeDescriber"]

SCALARS: Final = (
    "str", "int", "float", "bool", "null", "any", "date", "datetime", "time", "timedelta", "decimal", "uuid",
)  # fmt: skip

#: Settings of a pydantic model that change prompts or validation and have a JSON form.
CONFIG: Final = (
    "title",
    "extra",
    "frozen",
    "strict",
    "populate_by_name",
    "str_strip_whitespace",
    "str_to_lower",
    "str_to_upper",
    "str_min_length",
    "str_max_length",
    "allow_inf_nan",
)


class TypeDescriber:
    """Describes types and collects the descriptions of the enums and models that they mention.

    Args:
        strict: refuse what the description cannot rebuild; else, for fingerprints, note that it is there.
    """

    def __init__(self, *, strict: bool) -> None:
        self.definitions: dict[str, Any] = {}
        self._strict = strict
        self._names: dict[type, str] = {}

    def describe(self, shape: Shape) -> Any:
        """Return the description of ``shape``.

        Raises:
            SignatureDefinitionError: in strict mode, where a model has no complete description.
        """
        kind = shape.kind
        if kind in SCALARS or (kind in ("list", "dict") and shape.cls is not None):
            return kind
        if kind in ("list", "tuple", "set", "frozenset"):
            return {kind: self.describe(shape.args[0])}
        if kind in ("dict", "union", "fixed_tuple"):
            return {kind: [self.describe(arg) for arg in shape.args]}
        if kind in ("media", "history"):
            return {"dspy": shape.cls.__name__}
        if kind == "url":
            return {"url": shape.cls.__name__}
        if kind == "literal":
            return {"literal": list(shape.values)}
        if kind == "constrained":
            constraints = jsonable(shape.constraints.to_dict()) if shape.constraints else {}
            inner = self.describe(shape.args[0])
            return {"constrained": {"type": inner, **constraints}} if constraints else inner
        return {"ref": self._reference(shape)}

    def _reference(self, shape: Shape) -> str:
        name = self._names.get(shape.cls)
        if name is None:
            name = shape.cls.__name__
            number = 1
            while name in self.definitions:
                number += 1
                name = f"{shape.cls.__name__}#{number}"
            self._names[shape.cls] = name
            self.definitions[name] = None  # keeps its place while a recursive model refers to itself
            self.definitions[name] = self._define(shape)
        return name

    def _define(self, shape: Shape) -> dict[str, Any]:
        cls = shape.cls
        if shape.kind == "enum":
            return {
                "kind": "enum",
                "name": cls.__name__,
                "base": next((base.__name__ for base in (str, int, float) if issubclass(cls, base)), "none"),
                "members": [[name, member.value] for name, member in cls.__members__.items()],
            }
        definition: dict[str, Any] = {"kind": shape.kind, "name": cls.__name__}
        if vars(cls).get("__doc__"):
            definition["description"] = cls.__doc__
        if shape.kind == "model":
            config = {key: cls.model_config[key] for key in CONFIG if cls.model_config.get(key) is not None}
            if config:
                definition["config"] = config
            if custom_serializers(cls):
                self._refuse(f"{cls.__name__} has serializers of its own, which no description can carry", definition)
        definition["fields"] = [self._field(cls, item) for item in model_fields(cls)]
        return definition

    def _field(self, cls: type, item: ModelField) -> dict[str, Any]:
        where = f"{cls.__name__}.{item.name}"
        described: dict[str, Any] = {"name": item.name, "type": self.describe(item.shape)}
        optional = {"description": item.description, "title": item.title, "alias": item.alias}
        described |= {key: value for key, value in optional.items() if value}
        described |= jsonable(item.constraints.to_dict())
        if self._strict and item.discriminator:  # left out of fingerprints: the literals of the members say as much
            described["discriminator"] = item.discriminator
        if self._strict and item.lost:
            raise SignatureDefinitionError(
                f"{where}: its rule {item.lost[0]!r} cannot be described; set it in model_config"
            )
        if item.examples:
            described["examples"] = self._plain(list(item.examples), f"{where}: an example")
        if isinstance(item.schema_extra, dict):
            described["schema_extra"] = self._plain(item.schema_extra, f"{where}: json_schema_extra")
        elif item.schema_extra is not None:
            self._refuse(f"{where}: json_schema_extra is a function, which no description can carry", described)
        if item.factory is not None:
            described["factory"] = self._made(item.factory, where)
        elif not item.required:
            described["default"] = self._plain(item.default, f"{where}: the default")
        return described

    def _made(self, factory: Callable[[], Any], where: str) -> Any:
        made, again = (self._plain(factory(), f"{where}: the default") for _ in range(2))
        if canonical_json(made) == canonical_json(again):
            return made
        if self._strict:
            raise SignatureDefinitionError(
                f"{where}: its default is another one each time, which no description can carry; fix it"
            )
        return "computed"

    def _plain(self, value: Any, where: str) -> Any:
        try:
            return jsonable(value)
        except (TypeError, ValueError) as error:
            if self._strict:
                raise SignatureDefinitionError(f"{where} cannot be written as JSON: {error}") from error
            return {"opaque": type(value).__qualname__}

    def _refuse(self, problem: str, described: dict[str, Any]) -> None:
        if self._strict:
            raise SignatureDefinitionError(problem)
        described["opaque"] = True
