"""The comparison: baseline and candidate on the same held-out examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray

from hokusai_core.plugin_api import OptimizationExample
from hokusai_teleprompt.example_reader import example_key
from hokusai_teleprompt.metrics.scoring import raw_score
from hokusai_teleprompt.report import ExampleResult
from hokusai_teleprompt.statistics import Paired, compare_paired
from hokusai_teleprompt.study.evaluation import Measurement, Outcome

__all__ = ["Comparison", "compare", "score_of"]


@frozen
class Comparison:
    """Two signatures on the same examples.

    Args:
        baseline: score of the first.
        candidate: score of the second.
        paired: the difference in units of the metric, more is better.
        examples: what came of each example.
    """

    baseline: float
    candidate: float
    paired: Paired
    examples: tuple[ExampleResult, ...]


def score_of(metric: Any, examples: Sequence[OptimizationExample], measured: Measurement, worst: float) -> float | None:
    """Return the score of a measurement in units of the metric, None where nothing was measured."""
    pairs = [
        (example, outcome) for example, outcome in zip(examples, measured.outcomes, strict=True) if outcome is not None
    ]
    if not pairs:
        return None
    if hasattr(metric, "aggregate"):
        return float(metric.aggregate([(example.outputs, outcome.outputs or {}) for example, outcome in pairs]))
    goods = measured.goods(worst)
    return raw_score(metric, sum(goods) / len(goods))


def compare(
    metric: Any,
    examples: Sequence[OptimizationExample],
    before: Measurement,
    after: Measurement,
    *,
    worst: float,
    confidence: float,
    seed: int,
) -> Comparison | None:
    """Compare two measurements on those examples that both have finished; None where there are none.

    Args:
        metric: the metric.
        examples: the held-out examples.
        before: of the baseline.
        after: of the candidate.
        worst: how good an example without outputs is.
        confidence: of the interval.
        seed: of the resampling.
    """
    rows = [
        (example, first, second)
        for example, first, second in zip(examples, before.outcomes, after.outcomes, strict=True)
        if first is not None and second is not None
    ]
    if not rows:
        return None
    goods = [[worst if o.good is None else o.good for o in column] for column in _columns(rows)]
    scale = _unit(metric)
    if hasattr(metric, "aggregate"):
        paired = compare_paired(
            *goods, confidence=confidence, seed=seed, difference=_Aggregated(metric, [_outputs(row) for row in rows])
        )
        everything = [_outputs(row) for row in rows]
        scores = [float(metric.aggregate([(row[0], row[side]) for row in everything])) for side in (1, 2)]
    else:
        paired = compare_paired(*goods, confidence=confidence, seed=seed)
        paired = evolve(paired, difference=paired.difference * scale, low=paired.low * scale, high=paired.high * scale)
        scores = [raw_score(metric, sum(column) / len(column)) for column in goods]
    results = tuple(_result(metric, *row, *pair) for row, pair in zip(rows, zip(*goods, strict=True), strict=True))
    return Comparison(scores[0], scores[1], paired, results)


_Row = tuple[OptimizationExample, Outcome, Outcome]
_Answers = tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]


class _Aggregated:
    """The difference of two systems under a metric that scores whole sets, for resampling."""

    def __init__(self, metric: Any, rows: Sequence[_Answers]) -> None:
        self._metric, self._rows = metric, rows

    def __call__(self, chosen: NDArray[np.int64], swapped: NDArray[np.bool_] | None) -> float:
        before, after = [], []
        for place, index in enumerate(chosen):
            expected, first, second = self._rows[index]
            if swapped is not None and swapped[place]:
                first, second = second, first
            before.append((expected, first))
            after.append((expected, second))
        first_score, second_score = self._metric.aggregate(before), self._metric.aggregate(after)
        return float(second_score - first_score if self._metric.higher_is_better else first_score - second_score)


def _columns(rows: Sequence[_Row]) -> tuple[list[Outcome], list[Outcome]]:
    return [row[1] for row in rows], [row[2] for row in rows]


def _outputs(row: _Row) -> _Answers:
    return row[0].outputs, row[1].outputs or {}, row[2].outputs or {}


def _unit(metric: Any) -> float:
    """Return how much of the metric one unit of goodness is."""
    return abs(raw_score(metric, 1.0) - raw_score(metric, 0.0))


def _result(
    metric: Any, example: OptimizationExample, first: Outcome, second: Outcome, before: float, after: float
) -> ExampleResult:
    outcome = "tie" if after == before else "win" if after > before else "loss"
    scores = [None if item.good is None else raw_score(metric, item.good) for item in (first, second)]
    return ExampleResult(example_key(example), scores[0], scores[1], outcome)
