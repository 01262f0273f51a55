"""The report of an evaluation."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import asdict, field, frozen

from hokusai_core.errors import ConfigurationError
from hokusai_core.plugin_api import atomic_write

__all__ = ["ComparisonReport", "Evaluation", "GateResult", "RowReport", "ScoreReport", "SystemReport"]


@frozen
class ScoreReport:
    """A score with its interval.

    Args:
        value: the score in units of the metric; None where nothing was scored.
        low: lower end of the interval.
        high: upper end of the interval.
        rows: rows that it is of.
    """

    value: float | None
    low: float | None
    high: float | None
    rows: int


@frozen
class SystemReport:
    """The figures of one system.

    Args:
        label: what tells it from the others.
        name: name of the signature or chain.
        fingerprint: hash over its fields, types, instructions and demos.
        model: name of the language model.
        against: whether it is what others are compared with.
        scores: metric -> score.
        slices: value of the column ``by`` -> score by the leading metric.
        failures: class of the error -> answers that do not fit the signature. They count as the worst score.
        unanswered: class of the error -> rows that could not be asked. They are in no score.
        reused: answers that came out of the journal.
        cost: US dollars that the answers cost when they were made; None where no price is known.
        input_tokens: tokens of a prompt, the mean; None where unknown.
        output_tokens: tokens of an answer, the mean; None where unknown.
        latency_p50: seconds that half of the answers took at most.
        latency_p95: seconds that 95 of 100 answers took at most.
        round_deviation: standard deviation of the leading score over the rounds; None for one round.
    """

    label: str
    name: str
    fingerprint: str
    model: str
    against: bool
    scores: Mapping[str, ScoreReport]
    slices: Mapping[str, ScoreReport]
    failures: Mapping[str, int]
    unanswered: Mapping[str, int]
    reused: int
    cost: float | None
    input_tokens: float | None
    output_tokens: float | None
    latency_p50: float | None
    latency_p95: float | None
    round_deviation: float | None


@frozen
class ComparisonReport:
    """Two systems on the rows that both have answered, by the leading metric.

    Args:
        label: the system.
        against: what it is compared with.
        metric: name of the metric.
        before: score of ``against``.
        after: score of ``label``.
        difference: how much better ``label`` is, in units of the metric; below zero for worse.
        low: lower end of the interval of the difference.
        high: upper end of it.
        p_value: probability of a difference at least as large if the two do not differ.
        test: name of the test.
        wins: rows that ``label`` does better.
        losses: rows that it does worse.
        ties: rows that both do alike.
    """

    label: str
    against: str
    metric: str
    before: float
    after: float
    difference: float
    low: float
    high: float
    p_value: float
    test: str
    wins: int
    losses: int
    ties: int


@frozen
class RowReport:
    """One row of the data, and what each system made of it.

    Args:
        number: its number in the data, from 1.
        inputs: its inputs, sensitive ones redacted.
        expected: the expected outputs.
        outputs: system -> the outputs of the first round; None where it has none.
        errors: system -> the error of the first round, for those that failed.
        scores: system -> score by the leading metric, the mean over the rounds; None where there is none.
    """

    number: int
    inputs: Mapping[str, Any]
    expected: Mapping[str, Any]
    outputs: Mapping[str, Mapping[str, Any] | None]
    errors: Mapping[str, str]
    scores: Mapping[str, float | None]


@frozen
class GateResult:
    """Whether a system may pass.

    Args:
        name: what is asked for.
        label: the system.
        passed: whether it passes.
        message: the figures.
    """

    name: str
    label: str
    passed: bool
    message: str


@frozen(eq=False, repr=False)
class Evaluation:
    """The result of ``evaluate``.

    Args:
        target: name of what was evaluated.
        digest: digest of the rows, inputs and expected outputs.
        rows: how many rows there are.
        metrics: names of the metrics, the leading one first.
        higher_is_better: whether a higher score of the leading metric is better.
        systems: the figures of each system.
        comparisons: each system with what it is compared with.
        by: the column of the slices.
        repeat: rounds.
        seed: of the sample and of the resampling.
        confidence: of the intervals.
        spent: US dollars that this run has spent, as far as prices are known.
        seconds: how long this run took.
        notes: what was left out or changed.

    ``str(evaluation)`` is the table that the command prints.
    """

    target: str
    digest: str
    rows: int
    metrics: tuple[str, ...]
    higher_is_better: bool
    systems: tuple[SystemReport, ...]
    comparisons: tuple[ComparisonReport, ...]
    by: str | None
    repeat: int
    seed: int
    confidence: float
    spent: float
    seconds: float
    notes: tuple[str, ...]
    _reports: Sequence[RowReport] = field(metadata={"rows": True})

    @property
    def score(self) -> float | None:
        """The leading score of the first system."""
        return self.systems[0].scores[self.metrics[0]].value

    @property
    def complete(self) -> bool:
        """Whether every row could be asked, and every answer scored."""
        return not any(system.unanswered for system in self.systems)

    def worst(self, count: int = 5) -> list[RowReport]:
        """Return the rows on which the first system did worst, those that all do badly last.

        Args:
            count: how many.
        """
        first = self.systems[0].label
        sign = 1 if self.higher_is_better else -1

        def badness(report: RowReport) -> tuple[float, float, int]:
            others = [score for label, score in report.scores.items() if label != first and score is not None]
            score = report.scores[first]
            return sign * (score or 0.0), -sign * max(others, default=0.0), report.number

        scored = [report for report in self._reports if report.scores[first] is not None]
        best = max((sign * (report.scores[first] or 0.0) for report in scored), default=0.0)
        bad = [report for report in scored if sign * (report.scores[first] or 0.0) < best or report.errors]
        return sorted(bad, key=badness)[:count]

    def each_row(self) -> Iterator[RowReport]:
        """Yield every row, in the order of the data."""
        return iter(self._reports)

    def check(self, *, min_score: float | None = None, max_regression: float | None = None) -> list[GateResult]:
        """Return whether the systems pass the gates that are given.

        Args:
            min_score: the leading score that every system has to reach, in units of the metric. Where lower is better,
                the score that none may exceed.
            max_regression: how much worse than what it is compared with a system may be, in units of the metric.

        Raises:
            ConfigurationError: a regression is asked for, and there is nothing to compare with.
        """
        if max_regression is not None and not self.comparisons:
            raise ConfigurationError("max_regression needs something to compare with; give against=...")
        found = [GateResult("complete", one.label, not one.unanswered, _unanswered(one)) for one in self.systems]
        name = self.metrics[0]
        if min_score is not None:
            for one in self.systems:
                if not one.against:
                    value = one.scores[name].value
                    passed = value is not None and (value >= min_score if self.higher_is_better else value <= min_score)
                    text = f"{name} {_shown(value)}, asked for {min_score:g}"
                    found.append(GateResult("score", one.label, passed, text))
        if max_regression is not None:
            for pair in self.comparisons:
                passed = pair.difference >= -max_regression
                allowed = f"at most {max_regression:g} worse is allowed"
                text = f"{name} {pair.difference:+.3f} against {pair.against}, {allowed}"
                found.append(GateResult("regression", pair.label, passed, text))
        return found

    def to_dict(self, *, rows: bool = False) -> dict[str, Any]:
        """Return the report as a JSON-able dict.

        Args:
            rows: whether every row is in it, and not only the worst ones.
        """
        found = asdict(self, filter=lambda attribute, _: not attribute.metadata.get("rows"))
        shown = self._reports if rows else self.worst()
        return {**found, "complete": self.complete, "row_reports": [asdict(one) for one in shown]}

    def to_json(self, *, rows: bool = False) -> str:
        """Return the report as JSON; see ``to_dict``."""
        return json.dumps(self.to_dict(rows=rows), indent=2, ensure_ascii=False, default=str)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report with every row as a JSON file."""
        atomic_write(path, [self.to_json(rows=True).encode("utf-8", "replace"), b"\n"])

    def __str__(self) -> str:
        from hokusai_evaluate.evaluation_table import table_of

        return table_of(self)

    def __repr__(self) -> str:
        return f"<Evaluation {self.target}: {self.rows} rows, {self.metrics[0]} {_shown(self.score)}>"


def _shown(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3f}"


def _unanswered(system: SystemReport) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in system.unanswered.items())
    return f"rows that could not be asked: {kinds}" if kinds else "every row was answered"
