"""The report of an evaluation: its figures, its gates, and the tables that show them."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

from attrs import asdict, field, frozen

from hokusai_core.cli_support.tables import aligned, fitted, printable
from hokusai_core.errors import ConfigurationError
from hokusai_core.plugin_api import atomic_write, jsonable
from hokusai_evaluate.evaluation_figures import (
    ComparisonReport,
    GateResult,
    RowReport,
    RowReports,
    ScoreReport,
    SystemReport,
)
from hokusai_evaluate.gates import Undecided, regression_gate, score_gate
from hokusai_evaluate.label_table import SystemLabels, rows_of_labels

__all__ = ["Evaluation"]

#: Characters of a value that the list of the worst rows shows.
_SHOWN: Final = 70
_NO_SCORE: Final = ScoreReport(None, None, None, 0)


@frozen(eq=False, repr=False)
class Evaluation:
    """The result of ``evaluate``.

    Args:
        target: name of what was evaluated.
        digest: digest of the rows, inputs and expected outputs.
        rows: how many rows were asked.
        planned: how many rows there are. Where it is more than ``rows``, a sequential test has stopped early.
        metrics: names of the metrics, the leading one first.
        higher_is_better: whether a higher score of the leading metric is better.
        perfect: the best score that the leading metric can give; None where it has no limit.
        systems: the figures of each system.
        comparisons: each system with what it is compared with.
        by: the column of the slices.
        repeat: rounds.
        seed: of the sample and of the resampling.
        confidence: of the intervals.
        max_regression: the gate of the comparison that was asked for; None for none.
        spent: US dollars that this run has spent, as far as prices are known.
        seconds: how long this run took.
        notes: what was left out or changed.
        labels: system -> output -> the scores of its labels, for the outputs that are labels.

    ``str(evaluation)`` is the table that the command prints.
    """

    target: str
    digest: str
    rows: int
    planned: int
    metrics: tuple[str, ...]
    higher_is_better: bool
    perfect: float | None
    systems: tuple[SystemReport, ...]
    comparisons: tuple[ComparisonReport, ...]
    by: str | None
    repeat: int
    seed: int
    confidence: float
    max_regression: float | None
    spent: float
    seconds: float
    notes: tuple[str, ...]
    _reports: RowReports = field(metadata={"rows": True})
    labels: Mapping[str, SystemLabels] = field(factory=dict)

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
        return self._reports.worst(count)

    def each_row(self) -> Iterator[RowReport]:
        """Yield every row, in the order of the data."""
        return iter(self._reports)

    def check(
        self,
        *,
        min_score: float | None = None,
        max_regression: float | None = None,
        undecided: Undecided = "pass",
    ) -> list[GateResult]:
        """Return whether the systems pass the gates that are given.

        Args:
            min_score: the leading score that every system has to reach, in units of the metric. Where lower is better,
                the score that none may exceed.
            max_regression: how much worse than what it is compared with a system may be, in units of the metric. It
                fails where the whole interval of the difference is worse. None for what ``evaluate`` was given.
            undecided: whether ``max_regression`` is passed where the interval includes it, so that the rows do not show
                whether a system is worse by more.

        Raises:
            ConfigurationError: a regression is asked for, and there is nothing to compare with.
        """
        if undecided not in ("pass", "fail"):
            raise ConfigurationError(f"undecided={undecided!r}: expected 'pass' or 'fail'")
        allowed = self.max_regression if max_regression is None else max_regression
        if allowed is not None and not self.comparisons:
            raise ConfigurationError("max_regression needs something to compare with; give against=...")
        asked = [one for one in self.systems if not one.against]
        found = [GateResult("complete", one.label, not one.unanswered, _unanswered(one)) for one in self.systems]
        name, higher = self.metrics[0], self.higher_is_better
        if min_score is not None:
            found += (
                score_gate(one.label, name, one.scores[name], min_score, higher_is_better=higher) for one in asked
            )
        if allowed is not None:
            found += (regression_gate(pair, allowed, undecided) for pair in self.comparisons)
        return found

    def to_dict(self, *, rows: bool = False) -> dict[str, Any]:
        """Return the report as a JSON-able dict.

        Args:
            rows: whether every row is in it, and not only the worst ones.
        """
        found = asdict(self, filter=lambda attribute, _: not attribute.metadata.get("rows"))
        shown = self._reports if rows else self.worst()
        return {**found, "complete": self.complete, "row_reports": [jsonable(asdict(one)) for one in shown]}

    def to_json(self, *, rows: bool = False) -> str:
        """Return the report as JSON; see ``to_dict``."""
        return json.dumps(self.to_dict(rows=rows), indent=2, ensure_ascii=False, default=str)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report with every row as a JSON file."""
        atomic_write(path, [self.to_json(rows=True).encode("utf-8", "replace"), b"\n"])

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def table(self, *, worst: int = 5) -> str:
        """Return the tables of the report as text.

        Args:
            worst: how many of the worst rows are shown.
        """
        rounds = f", {self.repeat} rounds" if self.repeat > 1 else ""
        asked = f"{self.rows} rows" if self.rows == self.planned else f"{self.rows} of {self.planned} rows"
        lines = [f"{self.target}: {asked}, digest {self.digest[:8]}{rounds}", ""]
        lines += fitted([_head(self), *(_row(self, system) for system in self.systems)])
        lines += [line for part in _parts(self, worst) for line in ("", *part)]
        return "\n".join(map(printable, lines))

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        return f"<Evaluation {self.target}: {self.rows} rows, {self.metrics[0]} {_shown(self.score)}>"


