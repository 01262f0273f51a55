"""Measurements: the scores of the answers of a system, and the report that is made of several of them."""

from __future__ import annotations

import heapq
import math
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from hokusai_core.plugin_api import REDACTED, jsonable
from hokusai_evaluate.answers import Answer
from hokusai_evaluate.evaluation_figures import ComparisonReport, RowReport, RowReports, ScoreReport, SystemReport
from hokusai_evaluate.evaluation_report import Evaluation
from hokusai_evaluate.example_reader import Examples
from hokusai_evaluate.label_table import labels_of
from hokusai_evaluate.metrics.scoring import checked, goodness, raw_score, summary_of, worst_goodness
from hokusai_evaluate.paired_scores import aggregate_score
from hokusai_evaluate.saved_report import SavedReport
from hokusai_evaluate.statistics import resampled_interval, score_interval
from hokusai_evaluate.system_comparison import ComparedSide, Sequential, compare_sides
from hokusai_evaluate.systems import System

__all__ = ["Measurement", "ReportOptions", "report_of"]

#: Slices that are reported, the largest ones.
_MOST_SLICES = 50


@frozen(eq=False)
class Measurement:
    """What a system gave for every row in every round.

    Args:
        system: the system.
        rounds: its answers by round and row.
        goods: by metric, round and row how good the answer is; None where it has no score.
    """

    system: System
    rounds: Sequence[Sequence[Answer]]
    goods: Sequence[Sequence[Sequence[float | None]]]


@frozen
class ReportOptions:
    """What a report is made with, beside the measurements.

    Args:
        digest: digest of all rows that were to be asked.
        by: the column of the slices.
        seed: of the resampling.
        confidence: of the intervals.
        saved: earlier reports to compare with.
        sequential: the test that may have stopped early, None where all rows were asked at once.
        max_regression: how much worse than what it is compared with a system may be; None where nothing is asked for.
    """

    digest: str
    by: str | None
    seed: int
    confidence: float
    saved: Sequence[SavedReport]
    sequential: Sequential | None
    max_regression: float | None


def report_of(
    measured: Sequence[Measurement],
    examples: Examples,
    metrics: Sequence[Any],
    options: ReportOptions,
    *,
    spent: float,
    seconds: float,
    notes: Sequence[str] = (),
) -> Evaluation:
    """Return the report of measurements on the same rows.

    Args:
        measured: the measurements.
        examples: the rows.
        metrics: the metrics, the leading one first.
        options: what it is made with beside these.
        spent: US dollars that the run has spent.
        seconds: how long the run took.
        notes: remarks beside those on the rows.

    Raises:
        OptimizationError: a metric returned a score that cannot be used.
        ConfigurationError: an earlier report cannot be compared with.
    """
    # What an unusable answer counts is the same for all systems.
    worst = [
        worst_goodness(
            metric, (good for one in measured for part in one.goods[at] for good in part if good is not None)
        )
        for at, metric in enumerate(metrics)
    ]
    scorer = _Scorer(examples, metrics, worst, options)
    names = tuple(str(summary_of(metric)["name"]) for metric in metrics)
    systems = tuple(scorer.system(one, names) for one in measured)
    count = len(examples.items)
    return Evaluation(
        measured[0].system.name,
        options.digest,
        count,
        count if options.sequential is None else options.sequential.planned,
        names,
        bool(metrics[0].higher_is_better),
        _perfect(metrics[0]),
        systems + tuple(saved.system for saved in options.saved),
        tuple(scorer.comparisons(measured, names[0])),
        options.by,
        len(measured[0].rounds),
        options.seed,
        options.confidence,
        options.max_regression,
        spent,
        seconds,
        (*examples.notes, *notes),
        _Rows(measured, examples, scorer),
        {one.system.label: labels_of(one.system.spec, examples.items, one.rounds) for one in measured},
    )


