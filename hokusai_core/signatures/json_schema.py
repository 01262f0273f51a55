"""The inputs and outputs of a signature as JSON Schema, for hosts that offer signatures to other programs.

Pictures, sounds and files are data URIs there, and conversations lists of messages. Models, enums and other types are
described as pydantic does it. Imports pydantic.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final, Literal

from pydantic import TypeAdapter

from hokusai_core.errors import InputError
from hokusai_core.json_encoding import jsonable
from hokusai_core.signatures.field_types import Shape
from hokusai_core.signatures.fields import FieldSpec
from hokusai_core.signatures.spec import SignatureSpec

__all__ = ["constraint_keywords", "input_schema", "output_schema"]

#: Class of media -> what a data URI of it begins with.
_MEDIA: Final = {"Image": "data:image/", "Audio": "data:audio/", "File": "data:"}
_BOUNDS: Final = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}
#: Examples that a schema shows.
_EXAMPLES: Final = 3
_REF: Final = "#/$defs/{model}"


def input_schema(spec: SignatureSpec, ref: str = _REF) -> dict[str, Any]:
    """Return what an execution of a signature takes, as a schema of type ``object``.

    Descriptions, defaults, constraints and the examples of the signature are part of it. It is stricter than the
    executor, which also takes aliases, and texts that stand for numbers or lists.

    Args:
        spec: the signature.
        ref: how the schema refers to the types that it holds in ``$defs``, ``{model}`` for the name.

    Example:
        >>> from hokusai_core.signatures.signature_string import from_string
        >>> schema = input_schema(from_string("text, limit: int -> words: list[str]"))
        >>> schema["properties"]["limit"]["type"], schema["required"]
        ('integer', ['text', 'limit'])
    """
    schema = _schema(spec, list(spec.inputs.values()), "validation", ref)
    sources = {item.choices_from for item in spec.outputs.values()}
    for item in spec.inputs.values():
        found = schema["properties"][item.name]
        if item.name in sources or (item.required and item.min_length != 0):
            found |= _not_empty(found, item)
        if item.name in sources and found.get("items", {}).get("type") == "string":
            found["items"] = found["items"] | {"pattern": r"\S"}
        if not item.required:
            found["default"] = jsonable(item.default)
    schema["required"] = [item.name for item in spec.inputs.values() if item.required]
    examples = [*_examples(spec)][:_EXAMPLES]
    return schema | ({"examples": examples} if examples else {})


def output_schema(spec: SignatureSpec, ref: str = _REF) -> dict[str, Any]:
    """Return what an execution of a signature gives, as a schema of type ``object``; see ``input_schema``."""
    schema = _schema(spec, list(spec.outputs.values()), "serialization", ref)
    schema["required"] = [*spec.outputs]
    if spec.open_outputs:
        schema["additionalProperties"] = True
    return schema


def _examples(spec: SignatureSpec) -> Iterator[dict[str, Any]]:
    """Yield the inputs of the examples in their types; an author may have written a text for a list."""
    if spec.sensitive or spec.media_inputs:
        return
    for example in spec.examples:
        with suppress(InputError, TypeError, ValueError):
            bound = spec.binder.bind(example["inputs"])
            yield {name: jsonable(value) for name, value in bound.items() if value != spec.inputs[name].default}


def _schema(
    spec: SignatureSpec, items: list[FieldSpec], mode: Literal["validation", "serialization"], ref: str
) -> dict[str, Any]:
    typed = [(item.name, mode, _adapter(spec, item)) for item in items if not item.involves_media]
    made, shared = TypeAdapter.json_schemas(typed, ref_template=ref)
    properties = {}
    for item in items:
        schema = _media(item.shape) if item.involves_media else made[item.name, mode]
        properties[item.name] = _described(schema, item)
    definitions = shared.get("$defs")
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return schema | ({"$defs": definitions} if definitions else {})


def _adapter(spec: SignatureSpec, item: FieldSpec) -> TypeAdapter[Any]:
    adapter: TypeAdapter[Any] = TypeAdapter(spec.model_annotation(item.name))
    return adapter


def _media(shape: Shape) -> dict[str, Any]:
    if shape.kind == "media":
        kind = shape.cls.__name__
        return {"type": "string", "pattern": f"^{_MEDIA.get(kind, 'data:')}", "contentEncoding": "base64"}
    if shape.kind == "history":
        return {"type": "array", "items": {"type": "object"}}
    if shape.kind in ("list", "tuple"):
        return {"type": "array", "items": _media(shape.args[0])}
    if shape.kind == "union":
        return {"anyOf": [_media(arg) for arg in shape.args]}
    if shape.kind == "constrained":
        return _media(shape.args[0])
    return {"type": "null"} if shape.kind == "null" else {}


def _described(schema: Mapping[str, Any], item: FieldSpec) -> dict[str, Any]:
    """Return the schema of a field with its description and its constraints."""
    found = {**schema, **dict(constraint_keywords(item))}
    found.setdefault("title", item.name.replace("_", " "))
    text = item.description
    if item.choices_from:
        text = f"{text}{'; ' if text else ''}one of the items of {item.choices_from}"
    if text:
        found["description"] = text
    if item.sensitive and item.role == "input":
        found["writeOnly"] = True
    return found


def constraint_keywords(item: FieldSpec) -> Iterator[tuple[str, Any]]:
    """Yield the keywords of JSON Schema for the constraints of a field.

    A keyword concerns values of its own type only, so a length gives one for texts, for lists and for mappings.

    Args:
        item: the field.
    """
    for end, value in (("min", item.min_length), ("max", item.max_length)):
        if value is not None:
            yield from ((f"{end}{what}", value) for what in ("Length", "Items", "Properties"))
    for name, keyword in _BOUNDS.items():
        bound = getattr(item, name)
        if isinstance(bound, (int, float)) and not isinstance(bound, bool):
            yield keyword, bound
    if isinstance(item.multiple_of, (int, float)):
        yield "multipleOf", item.multiple_of
    if item.pattern is not None:
        yield "pattern", item.pattern


def _not_empty(schema: Mapping[str, Any], item: FieldSpec) -> dict[str, Any]:
    """Return the keywords that refuse an empty text, list or mapping; models may have defaults for every field."""
    kinds = {member.kind for member in item.shape.members}
    rules: dict[str, Any] = {}
    for keyword, concerned in (("minLength", {"str"}), ("minItems", {"list", "tuple"}), ("minProperties", {"dict"})):
        if kinds & {*concerned, "any"}:
            rules[keyword] = max(1, schema.get(keyword, 0))
    if "minLength" in rules:  # a text of spaces is empty, too
        rules |= {"allOf": [{"pattern": r"\S"}]} if "pattern" in schema else {"pattern": r"\S"}
    return rules
