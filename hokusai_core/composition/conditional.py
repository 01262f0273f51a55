"""ConditionalPipeline: one of several signatures, chosen by the inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from hokusai_core.composition.definitions import Branch, Condition, PipelineDefinition, checked_mapping
from hokusai_core.errors import CompositionError
from hokusai_core.signatures.branch_conditions import InputCondition

__all__ = ["ConditionalPipeline"]


class _Opening:
    """A branch whose target is still missing."""

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
            CompositionError: the branch has a target already, or the mapping is not one.
        """
        return self._pipeline._add(Branch(self._condition, target, _mapping(self._condition, mapping)))


class ConditionalPipeline(PipelineDefinition):
    """Branches with conditions. The first branch whose condition holds runs.

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

    def add_condition(self, name: str, condition: Condition | Mapping[str, Any]) -> Self:
        """Name a condition.

        Args:
            name: what ``when`` refers to.
            condition: is given the inputs, and says whether it holds; in asynchronous use it may be a coroutine
                function. Or the condition as data, which files can hold: names of inputs with the value that each
                must equal, or with comparisons, such as ``{"confidence": {"below": 0.8}}``.

        Raises:
            CompositionError: the name is taken, or the condition is neither a function nor such data.
        """
        if not isinstance(name, str) or not name.strip():
            raise CompositionError(f"add_condition(name={name!r}): the name of a condition is a text")
        if name in self._conditions:
            raise CompositionError(f"there is a condition {name!r} already; give this one another name")
        if isinstance(condition, Mapping):
            try:
                condition = InputCondition.of(condition)
            except CompositionError as error:
                raise CompositionError(f"condition {name!r}: {error}") from None
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