class _Scorer:
    """Makes scores of the goodness of answers.

    Args:
        examples: the rows.
        metrics: the metrics, the leading one first.
        worst: by metric, what an unusable answer counts.
        options: column of the slices, seed, confidence, and what to compare with.
    """

    def __init__(
        self, examples: Examples, metrics: Sequence[Any], worst: Sequence[float], options: ReportOptions
    ) -> None:
        self._examples, self._metrics, self._worst, self._options = examples, metrics, worst, options
        self._by, self._seed, self._confidence = options.by, options.seed, options.confidence
        self._everything = range(len(examples.items))
        # By metric and system the mean over the rounds for each row; None for a row without a score.
        self._known: dict[tuple[int, str], list[float | None]] = {}

    def system(self, measured: Measurement, names: Sequence[str]) -> SystemReport:
        """Return the figures of a system."""
        system, answers = measured.system, [answer for part in measured.rounds for answer in part]
        scores = {name: self._score(at, measured, self._everything) for at, name in enumerate(names)}
        slices = {value: self._score(0, measured, rows) for value, rows in self._slices().items()}
        latencies = sorted(answer.latency for answer in answers if answer.latency is not None)
        tokens = [answer.tokens for answer in answers if answer.tokens is not None]
        costs = [answer.cost for answer in answers if answer.cost is not None]
        unanswered = Counter(answer.error for answer in answers if not answer.answered)
        for part, goods in zip(measured.rounds, measured.goods[0], strict=True):
            lost = sum(good is None and answer.outputs is not None for answer, good in zip(part, goods, strict=True))
            unanswered.update({"unscored": lost} if lost else {})
        return SystemReport(
            system.label,
            system.name,
            system.spec.fingerprint,
            system.model,
            system.against,
            scores,
            slices,
            dict(Counter(answer.error for answer in answers if answer.answered and answer.error).most_common()),
            dict(unanswered.most_common()),
            sum(answer.reused for answer in answers),
            sum(costs) if costs else None,
            statistics.fmean(pair[0] for pair in tokens) if tokens else None,
            statistics.fmean(pair[1] for pair in tokens) if tokens else None,
            _share(latencies, 0.5),
            _share(latencies, 0.95),
            self._round_deviation(measured),
        )

    def comparisons(self, measured: Sequence[Measurement], name: str) -> Iterator[ComparisonReport]:
        """Yield each system with what it is compared with: one of the same model if there is one."""
        metric, (first, *rest), options = self._metrics[0], measured, self._options
        others = [one for one in measured if one.system.against]
        pairs: list[tuple[Measurement, Measurement]] = []
        for one in measured:
            if others and not one.system.against:
                same = [other for other in others if other.system.model == one.system.model]
                pairs += ((one, other) for other in same or others)
        if not others and not options.saved:
            pairs = [(one, first) for one in rest]
        sides = [(self._side(one), self._side(other)) for one, other in pairs]
        for saved in options.saved:
            spec = first.system.spec
            kept = saved.side(self._examples, options.digest, metric, name, spec)
            sides += ((self._side(one), kept) for one in measured if not one.system.against)
        for side, other_side in sides:
            found = compare_sides(
                metric,
                name,
                lambda place: self._examples.items[place].outputs,
                side,
                other_side,
                confidence=self._confidence,
                seed=self._seed,
                sequential=options.sequential,
            )
            if found is not None:
                yield found

    def _side(self, measured: Measurement) -> ComparedSide:
        goods = {row: good for row, good in enumerate(self.means(0, measured)) if good is not None}
        return ComparedSide(measured.system.label, goods, lambda place: _outputs(measured, place))

    def row(self, measured: Sequence[Measurement], place: int) -> RowReport:
        """Return the report of one row."""
        example, spec = self._examples.items[place], measured[0].system.spec
        answers = {one.system.label: one.rounds[0][place] for one in measured}
        goods = {one.system.label: self.means(0, one)[place] for one in measured}
        scores = {label: None if good is None else raw_score(self._metrics[0], good) for label, good in goods.items()}
        return RowReport(
            self._examples.numbers[place],
            _shown(example.inputs, spec.sensitive),
            _shown(example.outputs, spec.sensitive),
            {
                label: None if answer.outputs is None else _shown(answer.outputs, spec.sensitive)
                for label, answer in answers.items()
            },
            {label: f"{answer.error}: {answer.message}" for label, answer in answers.items() if answer.error},
            scores,
            "" if spec.sensitive else self._examples.keys[place],
        )

    def best(self, goods: Sequence[float | None]) -> float:
        """Return how good an answer has to be to have nothing wrong with it: perfect, or as good as any seen."""
        perfect = _perfect(self._metrics[0])
        seen = max((good for good in goods if good is not None), default=0.0)
        return (seen if perfect is None else goodness(self._metrics[0], perfect)) - 1e-9

    def _slices(self) -> dict[str, list[int]]:
        """Return the rows of each value of the column, the largest slices first."""
        if self._by is None:
            return {}
        found: dict[str, list[int]] = {}
        for place, (example, extra) in enumerate(zip(self._examples.items, self._examples.extras, strict=True)):
            value = {**example.inputs, **extra, **example.outputs}.get(self._by)
            missing = value is None or value != value  # a NaN is how pandas says that nothing is there
            found.setdefault("(none)" if missing else str(value), []).append(place)
        return dict(sorted(found.items(), key=lambda item: -len(item[1]))[:_MOST_SLICES])

    def means(self, at: int, measured: Measurement) -> list[float | None]:
        """Return how good the answers for each row are, the mean over the rounds; None without a score in one of them.

        Args:
            at: number of the metric.
            measured: the measurement of a system.
        """
        key = at, measured.system.label
        if key not in self._known:
            worst, rounds = self._worst[at], []
            for goods, answers in zip(measured.goods[at], measured.rounds, strict=True):
                failed = (worst if answer.answered and answer.outputs is None else None for answer in answers)
                rounds.append([good if good is not None else bad for good, bad in zip(goods, failed, strict=True)])
            self._known[key] = rounds[0] if len(rounds) == 1 else list(map(_mean, zip(*rounds, strict=True)))
        return self._known[key]

    def _score(self, at: int, measured: Measurement, rows: Sequence[int]) -> ScoreReport:
        metric, means = self._metrics[at], self.means(at, measured)
        rows = [row for row in rows if means[row] is not None]
        if not rows:
            return ScoreReport(None, None, None, 0)
        if hasattr(metric, "aggregate"):
            given = [(self._examples.items[row].outputs, _outputs(measured, row)) for row in rows]

            def score(chosen: NDArray[np.int64]) -> float:
                return aggregate_score(metric, [given[place] for place in chosen])

            value = aggregate_score(metric, given)
            ends = resampled_interval(score, len(given), confidence=self._confidence, seed=self._seed)
        else:
            goods = [good for row in rows if (good := means[row]) is not None]
            value = raw_score(metric, statistics.fmean(goods))
            limits = score_interval(goods, confidence=self._confidence, seed=self._seed)
            ends = raw_score(metric, limits[0]), raw_score(metric, limits[1])
        return ScoreReport(value, min(ends), max(ends), len(rows))

    def _round_deviation(self, measured: Measurement) -> float | None:
        """Return how much the leading score differs from round to round."""
        if len(measured.rounds) < 2:
            return None
        metric = self._metrics[0]
        rows = [row for row, good in enumerate(self.means(0, measured)) if good is not None]
        if not rows:
            return None
        scores = []
        for goods, answers in zip(measured.goods[0], measured.rounds, strict=True):
            if hasattr(metric, "aggregate"):
                pairs = [(self._examples.items[row].outputs, answers[row].outputs or {}) for row in rows]
                scores.append(checked(metric.aggregate(pairs), metric))
            else:
                found = (goods[row] for row in rows)
                scores.append(raw_score(metric, statistics.fmean(self._worst[0] if g is None else g for g in found)))
        return statistics.stdev(scores)


