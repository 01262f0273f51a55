"""Definitions of chains and pipelines: their steps and branches, as plain data."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from attrs import field, frozen

from hokusai_core.errors import CompositionError
from hokusai_core.model_parameters import checked_parameters
from hokusai_core.signatures.branch_conditions import condition_error, condition_holds, truth_of
from hokusai_core.signatures.strategy_choice import StrategyChoice
from hokusai_core.suggestions import did_you_mean

__all__ = [
    "Branch",
    "ChainDefinition",
    "Condition",
    "PipelineDefinition",
    "Step",
    "checked_mapping",
    "checked_step_parameters",
    "checked_strategy",
    "step_name",
]

Condition = Callable[[Mapping[str, Any]], Any]


@frozen
class Step:
    """One step of a chain.

    Args:
        name: how later steps refer to it.
        target: what is run: a signature's name or class, a ``SignatureChain`` or a ``ConditionalPipeline``.
        mapping: input field -> reference or value; None passes the initial inputs that the target takes.
        strategy: how the signature is answered in this step, None for what the call and the signature say.
        parameters: parameters of the language model in this step; they go before those of the call.
    """

    name: str
    target: Any
    mapping: Mapping[str, Any] | None = None
    strategy: StrategyChoice | None = None
    parameters: Mapping[str, Any] = field(factory=dict)


class ChainDefinition:
    """The steps of a chain, and the inputs that it declares.

    Args:
        name: how the chain is called where it is tracked.
        inputs: names of its initial inputs; None if it declares none.
    """

    def __init__(self, name: str = "", inputs: tuple[str, ...] | None = None) -> None:
        self._name, self._inputs = name, inputs
        self._steps: dict[str, Step] = {}

    @property
    def steps(self) -> Mapping[str, Step]:
        """The steps by name, in order."""
        return MappingProxyType(self._steps)

    @property
    def inputs(self) -> tuple[str, ...] | None:
        """The names of the initial inputs that the chain declares; None if it declares none."""
        return self._inputs

    @property
    def name(self) -> str:
        """Its name; without one of its own, the names of its first steps."""
        if self._name or len(self._steps) <= _NAMED:
            return self._name or " > ".join(self._steps)
        return " > ".join([*list(self._steps)[:_NAMED], f"{len(self._steps) - _NAMED} more"])


#: Steps whose names are the name of a chain that has none.
_NAMED = 20


@frozen
class Branch:
    """What is run if a condition holds.

    Args:
        condition: its name; None for ``otherwise``.
        target: a signature's name or class, a ``SignatureChain`` or a ``ConditionalPipeline``.
        mapping: input field -> reference or value; None passes the inputs that the target takes.
    """

    condition: str | None
    target: Any
    mapping: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """How the branch is called."""
        return "otherwise" if self.condition is None else self.condition


class PipelineDefinition:
    """The conditions and branches of a pipeline, and the choice between them.

    Args:
        name: how the pipeline is called where it is tracked.
    """

    def __init__(self, name: str = "") -> None:
        self._name = name
        self._conditions: dict[str, Condition] = {}
        self._branches: dict[str | None, Branch | None] = {}

    @property
    def conditions(self) -> Mapping[str, Condition]:
        """The conditions by name."""
        return MappingProxyType(self._conditions)

    @property
    def branches(self) -> tuple[Branch, ...]:
        """The branches that have a target, in the order of ``when``; ``otherwise`` comes last."""
        complete = [branch for branch in self._branches.values() if branch is not None]
        return tuple(sorted(complete, key=lambda branch: branch.condition is None))

    @property
    def name(self) -> str:
        """Its name; without one of its own, the conditions'."""
        return self._name or " | ".join(branch.name for branch in self.branches)

    def problems(self) -> list[str]:
        """Return the faults of the pipeline itself, independent of its signatures."""
        found = []
        for condition, branch in self._branches.items():
            if condition is not None and condition not in self._conditions:
                found.append(f"when({condition!r}): no such condition{did_you_mean(condition, self._conditions)}")
            if branch is None:
                opening = "otherwise()" if condition is None else f"when({condition!r})"
                found.append(f"{opening} has nothing to run; add .execute(...)")
        return found or ([] if self._branches else ["the pipeline has no branches; add .when(...).execute(...)"])

    def choose(self, inputs: Mapping[str, Any]) -> Branch:
        """Return the branch for ``inputs``.

        Raises:
            CompositionError: a condition raises, or no condition holds and ``otherwise`` is missing.
        """
        for branch in self.branches:
            if branch.condition is None:
                return branch
            if condition_holds(branch.condition, self._conditions[branch.condition], inputs):
                return branch
        raise self._no_branch()

    async def achoose(self, inputs: Mapping[str, Any]) -> Branch:
        """Async version of ``choose``; conditions may be coroutine functions."""
        for branch in self.branches:
            if branch.condition is None:
                return branch
            try:
                verdict = self._conditions[branch.condition](MappingProxyType(dict(inputs)))
                verdict = await verdict if inspect.isawaitable(verdict) else verdict
            except Exception as error:
                raise condition_error(branch.condition, error) from error
            if truth_of(branch.condition, verdict):
                return branch
        raise self._no_branch()

    def _no_branch(self) -> CompositionError:
        names = ", ".join(repr(branch.condition) for branch in self.branches)
        return CompositionError(f"none of the conditions {names} holds, and there is no otherwise(); add one")


def step_name(target: Any, name: str | None) -> str:
    """Return what a step is called."""
    if name is not None:
        if not isinstance(name, str) or not name.strip():
            raise CompositionError(f"name={name!r}: the name of a step is a text")
        return name
    if isinstance(target, str) and target.strip():
        return target.rpartition("/")[2]
    own = getattr(target, "__name__", None) if isinstance(target, type) else None
    if own is None:
        raise CompositionError(
            f"a step that is a {type(target).__name__} needs a name: .add(..., name='...'); later steps refer to it"
        )
    return str(own)


def checked_strategy(step: str, strategy: Any) -> StrategyChoice | None:
    """Return the strategy of a step.

    Raises:
        CompositionError: it is not the name of a strategy, and no mapping of its name and options.
    """
    try:
        return StrategyChoice.of(strategy)
    except ValueError as error:
        raise CompositionError(f"step {step!r}: strategy: {error}") from None


def checked_step_parameters(step: str, parameters: Any) -> Mapping[str, Any]:
    """Return the parameters of the language model of a step.

    Raises:
        CompositionError: names every parameter that cannot be used.
    """
    try:
        return checked_parameters(parameters)
    except ValueError as error:
        raise CompositionError(f"step {step!r}: parameters: {error}") from None


def checked_mapping(step: str, mapping: Any) -> Mapping[str, Any] | None:
    """Return a copy of the mapping of a step or branch.

    Raises:
        CompositionError: it is not a mapping of texts.
    """
    if mapping is None:
        return None
    if not isinstance(mapping, Mapping) or not all(isinstance(key, str) for key in mapping):
        raise CompositionError(f"step {step!r}: expected a mapping of input field to reference or value")
    return dict(mapping)