def _shown(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3f}"


def _unanswered(system: SystemReport) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in system.unanswered.items())
    return f"rows that could not be asked: {kinds}" if kinds else "every row was answered"


def _parts(evaluation: Evaluation, worst: int) -> Iterator[list[str]]:
    if evaluation.comparisons:
        yield [_comparison(pair) for pair in evaluation.comparisons]
    failures = [
        [system.label, kind, str(count), what]
        for system in evaluation.systems
        for kinds, what in (
            (system.failures, "counted as the worst score"),
            (system.unanswered, "could not be asked or scored; not in the score"),
        )
        for kind, count in kinds.items()
    ]
    if failures:
        yield aligned([["FAILURES", "KIND", "COUNT", ""], *failures])
    if any(evaluation.labels.values()):
        yield fitted(list(rows_of_labels(evaluation.labels)))
    if evaluation.by is not None:
        labels = [system.label for system in evaluation.systems]
        values = list(dict.fromkeys(value for system in evaluation.systems for value in system.slices))
        table = [
            [value, str(evaluation.systems[0].slices.get(value, _NO_SCORE).rows)]
            + [_interval(system.slices.get(value, _NO_SCORE)) for system in evaluation.systems]
            for value in values
        ]
        yield fitted([[f"BY {evaluation.by}", "ROWS", *labels], *table])
    bad = evaluation.worst(worst)
    if bad:
        yield ["worst rows", *(line for report in bad for line in _worst(report))]
    if evaluation.notes:
        yield [f"note: {note}" for note in evaluation.notes]


def _head(evaluation: Evaluation) -> list[str]:
    rounds = ["+/- ROUND"] if evaluation.repeat > 1 else []
    unasked = [] if evaluation.complete else ["UNASKED"]
    return ["SYSTEM", *evaluation.metrics, *rounds, "COST", "TOKENS", "P50", "P95", "FAILED", *unasked]


def _row(evaluation: Evaluation, system: SystemReport) -> list[str]:
    rounds = [_number(system.round_deviation, "{:.3f}")] if evaluation.repeat > 1 else []
    return [
        system.label + (" (against)" if system.against else ""),
        *(_interval(system.scores.get(name, _NO_SCORE)) for name in evaluation.metrics),
        *rounds,
        _number(system.cost, "${:.4f}"),
        _tokens(system),
        _number(system.latency_p50, "{:.2f} s"),
        _number(system.latency_p95, "{:.2f} s"),
        str(sum(system.failures.values())),
        *([] if evaluation.complete else [str(sum(system.unanswered.values()))]),
    ]


def _tokens(system: SystemReport) -> str:
    """Return the mean tokens of a prompt and of an answer."""
    if system.input_tokens is None and system.output_tokens is None:
        return "-"
    return f"{_number(system.input_tokens, '{:.0f}')} + {_number(system.output_tokens, '{:.0f}')}"


def _comparison(pair: ComparisonReport) -> str:
    shift = f"{pair.metric} {pair.difference:+.3f} [{pair.low:+.3f}, {pair.high:+.3f}]"
    counts = f"{pair.wins} wins, {pair.losses} losses, {pair.ties} ties"
    text = (
        f"{pair.label} against {pair.against}: {pair.verdict}; {shift}, p = {pair.p_value:.2g} ({pair.test}); {counts}"
    )
    if pair.rows_needed is not None:
        return f"{text}; about {pair.rows_needed} rows would show such a difference"
    return text


def _worst(report: RowReport) -> Iterator[str]:
    scores = ", ".join(f"{label} {_number(score, '{:.2f}')}" for label, score in report.scores.items())
    yield f"  row {report.number}: {scores}"
    yield f"    inputs    {_values(report.inputs)}"
    yield f"    expected  {_values(report.expected)}"
    for label, outputs in report.outputs.items():
        names = "" if len(report.outputs) == 1 else f"{label}: "
        text = _values(outputs) if outputs is not None else " ".join(report.errors.get(label, "nothing").split())[:200]
        yield f"    given     {names}{text}"


def _values(values: Mapping[str, Any]) -> str:
    return "; ".join(f"{name}={_short(value)}" for name, value in values.items())


def _short(value: Any) -> str:
    text = " ".join((value if isinstance(value, str) else str(jsonable(value))).split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _interval(score: ScoreReport) -> str:
    if score.value is None:
        return "-"
    return f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
