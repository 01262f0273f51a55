"""Show types of fields as Python writes them."""

from __future__ import annotations

from typing import Any, Final

from hokusai_core.plugin_api import FieldSpec

__all__ = ["type_text"]

_NAMES: Final = {"null": "None", "any": "Any"}


def type_text(field: FieldSpec) -> str:
    """Return the type of a field in words.

    Example:
        >>> type_text(FieldSpec("tags", "output", list[str]))
        'list[str]'
    """
    if field.choices_from:
        return f"one of {field.choices_from}"
    return _text(field.shape)


def _text(shape: Any) -> str:
    inner = [_text(part) for part in shape.args]
    match shape.kind:
        case "literal":
            return " | ".join(map(repr, shape.values))
        case "enum":
            return " | ".join(repr(member.value) for member in shape.cls)
        case "list" | "dict":
            return shape.kind if shape.args[-1].kind == "any" else f"{shape.kind}[{', '.join(inner)}]"
        case "tuple":
            return f"tuple[{inner[0]}, ...]"
        case "fixed_tuple" | "set" | "frozenset":
            return f"{shape.kind.removeprefix('fixed_')}[{', '.join(inner)}]"
        case "union":
            return " | ".join(inner)
        case "constrained":
            return inner[0]
    return shape.cls.__name__ if shape.cls is not None else _NAMES.get(shape.kind, str(shape.kind))
