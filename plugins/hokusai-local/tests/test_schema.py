from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hokusai_local.alphabet import Alphabet, needs_other_scripts
from hokusai_local.schema import Bounds, bounded, open_strings

KEYWORDS = {
    *("type", "enum", "anyOf", "properties", "required", "additionalProperties", "patternProperties", "items"),
    *("prefixItems", "minItems", "maxItems", "minProperties", "maxProperties", "minimum", "maximum"),
    *("exclusiveMinimum", "exclusiveMaximum", "multipleOf", "pattern", "format"),
}

LEAVES: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.builds(lambda low: {"type": "integer", "minimum": low}, st.integers(-5, 5)),
    st.builds(lambda high: {"type": "number", "exclusiveMaximum": high}, st.integers(-5, 5)),
    st.builds(lambda n: {"type": "string", "minLength": n, "title": "T"}, st.integers(0, 5)),
    st.sampled_from([{"enum": ["a", 1, None]}, {"const": "x"}, {"type": "string", "format": "date"}]),
    st.just({"type": "string", "pattern": "^(?!no)x+$"}),
    st.just({"type": ["string", "null"], "default": None}),
)


def nested(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(
        st.builds(lambda items: {"type": "array", "items": items, "uniqueItems": True}, inner),
        st.builds(lambda parts: {"type": "array", "prefixItems": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda value: {"type": "object", "additionalProperties": value}, inner),
        st.builds(lambda options: {"oneOf": options}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda part: {"allOf": [part], "description": "d"}, inner),
        st.builds(
            lambda values: {"type": "object", "properties": values, "required": list(values), "examples": []},
            st.dictionaries(st.sampled_from("abc"), inner, min_size=1),
        ),
    )


def subschemas(schema: Any) -> list[dict[str, Any]]:
    if not isinstance(schema, dict):
        return []
    found = [schema]
    for name in ("properties", "patternProperties"):
        for value in schema.get(name, {}).values():
            found += subschemas(value)
    for name in ("anyOf", "prefixItems"):
        for value in schema.get(name, ()):
            found += subschemas(value)
    return found + subschemas(schema.get("items"))


@settings(max_examples=200)
@given(st.recursive(LEAVES, nested, max_leaves=12), st.integers(1, 200))
def test_every_schema_ends_closed(schema: dict[str, Any], characters: int) -> None:
    result = bounded(schema, Bounds(characters))
    jsonschema.Draft202012Validator.check_schema(result)
    for part in subschemas(result):
        assert part.keys() <= KEYWORDS, part
        if part.get("type") == "string":
            assert part.keys() & {"pattern", "format"}
        if part.get("type") in ("integer", "number"):
            assert part.keys() & {"minimum", "exclusiveMinimum"}
            assert part.keys() & {"maximum", "exclusiveMaximum"}
        if part.get("type") == "array":
            assert "maxItems" in part or part.get("items") is False
        if part.get("type") == "object":
            assert part["additionalProperties"] is False


def test_recursive_types_end() -> None:
    node = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "parts": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
            "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]},
        },
        "required": ["name", "parts", "next"],
    }
    result = bounded({"$defs": {"Node": node}, "$ref": "#/$defs/Node"}, Bounds(20))
    assert "$ref" not in str(result)
    assert {"type": "array", "maxItems": 0} in subschemas(result)


def test_what_cannot_be_written_is_an_error() -> None:
    endless = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Endless"}}, "required": ["next"]}
    with pytest.raises(ValueError, match="nothing can fit"):
        bounded({"$defs": {"Endless": endless}, "$ref": "#/$defs/Endless"}, Bounds(20))


def test_limits_of_the_schema_are_kept() -> None:
    schema = {"type": "array", "items": {"type": "integer", "minimum": 3, "maximum": 5}, "minItems": 7, "maxItems": 9}
    result = bounded(schema, Bounds(20))
    assert (result["minItems"], result["maxItems"]) == (7, 7)
    assert (result["items"]["minimum"], result["items"]["maximum"]) == (3, 5)


def test_open_texts_are_counted() -> None:
    properties = {
        "a": {"type": "string"},
        "b": {"type": "integer"},
        "c": {"type": "array", "items": {"type": "string"}},
    }
    result = bounded({"type": "object", "properties": properties, "required": list(properties)}, Bounds(50))
    assert open_strings(result) == 1


@pytest.mark.parametrize(
    ("text", "expected"), [("Größe, naïve, “so” \u2013 5 €", False), ("Привет", True), ("你好", True)]
)
def test_other_scripts_are_noticed(text: str, expected: bool) -> None:
    assert needs_other_scripts([text]) is expected


def test_prose_has_no_signs_of_placeholders() -> None:
    import re

    prose = re.compile(f"{Alphabet(code=False).first}{Alphabet(code=False).rest}*")
    assert prose.fullmatch("Dear Ana - it's 5% (about); see you at 7:30, 'ok'? \\o/ ~ ^ | z")
    for sign in "[]{}<>":
        assert not prose.fullmatch(f"Dear {sign}")
