"""WeightedMetric: a weighted mean of other metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, Self

from hokusai_core.errors import ConfigurationError
from hokusai_teleprompt.metrics.scoring import checked, goodness

__all__ = ["WeightedMetric"]


class WeightedMetric:
    """The weighted mean of metrics, each scaled so that 0 is worst and 1 is best.

    Args:
        parts: pairs of a metric and its weight. Weights are above zero; they need not add up to 1.

    Raises:
        ConfigurationError: there are no parts, a weight cannot be used, or a metric has no closed range.

    Example:
        >>> from hokusai_teleprompt.metrics import Accuracy, TokenF1
        >>> metric = WeightedMetric([(Accuracy(), 1), (TokenF1(), 3)])
        >>> metric.score({"answer": "red car"}, {"answer": "red bus"}, {})
        0.375
    """

    range: Final = (0.0, 1.0)
    higher_is_better = True

    def __init__(self, parts: Any = ()) -> None:
        pairs = [(metric, _weight(metric, weight)) for metric, weight in parts]
        if not pairs:
            raise ConfigurationError("a weighted metric needs parts, such as {'accuracy': 0.7, 'f1': 0.3}")
        for metric, _ in pairs:
            if math.inf in (abs(metric.range[0]), abs(metric.range[1])):
                raise ConfigurationError(f"{_name(metric)} has no closed range, so it cannot have a weight")
        self._parts = pairs
        total = sum(weight for _, weight in pairs)
        self.name = " + ".join(f"{weight / total:.2g} {_name(metric)}" for metric, weight in pairs)
        self.source = "; ".join(f"{_name(metric)}: {getattr(metric, 'source', '')}" for metric, _ in pairs)

    def score(self, expected: Mapping[str, Any], outputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> float:
        """Return the weighted mean."""
        total = sum(weight for _, weight in self._parts)
        return (
            sum(
                weight * goodness(metric, checked(metric.score(expected, outputs, inputs), metric))
                for metric, weight in self._parts
            )
            / total
        )

    def using(self, models: Callable[[Any], Any], task: str = "") -> Self:
        """Return this metric with language models for the parts that need one."""
        return type(self)(
            [(part.using(models, task) if hasattr(part, "using") else part, weight) for part, weight in self._parts]
        )


def _weight(metric: Any, weight: Any) -> float:
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 < weight < math.inf:
        raise ConfigurationError(f"weight {weight!r} of {_name(metric)}: expected a number above zero")
    return float(weight)


def _name(metric: Any) -> str:
    return str(getattr(metric, "name", type(metric).__name__))
