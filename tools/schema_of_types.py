"""JSON Schemas of classes, from their types and docstrings."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

__all__ = ["argument_texts", "objects", "schema_of"]

_PLAIN: Mapping[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def schema_of(annotation: Any) -> dict[str, Any]:
    """Return the schema of a type, as JSON writers put its values; empty for any value.

    Example:
        >>> schema_of(tuple[float, float] | None)
        {'anyOf': [{'type': 'array', 'items': {'type': 'number'}}, {'type': 'null'}]}
    """
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return schema_of(arguments[0])
    if annotation in _PLAIN:
        return {"type": _PLAIN[annotation]}
    if origin in (typing.Union, types.UnionType):
        found = [schema_of(one) for one in arguments]
        if all(one.keys() == {"type"} for one in found):
            return {"type": [one["type"] for one in found]}
        return {"anyOf": found} if all(found) else {}
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if attrs.has(annotation):
        return _object(annotation)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": schema_of(arguments[1])}
    if isinstance(origin, type) and issubclass(origin, Sequence | set | frozenset):
        return {"type": "array", "items": schema_of(arguments[0])}
    return {}


def argument_texts(cls: type) -> dict[str, str]:
    """Return what the docstring of a class says of its arguments, by their names."""
    section = re.search(r"\n\s*Args:\n(.*?)(?:\n\s*\n|\Z)", f"{cls.__doc__ or ''}\n\n", re.DOTALL)
    if section is None:
        return {}
    lines = section[1].splitlines()
    indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    texts: dict[str, str] = {}
    for line in lines:
        name, colon, text = line.strip().partition(": ")
        if colon and len(line) - len(line.lstrip()) == indent:
            texts[name] = text
        elif texts:
            texts[list(texts)[-1]] += f" {line.strip()}"
    return {name: text[:1].upper() + text[1:].rstrip(".") + "." for name, text in texts.items()}


def objects(
    properties: Mapping[str, dict[str, Any]], *, optional: Sequence[str] = (), closed: bool = False
) -> dict[str, Any]:
    """Return the schema of an object.

    Args:
        properties: name -> schema.
        optional: names that may be missing.
        closed: whether it has no other names.
    """
    required = [name for name in properties if name not in optional]
    schema: dict[str, Any] = {"type": "object", "properties": dict(properties), "required": required}
    return schema | ({"additionalProperties": False} if closed else {})


def _object(cls: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(cls, include_extras=True)
    texts = argument_texts(cls)

    properties = {}
    for one in attrs.fields(cls):
        if one.name.startswith("_"):
            continue
        described = {"description": texts[one.name]} if one.name in texts else {}
        properties[one.name] = {**described, **schema_of(hints[one.name])}
    return objects(properties)
