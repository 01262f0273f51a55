"""The result of a chain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from hokusai_core.result_view import html_table, plain_values, values_rows, values_text
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
        inputs: the initial inputs, as they were given.

    ``print(result)`` shows the outputs of the last step; a notebook shows those of every step.
    """

    def __init__(
        self, steps: Mapping[str, StepResult], last: str, latency: float, inputs: Mapping[str, Any] | None = None
    ) -> None:
        self.steps: Mapping[str, StepResult] = MappingProxyType(dict(steps))
        self.last: StepResult = steps[last]
        self.latency = latency
        self.inputs: Mapping[str, Any] = MappingProxyType(dict(inputs or {}))
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
        return type(self), (
            dict(self.steps),
            self._last,
            self.latency,
            dict(self.inputs),
        )  # a view of a mapping has no copy

    @property
    def sensitive(self) -> frozenset[str]:
        """Names of the outputs whose values are not shown."""
        found: frozenset[str] = self.last.sensitive
        return found

    def to_dict(self, *, sensitive: bool = False) -> dict[str, Any]:
        """Return the outputs, and the results of all steps, as a JSON-able dict.

        Initial inputs are in the steps that used them, without the values that are sensitive there.

        Args:
            sensitive: whether values of sensitive fields are in it too.
        """
        return {
            "outputs": plain_values(self, frozenset() if sensitive else self.sensitive),
            "usage": self.usage.to_dict(),
            "cost": self.cost,
            "latency": self.latency,
            "cached": self.cached,
            "steps": {name: result.to_dict(sensitive=sensitive) for name, result in self.steps.items()},
        }

    def __str__(self) -> str:
        return values_text(self, self.sensitive)

    def _repr_html_(self) -> str:
        rows = [
            (name, field, text)
            for name, result in self.steps.items()
            for field, text in values_rows(result, result.sensitive)
        ]
        return html_table(("step", "output", "value"), rows)

    def __repr__(self) -> str:
        return f"<ChainResult steps={list(self.steps)} outputs={list(self)}>"
