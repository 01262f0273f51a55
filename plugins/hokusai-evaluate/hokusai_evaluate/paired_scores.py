"""The comparison of two systems' scores on the same examples, in units of the metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from attrs import evolve
from numpy.typing import NDArray

from hokusai_evaluate.metrics.scoring import checked, raw_score
from hokusai_evaluate.statistics import Paired, compare_paired

__all__ = ["AnsweredTwice", "aggregate_score", "compare_scores", "in_units", "score_unit"]

_Outputs = Sequence[Mapping[str, Any]]
#: Of an example: the expected outputs, and those that each of the two systems gave in each round.
AnsweredTwice = tuple[Mapping[str, Any], _Outputs, _Outputs]


def compare_scores(
    metric: Any,
    answers: Sequence[AnsweredTwice],
    goods: tuple[Sequence[float], Sequence[float]],
    *,
    confidence: float,
    seed: int,
) -> tuple[float, float, Paired]:
    """Compare two systems on the examples that both have answered.

    Args:
        metric: the metric.
        answers: what both gave for each example.
        goods: how good the answers of each system are, by example.
        confidence: of the interval.
        seed: of the resampling.

    Returns:
        The score of the first, that of the second, and their difference. In the difference more is better.

    Raises:
        OptimizationError: the metric returned a score that cannot be used.
    """
    first, second = goods
    if hasattr(metric, "aggregate"):
        difference = _AggregateDifference(metric, answers)
        paired = compare_paired(first, second, confidence=confidence, seed=seed, difference=difference)
        before = aggregate_score(metric, [(expected, given) for expected, given, _ in answers])
        return before, aggregate_score(metric, [(expected, given) for expected, _, given in answers]), paired
    paired = compare_paired(first, second, confidence=confidence, seed=seed)
    unit = score_unit(metric)
    paired = in_units(paired, unit)
    return raw_score(metric, sum(first) / len(first)), raw_score(metric, sum(second) / len(second)), paired


def aggregate_score(metric: Any, answers: Sequence[tuple[Mapping[str, Any], _Outputs]]) -> float:
    """Return the score of a whole set: the mean over the rounds.

    Args:
        metric: a metric with ``aggregate``.
        answers: the expected outputs of each example, and those of each round.

    Raises:
        OptimizationError: the metric returned a score that cannot be used.
    """
    rounds = len(answers[0][1])
    pairs = ([(expected, given[number]) for expected, given in answers] for number in range(rounds))
    return sum(checked(metric.aggregate(part), metric) for part in pairs) / rounds


def score_unit(metric: Any) -> float:
    """Return how much a step of one in goodness is in units of the metric."""
    return abs(raw_score(metric, 1.0) - raw_score(metric, 0.0))


def in_units(paired: Paired, unit: float) -> Paired:
    """Return a comparison of goodness in units of the metric."""
    return evolve(
        paired,
        difference=paired.difference * unit,
        low=paired.low * unit,
        high=paired.high * unit,
        deviation=paired.deviation * unit,
        detectable=None if paired.detectable is None else paired.detectable * unit,
    )


class _AggregateDifference:
    """The difference of two systems on resampled examples, for a metric that scores whole sets."""

    def __init__(self, metric: Any, rows: Sequence[AnsweredTwice]) -> None:
        self._metric, self._rows = metric, rows

    def __call__(self, chosen: NDArray[np.int64], swapped: NDArray[np.bool_] | None) -> float:
        before, after = [], []
        for place, index in enumerate(chosen):
            expected, first, second = self._rows[index]
            if swapped is not None and swapped[place]:
                first, second = second, first
            before.append((expected, first))
            after.append((expected, second))
        first_score, second_score = (aggregate_score(self._metric, part) for part in (before, after))
        return second_score - first_score if self._metric.higher_is_better else first_score - second_score
