"""The report of an evaluation as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from hokusai_core.cli_support.tables import aligned, printable
from hokusai_core.plugin_api import jsonable
from hokusai_evaluate.evaluation_report import ComparisonReport, Evaluation, RowReport, ScoreReport, SystemReport

__all__ = ["table_of"]

#: Characters of a value that the list of the worst rows shows.
_SHOWN: Final = 70


def table_of(evaluation: Evaluation, *, worst: int = 5) -> str:
    """Return the tables of an evaluation.

    Args:
        evaluation: the evaluation.
        worst: how many of the worst rows are shown.
    """
    rounds = f", {evaluation.repeat} rounds" if evaluation.repeat > 1 else ""
    lines = [f"{evaluation.target}: {evaluation.rows} rows, digest {evaluation.digest[:8]}{rounds}", ""]
    lines += aligned([_head(evaluation), *(_row(evaluation, system) for system in evaluation.systems)])
    lines += [line for part in _parts(evaluation, worst) for line in ("", *part)]
    return "\n".join(map(printable, lines))


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
    if evaluation.by is not None:
        labels = [system.label for system in evaluation.systems]
        values = list(dict.fromkeys(value for system in evaluation.systems for value in system.slices))
        nothing = ScoreReport(None, None, None, 0)
        table = [
            [value, str(evaluation.systems[0].slices.get(value, nothing).rows)]
            + [_interval(system.slices.get(value, nothing)) for system in evaluation.systems]
            for value in values
        ]
        yield aligned([[f"BY {evaluation.by}", "ROWS", *labels], *table])
    bad = evaluation.worst(worst)
    if bad:
        yield ["worst rows", *(line for report in bad for line in _worst(report))]
    if evaluation.notes:
        yield [f"note: {note}" for note in evaluation.notes]


def _head(evaluation: Evaluation) -> list[str]:
    rounds = ["+/- ROUND"] if evaluation.repeat > 1 else []
    return ["SYSTEM", *evaluation.metrics, *rounds, "COST", "TOKENS IN", "OUT", "P50", "P95", "FAILED", "UNASKED"]


def _row(evaluation: Evaluation, system: SystemReport) -> list[str]:
    rounds = [_number(system.round_deviation, "{:.3f}")] if evaluation.repeat > 1 else []
    return [
        system.label + (" (against)" if system.against else ""),
        *(_interval(score) for score in system.scores.values()),
        *rounds,
        _number(system.cost, "${:.4f}"),
        _number(system.input_tokens, "{:.0f}"),
        _number(system.output_tokens, "{:.0f}"),
        _number(system.latency_p50, "{:.2f} s"),
        _number(system.latency_p95, "{:.2f} s"),
        str(sum(system.failures.values())),
        str(sum(system.unanswered.values())),
    ]


def _comparison(pair: ComparisonReport) -> str:
    shift = f"{pair.metric} {pair.difference:+.3f} [{pair.low:+.3f}, {pair.high:+.3f}]"
    counts = f"{pair.wins} wins, {pair.losses} losses, {pair.ties} ties"
    return f"{pair.label} against {pair.against}: {shift}, p = {pair.p_value:.2g} ({pair.test}); {counts}"


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
