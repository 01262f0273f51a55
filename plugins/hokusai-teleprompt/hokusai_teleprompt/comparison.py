"""The comparison of baseline and candidate on the same held-out examples, and the rule that decides by it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import field, frozen

from hokusai_core.errors import ConfigurationError
from hokusai_core.plugin_api import OptimizationExample
from hokusai_evaluate.example_reader import example_key
from hokusai_evaluate.metrics.scoring import checked, raw_score
from hokusai_evaluate.paired_scores import compare_scores
from hokusai_evaluate.statistics import Paired, examples_needed
from hokusai_teleprompt.report import ExampleResult
from hokusai_teleprompt.study.evaluation import ExampleOutcome, Measurement

__all__ = ["Comparison", "Decision", "PromotionRule", "compare", "score_of"]


@frozen
class Comparison:
    """Two signatures on the same examples.

    Args:
        baseline: score of the first.
        candidate: score of the second.
        paired: the difference in units of the metric, more is better.
        examples: the result of each example.
    """

    baseline: float
    candidate: float
    paired: Paired
    examples: tuple[ExampleResult, ...]


def score_of(metric: Any, examples: Sequence[OptimizationExample], measured: Measurement, worst: float) -> float | None:
    """Return the score of a measurement in units of the metric, None where nothing was measured.

    Raises:
        OptimizationError: the metric returned a score that cannot be used.
    """
    pairs = [
        (example.outputs, outcome.outputs or {})
        for example, outcome in zip(examples, measured.outcomes, strict=True)
        if outcome is not None
    ]
    if not pairs:
        return None
    if hasattr(metric, "aggregate"):
        return checked(metric.aggregate(pairs), metric)
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
    keys: Sequence[str] | None = None,
) -> Comparison | None:
    """Compare two measurements on the examples that both have finished; None where there are none.

    Args:
        metric: the metric.
        examples: the held-out examples.
        before: the measurement of the baseline.
        after: the measurement of the candidate.
        worst: what an example without a score counts.
        confidence: of the interval.
        seed: of the resampling.
        keys: the digests of the examples, where they are known; None to compute them.

    Raises:
        OptimizationError: the metric returned a score that cannot be used.
    """
    keys = [example_key(example) for example in examples] if keys is None else keys
    rows = [
        (example, first, second, key)
        for example, first, second, key in zip(examples, before.outcomes, after.outcomes, keys, strict=True)
        if first is not None and second is not None
    ]
    if not rows:
        return None
    columns = [row[1] for row in rows], [row[2] for row in rows]
    first, second = ([worst if item.good is None else item.good for item in column] for column in columns)
    answers = [(row[0].outputs, (row[1].outputs or {},), (row[2].outputs or {},)) for row in rows]
    baseline, candidate, paired = compare_scores(metric, answers, (first, second), confidence=confidence, seed=seed)
    results = tuple(_result(metric, row, pair) for row, pair in zip(rows, zip(first, second, strict=True), strict=True))
    return Comparison(baseline, candidate, paired, results)


def _result(
    metric: Any, row: tuple[OptimizationExample, ExampleOutcome, ExampleOutcome, str], goods: tuple[float, float]
) -> ExampleResult:
    before, after = goods
    outcome = "tie" if after == before else "win" if after > before else "loss"
    scores = [None if item.good is None else raw_score(metric, item.good) for item in (row[1], row[2])]
    return ExampleResult(row[3], scores[0], scores[1], outcome)


def _between(low: float, high: float) -> Any:
    def check(rule: Any, attribute: Any, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low < value < high:
            raise ConfigurationError(f"{attribute.name}={value!r}: expected a number between {low:g} and {high:g}")

    return check


@frozen
class Decision:
    """What a comparison shows of a candidate.

    Args:
        promoted: whether it may be promoted.
        finding: ``better``, ``not shown`` or ``worse``; empty where nothing was compared.
        text: the same in words, with the figures.
        examples_needed: about how many held-out examples would show the observed difference in 4 of 5 cases; None where
            it is shown, or there is none.
    """

    promoted: bool
    finding: str
    text: str
    examples_needed: int | None = None


@frozen
class PromotionRule:
    """What a candidate has to show on held-out examples: the whole interval lies above ``min_improvement``.

    The interval belongs to an exact paired test, so with a ``min_improvement`` of zero this is the same as a p-value of
    at most ``1 - confidence``. Of candidates that are no better, at most ``(1 - confidence) / 2`` are promoted.

    Args:
        min_improvement: least improvement, in units of the metric.
        confidence: of the interval.

    Raises:
        ConfigurationError: a value cannot be used.
    """

    min_improvement: float = field(default=0.0, validator=_between(-1e12, 1e12))
    confidence: float = field(default=0.95, validator=_between(0.5, 1.0))

    def decide(self, paired: Paired | None) -> Decision:
        """Return whether the candidate may be promoted, and why or why not.

        Args:
            paired: the comparison in units of the metric, more is better; None if nothing was held out.
        """
        if paired is None:
            text = "not verified: nothing could be held out, so it is not known whether it is better"
            return Decision(False, "", text)
        interval = f"{paired.confidence:.0%} interval {paired.low:+.3f} to {paired.high:+.3f}"
        tested = f"p = {paired.p_value:.2g} ({paired.test})"
        margin = "zero" if self.min_improvement == 0 else f"the {self.min_improvement:g} asked for"
        if paired.low > self.min_improvement:  # written so that NaN fails
            return Decision(True, "better", f"promoted: better, the {interval} lies above {margin}; {tested}")
        if paired.high < 0:
            return Decision(False, "worse", f"not promoted: worse, the {interval} lies below zero; {tested}")
        text = f"not promoted: not shown to be better, the {interval} does not lie above {margin}; {tested}"
        needed = examples_needed(paired, self.min_improvement) if paired.difference > self.min_improvement else None
        if needed is not None:
            text += f"; about {needed} held-out examples would show an improvement of {paired.difference:.3f}"
        return Decision(False, "not shown", text, needed)

    @property
    def false_promotions(self) -> float:
        """The largest share of candidates that are no better and are still promoted."""
        return (1.0 - self.confidence) / 2
