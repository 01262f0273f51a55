"""Turn signature classes of DSPy into a SignatureSpec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dspy

from hokusai_core.errors import SignatureDefinitionError
from hokusai_core.signatures.constraints import constraints_of
from hokusai_core.signatures.field_types import UnsupportedTypeError, parse_annotation
from hokusai_core.signatures.spec import FieldSpec, Role, SignatureSpec

__all__ = ["field_specs", "from_dspy", "is_signature", "optional", "supported"]


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
