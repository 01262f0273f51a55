"""InputField, OutputField and SignatureField: how the fields of a signature class are declared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypedDict, Unpack, cast, get_args

from attrs import field, frozen

from hokusai_core.errors import SignatureDefinitionError
from hokusai_core.signatures.spec import FieldSpec, Role
from hokusai_core.suggestions import did_you_mean

__all__ = ["FieldDeclaration", "InputField", "OutputField", "SignatureField"]


class _Unset:
    """No default was given; None is a default of its own."""

    def __repr__(self) -> str:
        return "..."


UNSET: Final = _Unset()


def _names(value: Any) -> tuple[str, ...]:
    # Anything else is kept as it is: the definition check names the field, which is not known here.
    return tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (value,)


@frozen
class FieldDeclaration:
    """What a class body says about a field; its name and type are known only once the class is complete."""

    role: Role | None
    description: str = ""
    prefix: str | None = None
    default: Any = UNSET
    required: bool | None = None
    aliases: tuple[str, ...] = field(default=(), converter=_names)
    sensitive: bool = False
    choices_from: str | None = None
    min_length: int | None = None
    max_length: int | None = None
    ge: float | None = None
    le: float | None = None
    pattern: str | None = None

    def to_spec(self, name: str, role: Role, annotation: Any) -> FieldSpec:
        """Return the finished field."""
        has_default = self.default is not UNSET
        return FieldSpec(
            name=name,
            role=role,
            annotation=annotation,
            description=self.description,
            prefix=self.prefix,
            required=not has_default if self.required is None else self.required,
            default=self.default if has_default else None,
            aliases=self.aliases,
            sensitive=self.sensitive,
            choices_from=self.choices_from,
            min_length=self.min_length,
            max_length=self.max_length,
            ge=self.ge,
            le=self.le,
            pattern=self.pattern,
        )

    @classmethod
    def of(cls, spec: FieldSpec) -> FieldDeclaration:
        """Return the declaration that gives ``spec`` again."""
        return cls(
            role=spec.role,
            description=spec.description,
            prefix=spec.prefix,
            default=UNSET if spec.required else spec.default,
            aliases=spec.aliases,
            sensitive=spec.sensitive,
            choices_from=spec.choices_from,
            min_length=spec.min_length,
            max_length=spec.max_length,
            ge=spec.ge,
            le=spec.le,
            pattern=spec.pattern,
        )


class _OtherOptions(TypedDict, total=False):
    desc: str
    default: Any
    required: bool | None
    aliases: str | Iterable[str]
    sensitive: bool
    choices_from: str | None
    min_length: int | None
    max_length: int | None
    ge: float | None
    le: float | None
    pattern: str | None


class FieldOptions(_OtherOptions, total=False):
    """The keyword options that every kind of field takes, as ``FieldSpec`` explains them."""

    prefix: str | None


_OPTIONS: Final = frozenset(FieldOptions.__annotations__)


def _declare(role: Role | None, description: str, options: Mapping[str, Any]) -> FieldDeclaration:
    unknown = [name for name in options if name not in _OPTIONS]
    if unknown:
        guess = did_you_mean(unknown[0], {*_OPTIONS, "description", "role"})
        raise SignatureDefinitionError(f"{unknown[0]!r} is no option of a field{guess}")
    rest = {name: value for name, value in options.items() if name != "desc"}
    return FieldDeclaration(role=role, description=description or options.get("desc", ""), **rest)


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
            ``max_length``, ``ge``, ``le`` and ``pattern``, as ``FieldSpec`` explains them.

    Raises:
        SignatureDefinitionError: where ``role`` is another word.
    """
    if role is not None and role not in get_args(Role):
        raise SignatureDefinitionError(f"role={role!r}: a field is an 'input' or an 'output'")
    return _declare(cast("Role | None", role), description, {**options, "prefix": prefix})
