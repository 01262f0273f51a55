"""The comparison on held-out examples, and what it decides: in a study, and again when its certificate is verified."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from attrs import evolve, frozen

from hokusai_core.plugin_api import OptimizationExample, SignatureSpec
from hokusai_evaluate.metrics.scoring import worst_goodness
from hokusai_teleprompt.comparison import Comparison, Decision, PromotionRule, compare
from hokusai_teleprompt.data_split import FEWEST
from hokusai_teleprompt.label_comparison import LabelResult, compare_labels, label_refusals
from hokusai_teleprompt.study.evaluation import Measurement

__all__ = ["HeldOutResult", "compare_held_out", "not_compared"]


@frozen
class HeldOutResult:
    """What the comparison on held-out examples shows.

    Args:
        comparison: the comparison, None where nothing could be compared.
        decision: whether the candidate may be promoted, and why or why not.
        labels: each label of the outputs that are labels.
        label_refusals: why the candidate may not be promoted because of a label.
        invalid: answers without a score, of the baseline and of the candidate.
    """

    comparison: Comparison | None
    decision: Decision
    labels: tuple[LabelResult, ...]
    label_refusals: tuple[str, ...]
    invalid: tuple[int, int]


def compare_held_out(
    spec: SignatureSpec,
    metric: Any,
    examples: Sequence[OptimizationExample],
    before: Measurement,
    after: Measurement,
    *,
    rule: PromotionRule,
    seed: int,
    refusals: Sequence[str] = (),
    keys: Sequence[str] | None = None,
    lost_labels: Sequence[str] | None = None,
) -> HeldOutResult:
    """Compare baseline and candidate on the held-out examples.

    Args:
        spec: the signature.
        metric: the metric.
        examples: the held-out examples.
        before: the measurement of the baseline.
        after: the measurement of the candidate.
        rule: what the candidate has to show.
        seed: of the resampling.
        refusals: why it may not be promoted because of the data, whatever it shows.
        keys: the digests of the examples, where they are known; None to compute them.
        lost_labels: why it may not be promoted because of a label, where the outputs are not there to tell; None to
            compute it from the outputs.

    Raises:
        OptimizationError: the metric returned a score that cannot be used.
    """
    outcomes = [outcome for side in (before, after) for outcome in side.outcomes if outcome is not None]
    comparison = compare(
        metric,
        examples,
        before,
        after,
        worst=worst_goodness(metric, (outcome.good for outcome in outcomes if outcome.good is not None)),
        confidence=rule.confidence,
        seed=seed,
        keys=keys,
    )
    labels: tuple[LabelResult, ...] = ()
    if lost_labels is None:
        labels = compare_labels(spec, examples, before.outputs, after.outputs)
        lost_labels = label_refusals(labels, hidden=spec.sensitive)
    decision = _decision(rule, comparison, len(examples), [*refusals, *lost_labels])
    return HeldOutResult(comparison, decision, labels, tuple(lost_labels), (before.failures, after.failures))


def not_compared(reason: str, before: Measurement) -> HeldOutResult:
    """Return the result where there is no candidate to compare.

    Args:
        reason: why there is none.
        before: the measurement of the baseline.
    """
    return HeldOutResult(None, _refused(reason), (), (), (before.failures, 0))


def _refused(reason: str) -> Decision:
    return Decision(False, "", f"not promoted: {reason}")


def _decision(rule: PromotionRule, comparison: Comparison | None, count: int, refusals: Sequence[str]) -> Decision:
    compared = 0 if comparison is None else len(comparison.examples)
    if count and comparison is None:
        return _refused("the comparison was stopped before it began")
    if compared < min(count, max(FEWEST, math.ceil(count / 2))):
        return _refused(f"only {compared} of {count} examples could be compared")
    decision = rule.decide(None if comparison is None else comparison.paired)
    if not decision.promoted or not refusals:
        return decision
    shown = decision.text.removeprefix("promoted: ")
    return evolve(
        decision, promoted=False, text=f"not promoted: {'; '.join(refusals)} (all examples together: {shown})"
    )
