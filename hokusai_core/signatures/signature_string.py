"""Read signature strings such as ``question, context: list[str] -> answer: float``.

Types come from the syntax tree with a closed table. Nothing is imported or evaluated.
"""

from __future__ import annotations

import ast
import datetime
import decimal
import functools
import operator
import uuid
from typing import Any, Literal

from hokusai_core.errors import SignatureDefinitionError
from hokusai_core.signatures.spec import FieldSpec, Role, SignatureSpec

__all__ = ["from_string"]

_NAMES: dict[str, Any] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "list": list,
    "List": list,
    "dict": dict,
    "Dict": dict,
    "set": set,
    "frozenset": frozenset,
    "date": datetime.date,
    "datetime": datetime.datetime,
    "time": datetime.time,
    "timedelta": datetime.timedelta,
    "Decimal": decimal.Decimal,
    "UUID": uuid.UUID,
    "Any": Any,
    "None": type(None),
}
#: How many arguments each generic type takes.
_ARITY = {"list": 1, "List": 1, "set": 1, "frozenset": 1, "dict": 2, "Dict": 2}
#: Modules by whose name a type may be written.
_MODULES = frozenset({"typing", "datetime", "decimal", "uuid"})


def from_string(text: str, name: str | None = None) -> SignatureSpec:
    """Return the spec of a signature string such as ``"question, context: list[str] -> answer: float"``.

    Unlike DSPy, this imports nothing that the text mentions: types come from a closed table.

    Args:
        text: the signature string.
        name: name of the spec; None for ``StringSignature``.

    Raises:
        SignatureDefinitionError: the text is malformed or names an unknown type.
    """
    inputs, arrow, outputs = text.partition("->")
    if not arrow or "->" in outputs:
        raise SignatureDefinitionError(f"signature {text!r}: expected 'inputs -> outputs' with exactly one '->'")
    parts: tuple[tuple[Role, str], ...] = (("input", inputs), ("output", outputs))
    fields = [
        FieldSpec(field, role, annotation) for role, part in parts for field, annotation in _arguments(text, part)
    ]
    names = [item.name for item in fields]
    twice = sorted({field for field in names if names.count(field) > 1})
    if twice:
        raise SignatureDefinitionError(f"signature {text!r}: {', '.join(twice)} stands there twice")
    given, asked = (", ".join(f"`{item.name}`" for item in fields if item.role == role) for role in ("input", "output"))
    instructions = f"Given the fields {given}, produce the fields {asked}."
    return SignatureSpec(name or "StringSignature", instructions, fields).check()


def _arguments(text: str, part: str) -> list[tuple[str, Any]]:
    try:
        tree = ast.parse(f"def f({part.strip()}): pass")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise SignatureDefinitionError(
            f"signature {text!r}: {part.strip()!r} is malformed; expected names with optional types, such as "
            "'question: str, options: list[str]'"
        ) from None
    function = tree.body[0]
    arguments = function.args if len(tree.body) == 1 and isinstance(function, ast.FunctionDef) else None
    if arguments is None or not arguments.args or ast.dump(arguments) != ast.dump(ast.arguments(
        posonlyargs=[], args=arguments.args, kwonlyargs=[], kw_defaults=[], defaults=[]
    )):  # fmt: skip
        raise SignatureDefinitionError(f"signature {text!r}: {part.strip()!r} must be names with optional types")
    return [
        (argument.arg, _annotation_of(argument.annotation) if argument.annotation is not None else str)
        for argument in arguments.args
    ]


def _annotation_of(node: ast.expr) -> Any:
    """Return the type that ``node`` spells.

    Raises:
        SignatureDefinitionError: a type that signature strings do not know.
    """
    if isinstance(node, ast.Name) and node.id in _NAMES:
        return _NAMES[node.id]
    if isinstance(node, ast.Constant) and node.value is None:
        return type(None)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _annotation_of(node.left) | _annotation_of(node.right)
    if isinstance(node, ast.Subscript):
        return _generic(node)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in _MODULES:
        return _annotation_of(ast.Name(node.attr))
    raise _unknown(node)


def _generic(node: ast.Subscript) -> Any:
    base = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
    nodes = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if base == "Literal" and nodes:
        return Literal[tuple(_constant(item) for item in nodes)]
    if base == "Optional" and len(nodes) == 1:
        return _annotation_of(nodes[0]) | None
    if base == "Union" and nodes:
        return functools.reduce(operator.or_, (_annotation_of(item) for item in nodes))
    if base in ("tuple", "Tuple"):
        endless = len(nodes) == 2 and isinstance(nodes[1], ast.Constant) and nodes[1].value is Ellipsis
        if endless:
            return tuple[_annotation_of(nodes[0]), ...]  # type: ignore[misc]  # made at run time
        return tuple[tuple(_annotation_of(item) for item in nodes)]  # type: ignore[misc]  # made at run time
    if _ARITY.get(base) == len(nodes):
        return _NAMES[base][tuple(_annotation_of(item) for item in nodes)]
    raise _unknown(node)


def _constant(node: ast.expr) -> Any:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        if type(node.operand.value) is int:
            return -node.operand.value
    elif isinstance(node, ast.Constant) and (node.value is None or type(node.value) in (str, int, bool)):
        return node.value
    raise _unknown(node)


def _unknown(node: ast.expr) -> SignatureDefinitionError:
    return SignatureDefinitionError(
        f"type {ast.unparse(node)!r} is not known in a signature string; use str, int, float, bool, Any, date, "
        "datetime, time, timedelta, Decimal, UUID, list[...], tuple[...], set[...], frozenset[...], dict[...], "
        "Literal[...], Optional[...] and | between them, or write the signature as a class"
    )
