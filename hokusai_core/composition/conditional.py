"""ConditionalPipeline: one of several signatures, chosen by the inputs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Self

from attrs import frozen

from hokusai_core.composition.chain import checked_mapping
from hokusai_core.errors import CompositionError
from hokusai_core.suggestions import did_you_mean

__all__ = ["Branch", "ConditionalPipeline"]

Condition = Callable[[Mapping[str, Any]], Any]


@frozen
class Branch:
    """What is run where a condition holds.

    Args:
        condition: its name, None for ``otherwise``.
        target: a signature's name or class, a ``SignatureChain`` or a ``ConditionalPipeline``.
        mapping: input field -> reference or value; None passes the inputs that the target knows.
    """

    condition: str | None
    target: Any
    mapping: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """How the branch is called."""
        return "otherwise" if self.condition is None else self.condition


class _Opening:
    """A branch that still has to be told what it runs."""

    def __init__(self, pipeline: ConditionalPipeline, condition: str | None) -> None:
        self._pipeline, self._condition = pipeline, condition

    def execute(self, target: Any, mapping: Mapping[str, Any] | None = None) -> ConditionalPipeline:
        """Run ``target`` in this branch.

        Args:
            target: a signature's name or class, a ``SignatureChain`` or a ``ConditionalPipeline``.
            mapping: input field -> name of an input, or a value; left out, the inputs that the target knows.

        Returns:
            The pipeline, so that calls can be strung together.

        Raises:
            CompositionError: the branch has been told before, or the mapping is none.
        """
        return self._pipeline._add(Branch(self._condition, target, _mapping(self._condition, mapping)))


class ConditionalPipeline:
    """Branches, of which the first whose condition holds is run.

    Conditions are asked in the order of ``when``, with a read-only view of the inputs, and only until one holds.
    Inputs that the chosen signature does not know are left out.

    Args:
        name: how the pipeline is called where it is tracked.

    Example:
        >>> from hokusai_core import Executor
        >>> pipeline = ConditionalPipeline()
        >>> _ = pipeline.add_condition(name="unsure", condition=lambda inputs: inputs["confidence"] < 0.8)
        >>> _ = pipeline.when("unsure").execute("Clarify")
        >>> _ = pipeline.otherwise().execute("Answer")
        >>> with Executor(mode="testing", plugins=[]) as executor:
        ...     executor.register_signature("Clarify", "question -> counter_question")
        ...     executor.register_signature("Answer", "question -> answer")
        ...     result = executor.execute_conditional(pipeline, inputs={"question": "It?", "confidence": 0.6})
        >>> list(result)
        ['counter_question']
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
        """The branches that are told what to run, in the order of ``when``; ``otherwise`` comes last."""
        told = [branch for branch in self._branches.values() if branch is not None]
        return tuple(sorted(told, key=lambda branch: branch.condition is None))

    @property
    def name(self) -> str:
        """Its name; without one of its own, the conditions'."""
        return self._name or " | ".join(branch.name for branch in self.branches)

    def add_condition(self, name: str, condition: Condition) -> Self:
        """Name a condition.

        Args:
            name: what ``when`` refers to.
            condition: is given the inputs, and says whether it holds; in asynchronous use it may be a coroutine
                function.

        Raises:
            CompositionError: the name is taken, or the condition cannot be called.
        """
        if not isinstance(name, str) or not name.strip():
            raise CompositionError(f"add_condition(name={name!r}): the name of a condition is a text")
        if name in self._conditions:
            raise CompositionError(f"there is a condition {name!r} already; give this one another name")
        if not callable(condition):
            raise CompositionError(f"condition {name!r} is no function of the inputs, but {type(condition).__name__}")
        self._conditions[name] = condition
        return self

    def when(self, name: str) -> _Opening:
        """Begin the branch for a condition; ``.execute(...)`` says what it runs."""
        return self._open(name)

    def otherwise(self) -> _Opening:
        """Begin the branch for inputs for which no condition holds."""
        return self._open(None)

    def problems(self) -> list[str]:
        """Return what is wrong with the pipeline itself, whatever its signatures are."""
        found = []
        for condition, branch in self._branches.items():
            if condition is not None and condition not in self._conditions:
                found.append(f"when({condition!r}): no such condition{did_you_mean(condition, self._conditions)}")
            if branch is None:
                opening = "otherwise()" if condition is None else f"when({condition!r})"
                found.append(f"{opening} is not told what to run; add .execute(...)")
        return found or ([] if self._branches else ["the pipeline has no branches; add .when(...).execute(...)"])

    def choose(self, inputs: Mapping[str, Any]) -> Branch:
        """Return the branch for ``inputs``.

        Raises:
            CompositionError: a condition raises, or none holds and there is no ``otherwise``.
        """
        for branch in self.branches:
            if branch.condition is None:
                return branch
            verdict = self._ask(branch.condition, inputs)
            if inspect.isawaitable(verdict):
                if inspect.iscoroutine(verdict):
                    verdict.close()
                raise CompositionError(
                    f"condition {branch.condition!r} is asynchronous; use aexecute_conditional, or a plain function"
                )
            if _truth(branch.condition, verdict):
                return branch
        raise self._none()

    async def achoose(self, inputs: Mapping[str, Any]) -> Branch:
        """Do as ``choose``; conditions may be coroutine functions."""
        for branch in self.branches:
            if branch.condition is None:
                return branch
            verdict = self._ask(branch.condition, inputs)
            if inspect.isawaitable(verdict):
                try:
                    verdict = await verdict
                except Exception as error:
                    raise _raised(branch.condition, error) from error
            if _truth(branch.condition, verdict):
                return branch
        raise self._none()

    def _ask(self, name: str, inputs: Mapping[str, Any]) -> Any:
        try:
            return self._conditions[name](MappingProxyType(dict(inputs)))
        except Exception as error:
            raise _raised(name, error) from error

    def _none(self) -> CompositionError:
        names = ", ".join(repr(branch.condition) for branch in self.branches)
        return CompositionError(f"none of the conditions {names} holds, and there is no otherwise(); add one")

    def _open(self, condition: str | None) -> _Opening:
        if self._branches.get(condition) is not None:
            opening = "otherwise()" if condition is None else f"when({condition!r})"
            raise CompositionError(f"{opening} has its signature already; a branch runs one, which may be a chain")
        self._branches.setdefault(condition, None)
        return _Opening(self, condition)

    def _add(self, branch: Branch) -> ConditionalPipeline:
        self._open(branch.condition)
        if branch.target is self:
            raise CompositionError("a pipeline cannot be a branch of itself")
        self._branches[branch.condition] = branch
        return self

    def __repr__(self) -> str:
        return f"<ConditionalPipeline {self.name}>"


def _mapping(condition: str | None, mapping: Any) -> Mapping[str, Any] | None:
    return checked_mapping("otherwise" if condition is None else condition, mapping)


def _raised(name: str, error: Exception) -> CompositionError:
    # Its text may quote any input, a sensitive one too; the cause has it.
    what = f"lacks input {error}" if isinstance(error, KeyError) else f"raised {type(error).__name__}"
    return CompositionError(f"condition {name!r} {what}; see the cause")


def _truth(name: str, verdict: Any) -> bool:
    try:
        return bool(verdict)
    except Exception as error:
        raise CompositionError(f"condition {name!r} gave a {type(verdict).__name__}, not true or false") from error
