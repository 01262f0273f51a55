"""Sample values for JSON schemas: what an answer that fits a schema may look like."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from hokusai_core.errors import SignatureDefinitionError
from hokusai_core.signatures.fields import FieldSpec
from hokusai_core.signatures.sample_values import sample_value

__all__ = ["schema_sample"]

#: From here on lists are empty and properties that are not required stay out, so that recursive schemas end.
_DEEPEST: Final = 4
_SCALARS: Final[Mapping[str, tuple[type, Any]]] = {
    "string": (str, ""),
    "integer": (int, 1),
    "number": (float, 0.5),
    "boolean": (bool, True),
    "null": (type(None), None),
}
_FORMATS: Final = {
    "date": "2024-01-31",
    "date-time": "2024-01-31T09:30:00Z",
    "duration": "PT1H",
    "email": "sample@example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "time": "09:30:00Z",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000001",
}
#: Words of JSON schemas for the rules of a field.
_RULES: Final = {
    "minLength": "min_length",
    "maxLength": "max_length",
    "minimum": "ge",
    "maximum": "le",
    "exclusiveMinimum": "gt",
    "exclusiveMaximum": "lt",
    "multipleOf": "multiple_of",
    "pattern": "pattern",
}


def schema_sample(schema: Mapping[str, Any], name: str, rules: Mapping[str, Any] | None = None) -> Any:
    """Return a JSON-able value that fits ``schema``; it depends on nothing else.

    Args:
        schema: a JSON schema as pydantic writes it.
        name: name of the value; texts quote it.
        rules: rules of the field beside the schema, such as ``{"min_length": 2}``.

    Example:
        >>> from hokusai_core.signatures.schema_samples import schema_sample
        >>> schema_sample({"type": "array", "items": {"enum": ["red", "blue"]}}, "colours")
        ['red']
    """
    return _Sampler(schema.get("$defs", {})).value(schema, name, dict(rules or {}), 0)


class _Sampler:
    """Makes values for one schema.

    Args:
        definitions: what ``$ref`` refers to, by name.
    """

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions

    def value(self, schema: Any, name: str, rules: Mapping[str, Any], depth: int) -> Any:
        if not isinstance(schema, Mapping):
            return _scalar("string", name, rules)
        if "$ref" in schema:
            return self.value(self._definitions.get(schema["$ref"].rpartition("/")[2]), name, rules, depth)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return schema["enum"][0]
        options = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
        if options:
            empty = {"type": "null"} in options and depth >= _DEEPEST
            chosen = None if empty else next((one for one in options if one != {"type": "null"}), None)
            return None if chosen is None else self.value(chosen, name, rules, depth)
        kind = schema.get("type", "object" if "properties" in schema else "string")
        if isinstance(kind, list):
            kind = next((one for one in kind if one != "null"), "null")
        rules = {**rules, **{_RULES[word]: value for word, value in schema.items() if word in _RULES}}
        if kind == "object":
            return self._object(schema, name, rules, depth)
        if kind == "array":
            return self._array(schema, name, rules, depth)
        return _FORMATS.get(schema.get("format", "")) or _scalar(kind, name, rules)

    def _object(self, schema: Mapping[str, Any], name: str, rules: Mapping[str, Any], depth: int) -> dict[str, Any]:
        required = schema.get("required", ())
        made = {
            key: self.value(inner, key, {}, depth + 1)
            for key, inner in schema.get("properties", {}).items()
            if depth < _DEEPEST or key in required
        }
        inner, keys = schema.get("additionalProperties"), schema.get("propertyNames", {})
        if isinstance(keys, Mapping) and "$ref" in keys:
            keys = self._definitions.get(keys["$ref"].rpartition("/")[2], {})
        known = keys.get("enum") or ()
        for number in range(schema.get("minProperties") or rules.get("min_length") or 0):
            key = known[number % len(known)] if known else f"key {number + 1}"
            made.setdefault(key, self.value(inner, name, {}, depth + 1))
        return made

    def _array(self, schema: Mapping[str, Any], name: str, rules: Mapping[str, Any], depth: int) -> list[Any]:
        if "prefixItems" in schema:
            return [self.value(inner, name, {}, depth + 1) for inner in schema["prefixItems"]]
        most = schema.get("maxItems", rules.get("max_length"))
        usual = 0 if depth >= _DEEPEST or most == 0 else 1
        items = [
            self.value(schema.get("items"), name, {}, depth + 1)
            for _ in range(max(schema.get("minItems", 0), rules.get("min_length") or 0) or usual)
        ]
        if not schema.get("uniqueItems"):
            return items
        return list({json.dumps(item): item for item in map(_numbered, items, range(len(items)))}.values())


def _numbered(item: Any, number: int) -> Any:
    """Return the item of a set as one that differs from those of other numbers."""
    if isinstance(item, str) and number:
        return f"{item} {number}"
    return item + number if type(item) is int else item


def _scalar(kind: str, name: str, rules: Mapping[str, Any]) -> Any:
    """Return a value of a kind that keeps the rules; where none is found, one that does not."""
    annotation, usual = _SCALARS.get(kind, _SCALARS["string"])
    if annotation is str:
        usual = f"some {name}"
    lengths = {"min_length", "max_length", "pattern"}
    own = {rule: value for rule, value in rules.items() if (rule in lengths) == (annotation is str)}
    if not own or annotation in (bool, type(None)):
        return usual
    field = FieldSpec("value", "output", annotation, **own)
    if field.constraints.violation(usual) is None:
        return usual
    try:
        return sample_value(field)
    except SignatureDefinitionError:  # no text at hand has the pattern
        return usual
