"""SignatureSpec: a signature as plain immutable data, with everything that is derived from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from hokusai_core.cached_property import cached_property
from hokusai_core.redaction import REDACTED
from hokusai_core.signatures.fields import FieldSpec, Role
from hokusai_core.signatures.signature_data import SignatureData

if TYPE_CHECKING:
    from hokusai_core.signatures.attrs_mirrors import Mirrors
    from hokusai_core.signatures.input_binder import InputBinder
    from hokusai_core.signatures.output_codec import OutputCodec

__all__ = ["FieldSpec", "Role", "SignatureSpec"]


@frozen(slots=False, eq=False)
class SignatureSpec(SignatureData):
    """A signature as data: its inputs, its outputs and its instructions.

    Args:
        name: short name.
        instructions: the task, as the prompt gives it to the language model.
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
        strategy: how it is answered; None for one call of the language model.
        predictors: what an optimizer found for each predictor of the strategy's module, or of the program that runs the
            signature, by its name; empty where nothing was optimized.
        parameters: parameters that the language model gets, such as ``temperature``; those of a call go before them.

    Example:
        >>> spec = SignatureSpec("Shout", "Say it louder.", (FieldSpec("text", "input"), FieldSpec("loud", "output")))
        >>> list(spec.inputs), list(spec.outputs)
        (['text'], ['loud'])
    """

    @cached_property
    def _hidden(self) -> frozenset[str]:
        # What a caller gives under an alias is as secret as under the field's own name.
        return frozenset(name for item in self.fields if item.sensitive for name in (item.name, *item.aliases))

    @cached_property
    def fingerprint(self) -> str:
        """32 hexadecimal digits over all that decides about prompts and answers.

        Fields in order with names, roles, types (by structure), descriptions, prefixes, defaults and constraints;
        instructions; demos; the declared strategy with its options and versions. Parameters
        enter cache keys by themselves. Name, version, tags, examples, aliases
        and sensitivity do not reach the prompt and are left out.
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
        """Pydantic models that replace the attrs models of this signature in prompts. Imports pydantic."""
        from hokusai_core.signatures.attrs_mirrors import Mirrors

        return Mirrors()

    @cached_property
    def renderings(self) -> dict[Any, Any]:
        """Classes that the DSPy bridge has made of this very object, kept as long as it lives. It fills this itself."""
        return {}

    def model_annotation(self, name: str) -> Any:
        """Return the type of field ``name`` as DSPy and pydantic can handle it: attrs models are mirrored."""
        item = self.outputs.get(name) or self.inputs[name]
        return self.mirrors.annotation(item.annotation) if name in self.attrs_fields else item.annotation

    @cached_property
    def media_inputs(self) -> dict[str, bool]:
        """Name or alias of each input of pictures, sounds or files -> whether it is a list of them."""
        return {
            name: any(member.kind == "list" for member in item.shape.members)
            for item in self.inputs.values()
            if item.involves_media and item.shape.involves("media")
            for name in (item.name, *item.aliases)
        }

    @cached_property
    def attrs_fields(self) -> frozenset[str]:
        """Names of the fields whose type involves an attrs model; prompts take ``jsonable(value)`` of those."""
        return frozenset(item.name for item in self.fields if item.shape.involves("attrs"))

    def evolve(self, **changes: Any) -> SignatureSpec:
        """Return a copy with ``changes``."""
        return evolve(self, **changes)

    def check(self) -> SignatureSpec:
        """Return this spec if it can be run.

        Raises:
            SignatureDefinitionError: listing every problem.
        """
        from hokusai_core.signatures.definition_checks import definition_problems, raise_problems

        raise_problems(self.name, definition_problems(self))
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
        from hokusai_core.signatures.spec_json import spec_arguments

        return SignatureSpec(**spec_arguments(data)).check()

    def describe(self) -> str:
        """Return ``inputs -> outputs`` in one line, for listings and errors."""
        return f"{', '.join(self.inputs)} -> {', '.join(self.outputs)}"
