"""Bounds JSON schemas: an answer that fits them is finite, short and within what the grammar can express."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from attrs import evolve, field, frozen

from hokusai_local.alphabet import Alphabet
from hokusai_local.output_request import QUESTION_KEY

__all__ = ["Bounds", "bounded", "open_strings"]

Schema = dict[str, Any]

# llama.cpp drops the whole grammar, without a word, when llguidance meets one keyword that it does not know.
_KNOWN = frozenset(
    (
        *("type", "enum", "const", "anyOf"),
        *("properties", "required", "additionalProperties", "patternProperties", "minProperties", "maxProperties"),
        *("items", "prefixItems", "minItems", "maxItems"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("pattern", "format", "minLength", "maxLength"),
    )
)
_FORMATS = frozenset(("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"))
_KEYS_BY_TYPE = {"integer": "^-?[0-9]{1,6}$", "number": "^-?[0-9]{1,6}$", "boolean": "^(true|false)$"}
_OPEN_ENDED = re.compile(r"\)\{\d+,\d+\}\$$")
_WORD_KEY = "^[A-Za-z][A-Za-z0-9_ ]{0,23}$"


@frozen
class Bounds:
    """How large an answer may become.

    Args:
        characters: of a string that the schema leaves open.
        inner_characters: of an open string inside a list or mapping.
        alphabet: of open strings.
        items: of a list that the schema leaves open.
        entries: of a mapping.
        depth: how often a recursive type may contain itself.
    """

    characters: int
    inner_characters: int = 140
    alphabet: Alphabet = field(factory=Alphabet)
    items: int = 4
    entries: int = 6
    depth: int = 2

    def inside(self) -> Bounds:
        """Return the bounds for the inside of a list or mapping."""
        return evolve(self, characters=min(self.characters, self.inner_characters))


def bounded(schema: Mapping[str, Any], bounds: Bounds) -> Schema:
    """Return ``schema`` with every open end closed, without references, and with known keywords only.

    Raises:
        ValueError: where nothing can fit the schema.
    """
    definitions = {**schema.get("definitions", {}), **schema.get("$defs", {})}
    result = _Bounding(definitions).visit(dict(schema), bounds, ())
    if result is None:
        raise ValueError("nothing can fit this schema")
    return result


def open_strings(schema: Any) -> int:
    """Return how many free texts an answer to a bounded schema holds outside lists and mappings."""
    if not isinstance(schema, Mapping):
        return 0
    if "anyOf" in schema:
        return max(map(open_strings, schema["anyOf"]))
    if schema.get("type") == "string":
        return int(not {"enum", "format"} & schema.keys() and _OPEN_ENDED.search(schema.get("pattern", "")) is not None)
    return sum(map(open_strings, schema.get("properties", {}).values()))


class _Bounding:
    """Walks a schema; None stands for what cannot be written within the bounds."""

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions

    def visit(self, node: Any, bounds: Bounds, inside: tuple[str, ...]) -> Schema | None:
        if not isinstance(node, Mapping) or not node:
            return self.visit(_ANYTHING, bounds, inside)
        if "$ref" in node:
            name = str(node["$ref"]).rsplit("/", 1)[-1]
            if inside.count(name) > bounds.depth or name not in self._definitions:
                return None
            # What stands beside a reference narrows it, as a default or a description does not.
            return self.visit({**self._definitions[name], **_without(node, "$ref")}, bounds, (*inside, name))
        node = _normal(node)
        if "anyOf" in node:
            return self._any_of(node, bounds, inside)
        if "const" in node:
            return {"enum": [node["const"]]}
        if "enum" in node:
            return {"enum": list(node["enum"])}
        kind = node.get("type")
        if isinstance(kind, list):
            return self.visit({"anyOf": [{**node, "type": one} for one in kind]}, bounds, inside)
        if kind == "string":
            return _string(node, bounds)
        if kind in ("integer", "number"):
            return _number(node, kind)
        if kind == "array":
            return self._array(node, bounds, inside)
        if kind == "object":
            return self._object(node, bounds, inside)
        return {"type": kind} if kind in ("boolean", "null") else self.visit(_ANYTHING, bounds, inside)

    def _any_of(self, node: Schema, bounds: Bounds, inside: tuple[str, ...]) -> Schema | None:
        rest = {key: value for key, value in node.items() if key in _KNOWN and key != "anyOf"}
        branches = [{**rest, **branch} if isinstance(branch, Mapping) else rest for branch in node["anyOf"]]
        # A text that must match what the grammar cannot express is left out where there is another way to say it.
        branches = [branch for branch in branches if _expressible(branch.get("pattern", ""))] or branches
        writable = [one for one in (self.visit(branch, bounds, inside) for branch in branches) if one is not None]
        return {"anyOf": writable} if len(writable) > 1 else (writable[0] if writable else None)

    def _array(self, node: Schema, bounds: Bounds, inside: tuple[str, ...]) -> Schema | None:
        if "prefixItems" in node:
            parts = [self.visit(part, bounds, inside) for part in node["prefixItems"]]
            if any(part is None for part in parts):
                return None
            return {"type": "array", "prefixItems": parts, "items": False, "minItems": len(parts)}
        least = node.get("minItems", 1)
        most = max(least, min(node.get("maxItems", bounds.items), max(bounds.items, least)))
        items = self.visit(node.get("items", {}), bounds.inside(), inside)
        if items is None or node.get("maxItems") == 0:
            # A tree that is deep enough ends in empty lists, where the schema lets it.
            return {"type": "array", "maxItems": 0} if node.get("minItems", 0) == 0 else None
        return {"type": "array", "items": items, "minItems": least, "maxItems": most}

    def _object(self, node: Schema, bounds: Bounds, inside: tuple[str, ...]) -> Schema | None:
        properties = node.get("properties")
        if not properties:
            return self._mapping(node, bounds, inside)
        required = set(node.get("required", ()))
        written: dict[str, Schema] = {}
        for name, value in properties.items():
            schema = self.visit(value, bounds, inside)
            if schema is not None:
                written[name] = schema
            elif name in required:
                return None
        return {
            "type": "object",
            "properties": written,
            "required": list(written),
            "additionalProperties": False,
        }

    def _mapping(self, node: Schema, bounds: Bounds, inside: tuple[str, ...]) -> Schema | None:
        patterns = node.get("patternProperties") or {}
        pattern, value = next(iter(patterns.items()), (None, node.get("additionalProperties")))
        if _properties_forbidden(node):
            return {"type": "object", "properties": {}, "additionalProperties": False}
        schema = self.visit(value if isinstance(value, Mapping) else {}, bounds.inside(), inside)
        if schema is None:
            return None
        names, keys = self._keys(node.get("propertyNames"), inside, bounds)
        least = min(node.get("minProperties", 1), keys)
        return {
            "type": "object",
            "patternProperties": {_anchored(pattern) if pattern and not names else names or _WORD_KEY: schema},
            "additionalProperties": False,
            "minProperties": least,
            "maxProperties": max(least, min(node.get("maxProperties", bounds.entries), bounds.entries, keys)),
        }

    def _keys(self, node: Any, inside: tuple[str, ...], bounds: Bounds) -> tuple[str, int]:
        """Return a pattern for the keys of a mapping, empty for any word, and how many keys there can be."""
        schema = self.visit(node, bounds, inside) if isinstance(node, Mapping) and node else None
        if schema and "enum" in schema:
            return f"^({'|'.join(re.escape(str(one)) for one in schema['enum'])})$", len(schema["enum"])
        kind = (schema or {}).get("type", "")
        return _KEYS_BY_TYPE.get(kind, ""), 2 if kind == "boolean" else 1000


_ANYTHING: Schema = {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]}


def _properties_forbidden(node: Mapping[str, Any]) -> bool:
    """Return whether an object may have no property at all."""
    return node.get("additionalProperties") is False and not node.get("patternProperties")


def _normal(node: Mapping[str, Any]) -> Schema:
    """Return ``node`` with the synonyms of a keyword spelled in one way."""
    result = dict(node)
    if "oneOf" in result:
        result["anyOf"] = result.pop("oneOf")
    for part in result.pop("allOf", ()):
        result.update(part)
    return result


def _string(node: Schema, bounds: Bounds) -> Schema:
    if node.get("format") in _FORMATS:
        return {"type": "string", "format": node["format"]}
    pattern = node.get("pattern", "")
    if node.get(QUESTION_KEY):
        return {"type": "string", "pattern": f"^{bounds.alphabet.question}$"}
    if pattern and _expressible(pattern):
        return {"type": "string", "pattern": pattern}
    most = max(1, min(node.get("maxLength", bounds.characters), bounds.characters))
    least = max(1, node.get("minLength", 1))
    alphabet = bounds.alphabet
    rest = alphabet.rest.replace("]", "\\n]") if alphabet.code else alphabet.rest
    return {"type": "string", "pattern": f"^{alphabet.first}({rest}){{{least - 1},{max(least, most) - 1}}}$"}


def _expressible(pattern: str) -> bool:
    """Return whether the grammar can follow a pattern: it knows no look-around, word boundary or back reference."""
    return not re.search(r"\(\?[=!<]|\\[bB]|\\[1-9]", pattern)


def _number(node: Schema, kind: str) -> Schema:
    limit: float = 999_999_999 if kind == "integer" else 1e9
    result = {key: value for key, value in node.items() if key in _KNOWN}
    if not {"minimum", "exclusiveMinimum"} & result.keys():
        top = result.get("maximum", result.get("exclusiveMaximum", limit))
        result["minimum"] = min(-limit, top - limit)
    if not {"maximum", "exclusiveMaximum"} & result.keys():
        bottom = result.get("minimum", result.get("exclusiveMinimum", -limit))
        result["maximum"] = max(limit, bottom + limit)
    if kind == "number":
        result.setdefault("multipleOf", 0.001)
    return result


def _anchored(pattern: str) -> str:
    return f"{'' if pattern.startswith('^') else '^'}{pattern}{'' if pattern.endswith('$') else '$'}"


def _without(node: Mapping[str, Any], *names: str) -> Schema:
    return {key: value for key, value in node.items() if key not in names}
