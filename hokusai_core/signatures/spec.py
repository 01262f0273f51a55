"""SignatureSpec and FieldSpec: what a signature is, as plain immutable data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from attrs import evolve, field, frozen

from hokusai_core.redaction import REDACTED

if TYPE_CHECKING:
    from hokusai_core.signatures.attrs_mirrors import Mirrors
    from hokusai_core.signatures.constraints import Constraints
    from hokusai_core.signatures.field_types import Shape
    from hokusai_core.signatures.input_binder import InputBinder
    from hokusai_core.signatures.output_codec import OutputCodec

__all__ = ["FieldSpec", "Role", "SignatureSpec"]

Role = Literal["input", "output"]


def _tuple(value: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(value)


@frozen(slots=False)
class FieldSpec:
    """One input or output of a signature.

    Args:
        name: identifier, unique within the signature.
        role: ``input`` or ``output``.
        annotation: its Python type, out of the closed table of ``hokusai_core.signatures.field_types``.
        description: what it holds; part of the prompt.
        prefix: label of older prompt formats; marks an output where no role is said.
        required: whether a caller has to give it; outputs are always required.
        default: value of an input that is not required and not given.
        aliases: other names by which a caller may give it.
        sensitive: keeps its values out of every log, tracker, error text and cache key in clear.
        choices_from: name of the ``list[str]`` input whose items are the only values that this output may have.
        min_length: fewest characters or items; 0 says that even a required text may be empty.
        max_length: most characters or items.
        ge: smallest number.
        le: largest number.
        pattern: regular expression that must match somewhere in the text.
    """

    name: str
    role: Role
    annotation: Any = str
    description: str = ""
    prefix: str | None = None
    required: bool = True
    default: Any = None
    aliases: tuple[str, ...] = field(default=(), converter=_tuple)
    sensitive: bool = False
    choices_from: str | None = None
    min_length: int | None = None
    max_length: int | None = None
    ge: float | None = None
    le: float | None = None
    pattern: str | None = None

    def __hash__(self) -> int:
        return hash((self.name, self.role))  # a default may be a list, so the generated hash would fail

    @cached_property
    def shape(self) -> Shape:
        """The annotation, parsed.

        Raises:
            UnsupportedTypeError: where it is not in the table of types.
        """
        from hokusai_core.signatures.field_types import parse_annotation

        return parse_annotation(self.annotation)

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
        from hokusai_core.signatures.constraints import Constraints

        return Constraints(
            min_length=self.min_length, max_length=self.max_length, ge=self.ge, le=self.le, pattern=self.pattern
        )


@frozen(slots=False)
class SignatureSpec:
    """A signature as data: what it asks for, what it gives, and how it asks the language model.

    Args:
        name: short name.
        instructions: what the language model is told to do.
        fields: inputs and outputs, in order.
        version: version of the signature.
        category: one word for listings.
        tags: words for listings.
        examples: ``{"inputs": {...}, "outputs": {...}}`` records that document and test it.
        aliases: other names by which it is found.
        deprecated: None, or what to use instead (empty for no advice).
        demos: few-shot examples of the prompt, each a flat mapping of field name to value.
        nearest_demos: how many of the demos a prompt shows: those whose inputs are most like the call's, by the words
            that they share; None for all of them.
        cache_ttl: seconds that a cached answer stays valid; None leaves it to the executor.
        provenance: JSON-able record of how an optimized signature came about.

    Example:
        >>> spec = SignatureSpec("Shout", "Say it louder.", (FieldSpec("text", "input"), FieldSpec("loud", "output")))
        >>> list(spec.inputs), list(spec.outputs)
        (['text'], ['loud'])
    """

    name: str
    instructions: str
    fields: tuple[FieldSpec, ...] = field(converter=_tuple)
    version: str = "1.0.0"
    category: str = ""
    tags: tuple[str, ...] = field(default=(), converter=_tuple)
    examples: tuple[Mapping[str, Any], ...] = field(default=(), converter=_tuple)
    aliases: tuple[str, ...] = field(default=(), converter=_tuple)
    deprecated: str | None = None
    demos: tuple[Mapping[str, Any], ...] = field(default=(), converter=_tuple)
    cache_ttl: float | None = None
    provenance: Mapping[str, Any] = field(factory=dict)
    nearest_demos: int | None = None

    def __hash__(self) -> int:
        return hash((self.name, self.version, self.instructions))  # examples and demos hold unhashable values

    @cached_property
    def inputs(self) -> dict[str, FieldSpec]:
        """Input fields by name, in order."""
        return {item.name: item for item in self.fields if item.role == "input"}

    @cached_property
    def outputs(self) -> dict[str, FieldSpec]:
        """Output fields by name, in order."""
        return {item.name: item for item in self.fields if item.role == "output"}

    @cached_property
    def sensitive(self) -> frozenset[str]:
        """Names of the sensitive fields."""
        return frozenset(item.name for item in self.fields if item.sensitive)

    @property
    def open_outputs(self) -> bool:
        """Whether there may be other outputs than those of the fields, as of a program that does not tell its outputs.

        The record of how the spec came about says so, so that it is kept wherever the spec goes.
        """
        return self.provenance.get("open_outputs") is True

    @cached_property
    def _hidden(self) -> frozenset[str]:
        # What a caller gives under an alias is as secret as under the field's own name.
        return frozenset(name for item in self.fields if item.sensitive for name in (item.name, *item.aliases))

    @cached_property
    def fingerprint(self) -> str:
        """32 hexadecimal digits over all that decides about prompts and answers.

        Fields in order with names, roles, types (by structure), descriptions, prefixes, defaults and constraints;
        instructions; demos. Name, version, tags, examples, aliases and sensitivity do not reach the prompt and are
        left out.
        """
        from hokusai_core.signatures.fingerprint import fingerprint

        return fingerprint(self)

    @cached_property
    def binder(self) -> InputBinder:
        """What turns the inputs of a caller into those of this signature."""
        from hokusai_core.signatures.input_binder import InputBinder

        return InputBinder(self)

    @cached_property
    def codec(self) -> OutputCodec:
        """What types, checks, writes and reads the outputs of this signature."""
        from hokusai_core.signatures.output_codec import OutputCodec

        return OutputCodec(self)

    @cached_property
    def mirrors(self) -> Mirrors:
        """Pydantic models that stand in for the attrs models of this signature; importing pydantic."""
        from hokusai_core.signatures.attrs_mirrors import Mirrors

        return Mirrors()

    def model_annotation(self, name: str) -> Any:
        """Return the type of field ``name`` as DSPy and pydantic can handle it: attrs models are mirrored."""
        item = self.outputs.get(name) or self.inputs[name]
        return self.mirrors.annotation(item.annotation) if name in self.attrs_fields else item.annotation

    @cached_property
    def attrs_fields(self) -> frozenset[str]:
        """Names of the fields whose type involves an attrs model; prompts take ``jsonable(value)`` of those."""
        return frozenset(item.name for item in self.fields if item.shape.involves("attrs"))

    def evolve(self, **changes: Any) -> SignatureSpec:
        """Return a copy with ``changes``."""
        return evolve(self, **changes)

    def check(self) -> SignatureSpec:
        """Return this spec when it can be run.

        Raises:
            SignatureDefinitionError: listing every problem.
        """
        from hokusai_core.signatures.definition_checks import check_spec

        check_spec(self)
        return self

    def redact(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return a copy of ``values`` in which sensitive fields, also under an alias, read ``[redacted]``."""
        hidden = self._hidden
        if not hidden:
            return dict(values)
        return {name: REDACTED if name in hidden else value for name, value in values.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return this spec as JSON-able data.

        Raises:
            SignatureDefinitionError: where a default, demo or type has no JSON form.
        """
        from hokusai_core.signatures.spec_json import spec_to_dict

        return spec_to_dict(self)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> SignatureSpec:
        """Return the spec that ``to_dict`` wrote. Nothing is imported or evaluated from the data.

        Raises:
            SignatureDefinitionError: naming the path of what is malformed.
        """
        from hokusai_core.signatures.spec_json import spec_from_dict

        return spec_from_dict(data)

    def describe(self) -> str:
        """Return ``inputs -> outputs`` in one line, for listings and errors."""
        return f"{', '.join(self.inputs)} -> {', '.join(self.outputs)}"
