"""Resolved signatures, chains and pipelines, ready to take inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from hokusai_core.cached_property import cached_property
from hokusai_core.composition.compatibility import canonical_names
from hokusai_core.composition.references import FromInput, parts

if TYPE_CHECKING:
    from hokusai_core.composition.definitions import Branch, PipelineDefinition
    from hokusai_core.signature_registry import RegisteredSignature
    from hokusai_core.signatures import FieldSpec, SignatureSpec
    from hokusai_core.signatures.strategy_choice import StrategyChoice

__all__ = ["Resolved", "ResolvedBranch", "ResolvedChain", "ResolvedPipeline", "ResolvedSignature", "ResolvedStep"]

Outputs = Mapping[str, "FieldSpec | None"]


@frozen(eq=False, slots=False)
class ResolvedSignature:
    """A signature.

    Args:
        signature: its name or class, as it was given.
        registered: what that means.
        strategy: how it is answered in its step, None for what the call and the signature say.
        parameters: parameters of the language model in its step.
    """

    signature: Any
    registered: RegisteredSignature
    strategy: StrategyChoice | None = None
    parameters: Mapping[str, Any] = field(factory=dict)

    @property
    def spec(self) -> SignatureSpec:
        """The signature as data."""
        return self.registered.spec

    @cached_property
    def names(self) -> dict[str, str]:
        """Every name and alias of an input with the name of its field."""
        return canonical_names(self.spec)

    def field(self, name: str) -> FieldSpec | None:
        """Return the input of that name or alias."""
        return self.spec.inputs.get(self.names.get(name, ""))

    def outputs(self) -> Outputs | None:
        """Return the outputs by name, None if they are known only after it has run."""
        return None if self.spec.open_outputs else self.spec.outputs

    def choose_inputs(self, names: Iterable[str]) -> list[str]:
        """Return those of ``names`` that it takes; of a name and its aliases one, the field's own name first."""
        given = frozenset(names)
        chosen = []
        for item in self.spec.inputs.values():
            found = [name for name in (item.name, *item.aliases) if name in given]
            chosen += found[:1]
        return chosen

    def hidden_inputs(self, names: Iterable[str]) -> frozenset[str]:
        """Return those of ``names`` whose values are sensitive here."""
        return frozenset(name for name in names if (field := self.field(name)) is not None and field.sensitive)

    def hidden_outputs(self) -> frozenset[str]:
        """Return the names of sensitive outputs."""
        return self.spec.sensitive & frozenset(self.spec.outputs)


@frozen(eq=False)
class ResolvedStep:
    """A step.

    Args:
        name: its name.
        target: what it runs.
        sources: input -> where its value comes from.
        after: names of the steps that it needs.
    """

    name: str
    target: Resolved
    sources: Mapping[str, Any]
    after: frozenset[str]

    def hidden_inputs(self) -> frozenset[str]:
        """Return the names of initial inputs whose values are sensitive in this step."""
        hidden = self.target.hidden_inputs(self.sources)
        return frozenset(
            part.name for key in hidden for part in parts(self.sources[key]) if isinstance(part, FromInput)
        )


@frozen(eq=False)
class ResolvedChain:
    """A chain.

    Args:
        name: how it is called where it is tracked.
        steps: its steps, in order.
        inputs: names of the initial inputs that it declares; None if it declares none.
    """

    name: str
    steps: tuple[ResolvedStep, ...]
    inputs: tuple[str, ...] | None = None

    def used_inputs(self) -> frozenset[str]:
        """Return the names of the initial inputs that a step uses."""
        origins = (part for step in self.steps for source in step.sources.values() for part in parts(source))
        return frozenset(part.name for part in origins if isinstance(part, FromInput))

    def outputs(self) -> Outputs | None:
        """Return the outputs by name, None if they are known only after it has run."""
        return self.steps[-1].target.outputs()

    def choose_inputs(self, names: Iterable[str]) -> list[str]:
        """Return those of ``names`` that it takes."""
        declared = None if self.inputs is None else frozenset(self.inputs)
        return [name for name in names if declared is None or name in declared]

    def hidden_inputs(self, names: Iterable[str]) -> frozenset[str]:
        """Return those of ``names`` whose values are sensitive here."""
        hidden = {name for step in self.steps for name in step.hidden_inputs()}
        return frozenset(names) & hidden

    def hidden_outputs(self) -> frozenset[str]:
        """Return the names of sensitive outputs."""
        return self.steps[-1].target.hidden_outputs()


@frozen(eq=False)
class ResolvedBranch:
    """A branch of a pipeline.

    Args:
        branch: condition and target as they were given.
        target: what it runs.
        sources: input -> where its value comes from; None passes the inputs that the target takes.
    """

    branch: Branch
    target: Resolved
    sources: Mapping[str, Any] | None


@frozen(eq=False)
class ResolvedPipeline:
    """A conditional pipeline.

    Args:
        pipeline: as it was given; chooses the branch.
        branches: its branches.
    """

    pipeline: PipelineDefinition
    branches: tuple[ResolvedBranch, ...]

    @property
    def name(self) -> str:
        """How it is called where it is tracked."""
        return self.pipeline.name

    def outputs(self) -> Outputs | None:
        """Return what any branch gives; an output has a type only if all branches agree about it."""
        found: dict[str, Any] = {}
        for branch in self.branches:
            outputs = branch.target.outputs()
            if outputs is None:
                return None
            for name, item in outputs.items():
                same = name not in found or (found[name] and item and found[name].shape == item.shape)
                found[name] = item if same else None
        return found

    def choose_inputs(self, names: Iterable[str]) -> list[str]:
        """Return those of ``names`` that it takes: all, as conditions may ask for any."""
        return list(names)

    def hidden_inputs(self, names: Iterable[str]) -> frozenset[str]:
        """Return those of ``names`` whose values are sensitive in a branch."""
        names = frozenset(names)
        hidden: set[str] = set()
        for branch in self.branches:
            if branch.sources is None:
                hidden |= branch.target.hidden_inputs(names)
            else:
                for key in branch.target.hidden_inputs(branch.sources):
                    hidden |= {part.name for part in parts(branch.sources[key]) if isinstance(part, FromInput)}
        return names & hidden

    def hidden_outputs(self) -> frozenset[str]:
        """Return the names of outputs that are sensitive in a branch."""
        return frozenset().union(*(branch.target.hidden_outputs() for branch in self.branches))


Resolved = ResolvedSignature | ResolvedChain | ResolvedPipeline
