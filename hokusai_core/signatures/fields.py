"""FieldSpec, one input or output of a signature as data, and how the body of a class declares it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypedDict, Unpack, cast, get_args

from attrs import field, fields, frozen

from hokusai_core.cached_property import cached_property
from hokusai_core.errors import SignatureDefinitionError
from hokusai_core.signatures.constraints import CONSTRAINTS, Constraints
from hokusai_core.signatures.field_types import Shape, UnsupportedTypeError, parse_annotation
from hokusai_core.suggestions import did_you_mean

__all__ = [
    "OPTIONS",
    "FieldDeclaration",
    "FieldOptions",
    "FieldSpec",
    "InputField",
    "OutputField",
    "Role",
    "SignatureField",
    "declared_state",
    "default_value",
]


Role = Literal["input", "output"]


def _names(value: Any) -> tuple[Any, ...]:
    # Anything else is kept as it is, for the definition check to name.
    return tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (value,)


def declared_state(value: Any) -> dict[str, Any]:
    """Return what an attrs object was made of, without what it has worked out since; for pickling."""
    return {item.name: getattr(value, item.name) for item in fields(type(value))}


def _option(form: str, default: Any = None, **settings: Any) -> Any:
    """Declare an option of a field. Classes, data and the constructor of ``FieldSpec`` all take it from here.

    Args:
        form: how it is written as JSON: ``text``, ``texts``, ``flag``, ``count`` (a whole number), ``bound`` (a number
            or the text of a value), ``pattern``, or ``value`` (of the field's type).
        default: its value where it is left out.
        settings: those of ``attrs.field``.
    """
    return field(default=default, metadata={"form": form}, **settings)


@frozen(slots=False)
class FieldSpec:
    """One input or output of a signature.

    Args:
        name: identifier, unique within the signature.
        role: ``input`` or ``output``.
        annotation: its Python type, out of the closed table of ``hokusai_core.signatures.field_types``.
        description: what it holds; part of the prompt.
        prefix: label of older prompt formats; marks an output where no role is said.
        required: whether a caller has to give it. An output that is not required has its default where the language
            model leaves it out.
        default: value of a field that is not required and not given.
        aliases: other names by which a caller may give it.
        sensitive: keeps its values out of every log, tracker, error text and cache key in clear.
        choices_from: name of the ``list[str]`` input whose items are the only values that this output may have.
        min_length: fewest characters or items; 0 says that even a required text may be empty.
        max_length: most characters or items.
        ge: smallest value of a number, date, time or duration.
        le: largest value.
        gt: value that must be exceeded.
        lt: value that must not be reached.
        multiple_of: number that must divide it.
        max_digits: most digits of a Decimal.
        decimal_places: most digits of a Decimal after the point.
        pattern: regular expression that must match somewhere in the text.
    """

    name: str
    role: Role
    annotation: Any = str
    description: str = _option("text", "")
    prefix: str | None = _option("text")
    required: bool = _option("flag", True)
    default: Any = _option("value")
    aliases: tuple[str, ...] = _option("texts", (), converter=_names)
    sensitive: bool = _option("flag", False)
    choices_from: str | None = _option("text")
    min_length: int | None = _option("count")
    max_length: int | None = _option("count")
    ge: Any = _option("bound")
    le: Any = _option("bound")
    gt: Any = _option("bound")
    lt: Any = _option("bound")
    multiple_of: Any = _option("bound")
    max_digits: int | None = _option("count")
    decimal_places: int | None = _option("count")
    pattern: str | None = _option("pattern")

    def __hash__(self) -> int:
        return hash((self.name, self.role))  # a default may be a list, so the generated hash would fail

    def __getstate__(self) -> dict[str, Any]:
        return declared_state(self)

    @cached_property
    def shape(self) -> Shape:
        """The annotation, parsed.

        Raises:
            UnsupportedTypeError: where it is not in the table of types.
        """
        return parse_annotation(self.annotation)

    @cached_property
    def involves_media(self) -> bool:
        """Whether its values are pictures, sounds, files or conversations; False for a type that is not allowed."""
        try:
            return self.shape.involves("media", "history")
        except UnsupportedTypeError:
            return False

    @cached_property
    def coerce(self) -> Callable[[Any], Any]:
        """What turns a value into this field's type; it raises CoercionError for what cannot be turned."""
        from hokusai_core.signatures.lenient_input import coercer

        return coercer(self.shape)

    @cached_property
    def text_reader(self) -> Callable[[str], Any]:
        """What reads the text that a language model wrote for this field."""
        from hokusai_core.signatures.value_text import text_reader

        return text_reader(self.shape)

    @cached_property
    def text_writer(self) -> Callable[[Any], str]:
        """What writes a value of this field as prompts show it."""
        from hokusai_core.signatures.value_text import text_writer

        return text_writer(self.shape, self.text_reader)

    @cached_property
    def constraints(self) -> Constraints:
        """The constraints of this field as one object that checks values."""
        return Constraints(**{name: getattr(self, name) for name in CONSTRAINTS})


def default_value(item: FieldSpec) -> Any:
    """Return the default of a field in its type, as far as it fits; a program may have any default."""
    if item.default is None:
        return None
    try:
        return item.coerce(item.default)
    except (ValueError, TypeError):
        return item.default


#: Name of each option of a field -> its form in JSON, in the order in which options are written.
OPTIONS: dict[str, str] = {item.name: item.metadata["form"] for item in fields(FieldSpec) if item.metadata}


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
