"""From what DSPy users have (signature classes, signature strings, programs) to a SignatureSpec."""

from __future__ import annotations

import ast
import inspect
import typing
from collections.abc import Mapping
from typing import Any

import dspy
from attrs import evolve

from hokusai_core.dspy_bridge.annotation_parser import annotation_of
from hokusai_core.errors import SignatureDefinitionError
from hokusai_core.signatures.constraints import constraints_of
from hokusai_core.signatures.field_types import UnsupportedTypeError, parse_annotation
from hokusai_core.signatures.spec import FieldSpec, Role, SignatureSpec

__all__ = ["OPEN_OUTPUTS", "from_dspy", "from_string", "is_program", "is_signature", "spec_of_program"]

#: ``provenance[OPEN_OUTPUTS]`` is true of a program that may return other outputs than those of its spec.
OPEN_OUTPUTS = "open_outputs"


def is_signature(value: Any) -> bool:
    """Whether ``value`` is a ``dspy.Signature`` class."""
    return isinstance(value, type) and issubclass(value, dspy.Signature)


def is_program(value: Any) -> bool:
    """Whether ``value`` is a DSPy program, that is an instance of ``dspy.Module``."""
    return isinstance(value, dspy.Module)


def from_dspy(signature: Any, name: str | None = None) -> SignatureSpec:
    """Return the spec of a ``dspy.Signature`` class.

    Args:
        signature: the class.
        name: name of the spec; None for the name of the class.

    Raises:
        SignatureDefinitionError: a field has a type that Hokusai cannot check, cache or store.
    """
    fields = [*_specs(signature.input_fields, "input"), *_specs(signature.output_fields, "output")]
    return SignatureSpec(name or signature.__name__, signature.instructions, fields).check()


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


def spec_of_program(program: Any, name: str) -> SignatureSpec:
    """Return what a program takes and gives, as far as that can be known without running it.

    Of ``dspy.Predict`` and ``dspy.ChainOfThought`` it is their signature. Of any other module the inputs are the
    parameters of its ``forward``, and the outputs those of its attribute ``signature`` or else of its last predictor.
    As ``forward`` may return something else, the latter are optional, and the spec says ``open_outputs``.

    Args:
        program: an instance of ``dspy.Module``.
        name: name of the spec.

    Raises:
        SignatureDefinitionError: the program has neither predictors nor parameters to go by.
    """
    predictor = program if isinstance(program, dspy.Predict) else None
    if type(program) is dspy.ChainOfThought:
        predictor = program.predict
    if predictor is not None:
        return evolve(_known(predictor.signature, name), demos=[dict(demo) for demo in predictor.demos]).check()
    return _guessed(program, name).check()


def _known(signature: Any, name: str) -> SignatureSpec:
    fields = [*_specs(signature.input_fields, "input", lenient=True), *_specs(signature.output_fields, "output")]
    return SignatureSpec(name, signature.instructions, fields)


def _guessed(program: Any, name: str) -> SignatureSpec:
    predictors = [predictor.signature for _, predictor in program.named_predictors()]
    declared: Any = getattr(program, "signature", None)
    stated = [declared] if is_signature(declared) else []
    sources = stated or predictors
    if not sources:
        raise SignatureDefinitionError(
            f"program {name!r}: what it returns cannot be known, because {type(program).__name__} holds no predictor; "
            "give it an attribute 'signature' (a dspy.Signature class with its inputs and outputs)"
        )
    inputs = _parameters(program) or _specs(sources[0].input_fields, "input", lenient=True)
    taken = {item.name for item in inputs}
    known = _specs(sources[-1].output_fields, "output", lenient=True)
    outputs = [
        item if stated else evolve(item, annotation=_optional(item.annotation))
        for item in known
        if item.name not in taken
    ]
    instructions = inspect.cleandoc(type(program).__doc__ or "") or sources[-1].instructions
    return SignatureSpec(name, instructions, [*inputs, *outputs], provenance={OPEN_OUTPUTS: True})


def _parameters(program: Any) -> list[FieldSpec]:
    forward = type(program).forward
    try:
        hints = typing.get_type_hints(forward)
    except (NameError, TypeError):  # an annotation that exists for the type checker alone
        hints = {}
    fields = []
    for parameter in list(inspect.signature(forward).parameters.values())[1:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        required = parameter.default is parameter.empty
        annotation = _supported(hints.get(parameter.name, str if required else Any))
        default = None if required else parameter.default
        fields.append(FieldSpec(parameter.name, "input", annotation, required=required, default=default))
    return fields


def _specs(infos: Mapping[str, Any], role: Role, *, lenient: bool = False) -> list[FieldSpec]:
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
    annotation = _supported(info.annotation) if lenient else info.annotation
    if role == "output" and not required and default is None:
        annotation = _optional(annotation)
    return FieldSpec(
        name,
        role,
        annotation,
        description="" if extra.get("desc") == f"${{{name}}}" else extra.get("desc") or "",
        required=required,
        default=default,
        **constraints,
    )


def _supported(annotation: Any) -> Any:
    """Return ``annotation``, or Any for what only the program itself understands (images, tools, ...)."""
    try:
        parse_annotation(annotation)
    except UnsupportedTypeError:
        return Any
    return annotation


def _optional(annotation: Any) -> Any:
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
