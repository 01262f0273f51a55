"""The result of a chain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from hokusai_core.results import Usage, known_cost

__all__ = ["ChainResult", "StepResult"]

#: The result of a step: an ``ExecutionResult``, or a ``ChainResult`` where the step is a chain.
StepResult = Any


class ChainResult(Mapping[str, Any]):
    """The outputs of the last step as a read-only mapping, and the results of all steps.

    Attributes:
        steps: step name -> its result, in the order in which they were added.
        last: the result of the last step.
        latency: seconds from call to result.
    """

    def __init__(self, steps: Mapping[str, StepResult], last: str, latency: float) -> None:
        self.steps: Mapping[str, StepResult] = MappingProxyType(dict(steps))
        self.last: StepResult = steps[last]
        self.latency = latency
        self._last = last

    @property
    def outputs(self) -> Mapping[str, Any]:
        """The outputs of the last step."""
        outputs: Mapping[str, Any] = self.last.outputs
        return outputs

    @property
    def execution_id(self) -> str:
        """The id of the last step's execution, for feedback."""
        return str(self.last.execution_id)

    @property
    def signature(self) -> str:
        """The qualified name of the last step's signature."""
        return str(self.last.signature)

    @property
    def model(self) -> str:
        """The language model that answered the last step."""
        return str(self.last.model)

    @property
    def cached(self) -> str | None:
        """The tier that answered the last step, where no step called a language model; else None."""
        whole = all(result.cached is not None for result in self.steps.values())
        return str(self.last.cached) if whole else None

    @property
    def usage(self) -> Usage:
        """Tokens of all steps."""
        return sum((result.usage for result in self.steps.values()), Usage())

    @property
    def cost(self) -> float | None:
        """Estimated US dollars of all steps, None where no price is known."""
        return known_cost(result.cost for result in self.steps.values())

    def __getitem__(self, name: str) -> Any:
        return self.last[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.last)

    def __len__(self) -> int:
        return len(self.last)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self.steps), self._last, self.latency)  # a view of a mapping has no copy

    def __repr__(self) -> str:
        return f"<ChainResult steps={list(self.steps)} outputs={list(self)}>"
