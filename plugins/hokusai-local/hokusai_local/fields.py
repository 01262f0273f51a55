"""The form of a signature's outputs: one text, one choice, or a JSON object with a schema."""

from __future__ import annotations

import enum
from typing import Annotated, Any, Literal, get_args, get_origin

import pydantic
from pydantic.json_schema import GenerateJsonSchema

__all__ = ["closed_values", "labels_of", "output_schema", "single_output"]


def single_output(signature: Any) -> str | None:
    """Return the name of the one output that needs no JSON around it; None where there is no such output."""
    if len(signature.output_fields) != 1:
        return None
    name, info = next(iter(signature.output_fields.items()))
    plain = info.annotation is str and not info.metadata
    return str(name) if plain or closed_values(info.annotation) is not None else None


def closed_values(annotation: Any) -> dict[str, Any] | None:
    """Return the values of a type that has only a few, by the label that the model sees; None for another type."""
    if get_origin(annotation) is Literal:
        return {str(value): value for value in get_args(annotation)}
    if annotation is bool:
        # In words of the everyday language a small model judges better than in those of a programming language.
        return {"Yes": True, "No": False}
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum) and len(annotation):
        return {str(member.value): member for member in annotation}
    return None


def labels_of(annotation: Any) -> dict[Any, str]:
    """Return the label of each value of a closed type; empty for another type."""
    labels: dict[Any, str] = {}
    for text, value in (closed_values(annotation) or {}).items():
        labels[value] = text
        if isinstance(value, enum.Enum):
            labels[value.value] = text
    return labels


def output_schema(signature: Any) -> dict[str, Any]:
    """Return the JSON schema of an object with all outputs of ``signature``, constraints of fields included."""
    outputs = {
        name: (Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation, ...)
        for name, info in signature.output_fields.items()
    }
    # Pydantic wants attribute names; a signature's output may be called like one of its model's methods.
    with_aliases = {
        f"output_{number}": (annotation, pydantic.Field(alias=name))
        for number, (name, (annotation, _)) in enumerate(outputs.items())
    }
    config = pydantic.ConfigDict(extra="forbid", arbitrary_types_allowed=True)
    model = pydantic.create_model("Outputs", __config__=config, **with_aliases)  # type: ignore[call-overload]
    schema: dict[str, Any] = model.model_json_schema(schema_generator=_SchemaGenerator)
    return schema


class _SchemaGenerator(GenerateJsonSchema):
    """Says what pydantic's own generator leaves out."""

    def dict_schema(self, schema: Any) -> dict[str, Any]:
        """Say of which type the keys of a mapping are."""
        result = super().dict_schema(schema)
        if "keys_schema" in schema:
            result.setdefault("propertyNames", self.generate_inner(schema["keys_schema"]))
        return result

    def decimal_schema(self, schema: Any) -> dict[str, Any]:
        """Have decimal numbers written as numbers: the pattern for the other spelling is beyond the grammar."""
        return self.generate_inner({"type": "float", **{key: schema[key] for key in _LIMITS if key in schema}})

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> dict[str, Any]:
        """Let a type without a schema be anything; parsing decides."""
        return {}


_LIMITS = ("ge", "gt", "le", "lt")
