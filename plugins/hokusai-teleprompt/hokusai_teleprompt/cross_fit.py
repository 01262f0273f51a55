"""Cross-fitting: what the procedure of an optimization is worth, where there are few examples.

With few examples the held-out ones show large improvements only. So the whole procedure runs again in folds: in each it
learns and chooses on two thirds of the examples, and its candidate is compared with the baseline on the rest. Each
example is compared once, by a candidate that has not seen it. The candidates differ, so the figure speaks of the
procedure and of no candidate, and nothing is promoted by it. The examples of a fold share a candidate, so the interval
is somewhat too narrow.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import evolve, field, frozen

from hokusai_core import Budget, Usage
from hokusai_core.errors import OptimizationError
from hokusai_core.plugin_api import OptimizationExample, SignatureSpec
from hokusai_evaluate.example_reader import near_key
from hokusai_evaluate.metrics.scoring import goodness, worst_goodness
from hokusai_evaluate.paired_scores import in_units, score_unit
from hokusai_evaluate.statistics import compare_paired
from hokusai_evaluate.stratified_split import label_fields, strata_of
from hokusai_teleprompt.data_split import DataSplit, split_examples
from hokusai_teleprompt.report import CrossFitted, Report
from hokusai_teleprompt.study.study import Study, StudyPlan

__all__ = ["FOLDS", "CrossFit", "cross_fit", "suits_cross_fitting"]

FOLDS: Final = 3
#: Examples from which on the held-out ones show enough by themselves, and below which a fold shows nothing.
_ENOUGH, _FEWEST = 60, 12


@frozen
class CrossFit:
    """The result of cross-fitting.

    Args:
        figure: the figure, None where a fold was not finished.
        note: why there is none; empty where there is one.
        reports: the reports of the folds.
    """

    figure: CrossFitted | None
    note: str = ""
    reports: tuple[Report, ...] = field(default=())

    def added_to(self, report: Report) -> Report:
        """Return the report of the optimization with the figure, and with what the folds have used."""
        costs = [one.cost for one in (report, *self.reports) if one.cost is not None]
        return evolve(
            report,
            cross_fitted=self.figure,
            calls=report.calls + sum(one.calls for one in self.reports),
            replayed=report.replayed + sum(one.replayed for one in self.reports),
            failed_calls=report.failed_calls + sum(one.failed_calls for one in self.reports),
            usage=sum((one.usage for one in self.reports), report.usage),
            cost=sum(costs) if costs else None,
            seconds=report.seconds + sum(one.seconds for one in self.reports),
            notes=(*report.notes, *([self.note] if self.note else [])),
        )


def suits_cross_fitting(split: DataSplit, metric: Any) -> bool:
    """Return whether examples are so few that the held-out ones show little, and enough for folds.

    Args:
        split: the examples.
        metric: the metric; one that scores whole sets has no score of each example.
    """
    count = len(split.train) + len(split.dev) + len(split.test)
    return _FEWEST <= count < _ENOUGH and bool(split.test) and not split.refusals and not hasattr(metric, "aggregate")


def cross_fit(plan: StudyPlan, optimizer: Callable[[DataSplit], Any], budget: Budget | None) -> CrossFit:
    """Run the procedure of a study in folds.

    Args:
        plan: the study.
        optimizer: makes an optimizer for a split; None for the search of ``auto``.
        budget: what all folds may use together; None for no limit.
    """
    examples = (*plan.split.train, *plan.split.dev, *plan.split.test)
    reports: list[Report] = []
    gains: list[tuple[float, float]] = []
    scores: list[tuple[float, float, int]] = []
    for number, test in enumerate(_folds(plan.target.spec, examples, plan.seed), 1):
        others = [example for example in examples if all(example is not held for held in test)]
        split = split_examples(plan.target.spec, others, seed=plan.seed, test=test)
        own = _part(budget, FOLDS - number + 1)
        fold = evolve(
            plan,
            split=split,
            optimizer=optimizer(split),
            budget=own,
            checkpoint=None if plan.checkpoint is None else plan.checkpoint.with_suffix(f".fold{number}.jsonl"),
            keep_checkpoint=True,
            given_test=True,
            progress=lambda progress: None,
            notes=(),
        )
        try:
            report = Study(fold).run().report
        except OptimizationError as error:
            return CrossFit(None, f"not cross-fitted: fold {number} of {FOLDS}: {error}", tuple(reports))
        reports.append(report)
        if budget is not None:
            budget.charge(report.usage, report.cost, plan.model.lm.model)
        done = len(report.examples) or len(test)
        if report.stopped is not None or done < len(test) or report.baseline_score is None:
            reason = report.stopped or "not every example could be compared"
            return CrossFit(None, f"not cross-fitted: fold {number} of {FOLDS} was stopped: {reason}", tuple(reports))
        gains += _goods(plan.metric, report) or [(0.0, 0.0)] * len(test)
        after = report.baseline_score if report.candidate_score is None else report.candidate_score
        scores.append((report.baseline_score, after, len(test)))
    return CrossFit(_figure(plan, gains, scores, reports), reports=tuple(reports))


def _folds(
    spec: SignatureSpec, examples: Sequence[OptimizationExample], seed: int
) -> list[tuple[OptimizationExample, ...]]:
    """Return folds of examples, with labels spread evenly; inputs that are nearly the same stay together."""
    groups: dict[str, list[OptimizationExample]] = defaultdict(list)
    for example in examples:
        groups[near_key(example.inputs)].append(example)
    labels = label_fields(spec, examples)
    label = labels[0] if len(labels) == 1 else None
    rng = random.Random(seed)  # noqa: S311  # shuffling, not secrets
    strata = strata_of(groups.values(), lambda example: str(example.outputs.get(label)) if label else "", rng)
    dealt = [group for stratum in strata for group in stratum]
    return [tuple(example for group in dealt[first::FOLDS] for example in group) for first in range(FOLDS)]


def _part(budget: Budget | None, folds: int) -> Budget | None:
    """Return a budget with the part of one fold in what is left; None for no limit.

    Raises:
        OptimizationError: nothing is left.
    """
    if budget is None:
        return None
    spent = budget.spent
    left = {
        "calls": None if budget.calls is None else (budget.calls - spent.calls) // folds,
        "tokens": None if budget.tokens is None else (budget.tokens - spent.total_tokens) // folds,
        "cost": None if budget.cost is None else (budget.cost - budget.spent_cost) / folds,
    }
    return Budget(**left, seconds=budget.seconds, unpriced=budget.unpriced)  # type: ignore[arg-type]  # each has its own


def _goods(metric: Any, report: Report) -> list[tuple[float, float]]:
    """Return how good baseline and candidate are on each example of a fold."""
    pairs = [(one.baseline, one.candidate) for one in report.examples]
    found = [goodness(metric, score) for pair in pairs for score in pair if score is not None]
    worst = worst_goodness(metric, found)

    def good(score: float | None) -> float:
        return worst if score is None else goodness(metric, score)

    return [(good(before), good(after)) for before, after in pairs]


def _figure(
    plan: StudyPlan,
    gains: Sequence[tuple[float, float]],
    scores: Sequence[tuple[float, float, int]],
    reports: Sequence[Report],
) -> CrossFitted:
    before, after = zip(*gains, strict=True)
    paired = in_units(
        compare_paired(before, after, confidence=plan.rule.confidence, seed=plan.seed), score_unit(plan.metric)
    )
    count = sum(number for *_, number in scores)
    return CrossFitted(
        folds=FOLDS,
        examples=count,
        baseline_score=sum(score * number for score, _, number in scores) / count,
        candidate_score=sum(score * number for _, score, number in scores) / count,
        improvement=paired.difference,
        interval=(paired.low, paired.high),
        confidence=paired.confidence,
        calls=sum((report.usage for report in reports), Usage()).calls,
    )