class _Rows(RowReports):
    """The reports of all rows, each made when it is asked for."""

    def __init__(self, measured: Sequence[Measurement], examples: Examples, scorer: _Scorer) -> None:
        self._measured, self._count, self._scorer = measured, len(examples.items), scorer

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(self._count))]
        if not 0 <= place < self._count:
            raise IndexError(place)
        return self._scorer.row(self._measured, place)

    def worst(self, count: int) -> list[RowReport]:
        """Return the rows on which the first system did worst, those that all do badly last."""
        first, *others = (self._scorer.means(0, one) for one in self._measured)
        best = self._scorer.best(first)
        failed = {row for one in self._measured for row, answer in enumerate(one.rounds[0]) if answer.error}
        bad = [
            (good, -max((other[row] or 0.0 for other in others if other[row] is not None), default=0.0), row)
            for row, good in enumerate(first)
            if good is not None and (good < best or row in failed)
        ]
        return [self[row] for _, _, row in heapq.nsmallest(count, bad)]


def _mean(goods: Sequence[float | None]) -> float | None:
    known = [good for good in goods if good is not None]
    return sum(known) / len(known) if len(known) == len(goods) else None


def _perfect(metric: Any) -> float | None:
    best = float(metric.range[1 if metric.higher_is_better else 0])
    return None if math.isinf(best) else best


def _outputs(measured: Measurement, row: int) -> list[Mapping[str, Any]]:
    return [part[row].outputs or {} for part in measured.rounds]


def _shown(values: Mapping[str, Any], sensitive: frozenset[str]) -> dict[str, Any]:
    """Return values as reports show them: plain, a picture or file as its digest."""
    return {name: REDACTED if name in sensitive else _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    try:
        return jsonable(value)
    except (TypeError, ValueError):  # it has no form as data
        return f"<{type(value).__name__}>"


def _share(ordered: Sequence[float], share: float) -> float | None:
    """Return the value that a share of sorted values does not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered) - 1e-9) - 1)] if ordered else None
