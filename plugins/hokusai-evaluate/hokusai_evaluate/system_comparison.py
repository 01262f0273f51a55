"""The comparison of two sides of an evaluation: systems that were asked, or rows that an earlier report has kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import evolve, frozen

from hokusai_evaluate.evaluation_figures import ComparisonReport
from hokusai_evaluate.paired_scores import compare_scores, score_unit
from hokusai_evaluate.sequential_test import SequentialTest, end_confidence, look_confidence
from hokusai_evaluate.statistics import Paired, examples_needed, verdict_of

__all__ = ["ComparedSide", "Sequential", "compare_sides"]

#: Differences of goodness that are none.
_TIE: Final = 1e-12


@frozen(eq=False)
class ComparedSide:
    """One side of a comparison.

    Args:
        label: how reports call it.
        goods: place of a row -> how good its answers are, the mean over the rounds. Rows without a score are left out.
        outputs: returns the outputs of each round for the place of a row.
    """

    label: str
    goods: Mapping[int, float]
    outputs: Callable[[int], Sequence[Mapping[str, Any]]]


@frozen(eq=False)
class Sequential:
    """A test that may stop early.

    Args:
        test: the test, which has seen every row that was asked.
        planned: rows that would have been asked.
        asked: rows that were asked.
    """

    test: SequentialTest
    planned: int
    asked: int

    def of_stopped(self, paired: Paired, unit: float, confidence: float) -> Paired:
        """Return a comparison with the interval and the p-value that hold although looks decided when it ended."""
        low, high = self.test.interval()
        return evolve(
            paired,
            low=low * unit,
            high=high * unit,
            p_value=self.test.p_value(),
            confidence=look_confidence(confidence),
            test=f"betting, stopped after {self.asked} of {self.planned}",
            detectable=None,
        )


def compare_sides(
    metric: Any,
    name: str,
    expected: Callable[[int], Mapping[str, Any]],
    one: ComparedSide,
    other: ComparedSide,
    *,
    confidence: float,
    seed: int,
    sequential: Sequential | None = None,
) -> ComparisonReport | None:
    """Compare one side with another on the rows that both have answered; None where there are none.

    Args:
        metric: the metric.
        name: its name.
        expected: returns the expected outputs for the place of a row.
        one: the side that the difference speaks of.
        other: what it is compared with.
        confidence: of the interval.
        seed: of the resampling.
        sequential: the test that may have stopped early, None where all rows were asked at once.

    Raises:
        OptimizationError: the metric returned a score that cannot be used.
    """
    rows = sorted(one.goods.keys() & other.goods.keys())
    if not rows:
        return None
    goods = ([other.goods[row] for row in rows], [one.goods[row] for row in rows])
    whole_set = hasattr(metric, "aggregate")
    given = [(expected(row), other.outputs(row), one.outputs(row)) for row in rows] if whole_set else []
    ends = confidence if sequential is None else end_confidence(confidence)
    before, after, paired = compare_scores(metric, given, goods, confidence=ends, seed=seed)
    if sequential is not None and sequential.test.side:
        paired = sequential.of_stopped(paired, score_unit(metric), confidence)
    gains = [new - old for old, new in zip(*goods, strict=True)]
    wins, losses = sum(gain > _TIE for gain in gains), sum(gain < -_TIE for gain in gains)
    verdict = verdict_of(paired.low, paired.high)
    return ComparisonReport(
        one.label,
        other.label,
        name,
        before,
        after,
        paired.difference,
        paired.low,
        paired.high,
        paired.p_value,
        paired.test,
        wins,
        losses,
        len(gains) - wins - losses,
        paired.confidence,
        verdict,
        examples_needed(paired) if verdict == "not shown" else None,
        paired.detectable,
    )
