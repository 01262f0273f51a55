"""Turn signature classes and signature strings of DSPy into a SignatureSpec."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

import dspy

from hokusai_core.dspy_bridge.annotation_parser import annotation_of
from hokusai_core.errors import SignatureDefinitionError
from hokusai_core.signatures.constraints import constraints_of
from hokusai_core.signatures.field_types import UnsupportedTypeError, parse_annotation
from hokusai_core.signatures.spec import FieldSpec, Role, SignatureSpec

__all__ = ["field_specs", "from_dspy", "from_string", "is_signature", "optional", "supported"]


def is_signature(value: Any) -> bool:
    """Whether ``value`` is a ``dspy.Signature`` class."""
    return isinstance(value, type) and issubclass(value, dspy.Signature)


def from_dspy(signature: Any, name: str | None = None) -> SignatureSpec:
    """Return the spec of a ``dspy.Signature`` class.

    Args:
        signature: the class.
        name: name of the spec; None for the name of the class.

    Raises:
        SignatureDefinitionError: a field has a type that Hokusai cannot check, cache or store.
    """
    _refuse_lost_rules(signature)
    fields = [*field_specs(signature.input_fields, "input"), *field_specs(signature.output_fields, "output")]
    return SignatureSpec(name or signature.__name__, signature.instructions, fields).check()


def _refuse_lost_rules(signature: Any) -> None:
    """Refuse rules that neither DSPy nor Hokusai applies to answers, because both never make an object of the class."""
    validators = signature.__pydantic_decorators__
    lost = [*validators.field_validators, *validators.model_validators, *validators.root_validators]
    lost += [name for name in signature.model_config if name.startswith("str_")]
    if lost:
        raise SignatureDefinitionError(
            f"signature {signature.__name__!r}: {lost[0]!r} is a rule of pydantic that signatures do not keep; put it "
            "into a pydantic model, or write an output validator"
        )


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


def field_specs(infos: Mapping[str, Any], role: Role, *, lenient: bool = False) -> list[FieldSpec]:
    """Return the specs of the fields of a ``dspy.Signature``.

    Args:
        infos: its input or output fields.
        role: ``input`` or ``output``.
        lenient: whether a type outside of the table of types becomes ``Any``; else it is refused.
    """
    return [_spec(name, info, role, lenient=lenient) for name, info in infos.items()]


def _spec(name: str, info: Any, role: Role, *, lenient: bool) -> FieldSpec:
    extra = info.json_schema_extra or {}
    try:
        constraints = constraints_of(info.metadata, complete=not lenient).to_dict()
    except UnsupportedTypeError as error:
        raise SignatureDefinitionError(f"field {name!r}: {error}") from None
    if extra.get("pattern"):
        constraints["pattern"] = extra["pattern"]
    required = info.is_required()
    default = None if required else info.get_default(call_default_factory=True)
    annotation = supported(info.annotation) if lenient else info.annotation
    if role == "output" and not required and default is None:
        annotation = optional(annotation)
    return FieldSpec(
        name,
        role,
        annotation,
        description="" if extra.get("desc") == f"${{{name}}}" else extra.get("desc") or "",
        required=required,
        default=default,
        **constraints,
    )


def supported(annotation: Any) -> Any:
    """Return ``annotation``, or Any for what only the program itself understands (images, tools, ...)."""
    try:
        parse_annotation(annotation)
    except UnsupportedTypeError:
        return Any
    return annotation


def optional(annotation: Any) -> Any:
    """Return ``annotation``, with None as a further value."""
    return annotation if annotation is Any else annotation | None


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
        (argument.arg, annotation_of(argument.annotation) if argument.annotation is not None else str)
        for argument in arguments.args
    ]
