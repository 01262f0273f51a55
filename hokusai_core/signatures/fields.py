"""InputField, OutputField and SignatureField: how the fields of a signature class are declared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict, Unpack, cast, get_args

from attrs import frozen

from hokusai_core.errors import SignatureDefinitionError
from hokusai_core.signatures.field_spec import OPTIONS, FieldSpec, Role
from hokusai_core.suggestions import did_you_mean

__all__ = ["FieldDeclaration", "FieldOptions", "InputField", "OutputField", "SignatureField"]


@frozen
class FieldDeclaration:
    """What a class body says about a field; its name and type are known only once the class is complete.

    Args:
        role: input or output, None where it is inferred.
        options: option of ``FieldSpec`` -> value, where one was given.
    """

    role: Role | None
    options: Mapping[str, Any]

    @property
    def prefix(self) -> str | None:
        """Label of the field; it marks an output."""
        return cast("str | None", self.options.get("prefix"))

    def to_spec(self, name: str, role: Role, annotation: Any) -> FieldSpec:
        """Return the finished field."""
        options = dict(self.options)
        if options.get("required") is None:
            options["required"] = "default" not in options
        return FieldSpec(name, role, annotation, **options)

    @classmethod
    def of(cls, spec: FieldSpec) -> FieldDeclaration:
        """Return the declaration that gives ``spec`` again."""
        options = {name: getattr(spec, name) for name in OPTIONS}
        if spec.required:
            del options["default"]
        return cls(spec.role, options)


class _OtherOptions(TypedDict, total=False):
    desc: str
    default: Any
    required: bool | None
    aliases: str | Iterable[str]
    sensitive: bool
    choices_from: str | None
    min_length: int | None
    max_length: int | None
    ge: Any
    le: Any
    gt: Any
    lt: Any
    multiple_of: float | None
    max_digits: int | None
    decimal_places: int | None
    pattern: str | None


class FieldOptions(_OtherOptions, total=False):
    """The keyword options that every kind of field takes, as ``FieldSpec`` explains them."""

    prefix: str | None


def _declare(role: Role | None, description: str, options: Mapping[str, Any]) -> FieldDeclaration:
    unknown = [name for name in options if name not in OPTIONS and name != "desc"]
    if unknown:
        guess = did_you_mean(unknown[0], {*OPTIONS, "desc", "role"})
        raise SignatureDefinitionError(f"{unknown[0]!r} is not an option of a field{guess}")
    rest = {name: value for name, value in options.items() if name != "desc"}
    return FieldDeclaration(role, {"description": description or options.get("desc", ""), **rest})


# The three return Any so that ``topic: str = InputField()`` satisfies a type checker, as attrs and pydantic do it.
def InputField(description: str = "", **options: Unpack[FieldOptions]) -> Any:
    """Declare an input.

    Args:
        description: what it holds; part of the prompt. ``desc=`` is understood as well.
        options: those of ``SignatureField`` but ``role``.

    Example:
        >>> from hokusai_core import BaseSignature
        >>> class Greet(BaseSignature):
        ...     name: str = InputField("Whom to greet")
        ...     tone: str = InputField("Tone of the greeting", default="friendly")
        ...     greeting: str = OutputField("One line")
        >>> Greet.spec.inputs["tone"].required
        False
    """
    return _declare("input", description, options)


def OutputField(description: str = "", **options: Unpack[FieldOptions]) -> Any:
    """Declare an output.

    Args:
        description: what it holds; part of the prompt. ``desc=`` is understood as well.
        options: those of ``SignatureField`` but ``role``.
    """
    return _declare("output", description, options)


def SignatureField(
    description: str = "", prefix: str | None = None, role: str | None = None, **options: Unpack[_OtherOptions]
) -> Any:
    """Declare a field whose role may be inferred.

    Without ``role``, a field with a ``prefix`` is an output; where that leaves no output, the last field is it.

    Args:
        description: what it holds; part of the prompt. ``desc=`` is understood as well.
        prefix: label of the output, such as ``"Summary:"``.
        role: ``"input"`` or ``"output"``.
        options: ``default``, ``required=False``, ``aliases``, ``sensitive``, ``choices_from``, ``min_length``,
            ``max_length``, ``ge``, ``le``, ``gt``, ``lt``, ``multiple_of``, ``max_digits``, ``decimal_places`` and
            ``pattern``, as ``FieldSpec`` explains them.

    Raises:
        SignatureDefinitionError: where ``role`` is another word.
    """
    if role is not None and role not in get_args(Role):
        raise SignatureDefinitionError(f"role={role!r}: a field is an 'input' or an 'output'")
    given = options if prefix is None else {**options, "prefix": prefix}
    return _declare(cast("Role | None", role), description, given)
