"""The recorded answers of a certificate, scored again by the metric as far as that is possible."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Never

from attrs import frozen

from hokusai_core.errors import ComponentConflictError, ComponentNotFoundError, ConfigurationError, OptimizationError
from hokusai_core.plugin_api import OptimizationExample, PluginManager, SignatureSpec, jsonable
from hokusai_evaluate.metrics import make_metric
from hokusai_evaluate.metrics.scoring import checked, goodness, summary_of
from hokusai_teleprompt.comparison import PromotionRule
from hokusai_teleprompt.report import Report
from hokusai_teleprompt.study.evaluation import ExampleOutcome, Measurement

__all__ = ["RecordedAnswers", "read_answers"]

_SIDES: Final = ("baseline", "candidate")


class _Missing(Exception):
    """Something is needed that a certificate does not hold."""


class _HiddenInputs(Mapping[str, Any]):
    """The inputs of a row, which are not recorded."""

    def __getitem__(self, name: str) -> Never:
        raise _Missing("it reads inputs, which are not recorded; give the files with the examples (--data)")

    def __iter__(self) -> Iterator[str]:
        return self["any"]

    def __len__(self) -> int:
        return self["any"]


@frozen
class _StoredMetric:
    """What is known of a metric that is not here: enough for scores that are recorded."""

    name: str
    range: tuple[float, float]
    higher_is_better: bool


@frozen
class RecordedAnswers:
    """The recorded answers of a certificate.

    Args:
        examples: the held-out examples.
        keys: their digests, empty ones where values are hidden.
        measured: the measurements of baseline and candidate.
        metric: the metric, or what is known of it.
        metric_name: its name.
        rule: what the candidate had to show.
        seed: of the resampling.
        refusals: why it may not be promoted because of the data.
        lost_labels: why it may not be promoted because of a label, where answers are not there to tell; None where
            they are.
        aggregate_is_lost: whether the score is one of the whole set and the answers are not there to compute it.
        from_answers: answers that were scored again.
        from_scores: answers whose recorded score was taken.
        wrong: numbers of the rows whose score is another.
        missing: how many of the examples are not in the data; None without data.
        other_outputs: how many have other outputs there; None without data.
        notes: why scores were taken as recorded.
    """

    examples: tuple[OptimizationExample, ...]
    keys: tuple[str, ...]
    measured: tuple[Measurement, Measurement]
    metric: Any
    metric_name: str
    rule: PromotionRule
    seed: int
    refusals: tuple[str, ...]
    lost_labels: tuple[str, ...] | None
    aggregate_is_lost: bool
    from_answers: int
    from_scores: int
    wrong: tuple[int, ...]
    missing: int | None
    other_outputs: int | None
    notes: tuple[str, ...]


def read_answers(
    spec: SignatureSpec,
    certificate: Mapping[str, Any],
    report: Report,
    data: Mapping[str, OptimizationExample] | None,
    metric: Any,
    plugins: PluginManager,
) -> RecordedAnswers:
    """Return the answers of a certificate, each scored again if the metric and the values are there.

    Args:
        spec: the signature.
        certificate: the certificate, with its rows.
        report: the report that it belongs to.
        data: examples by key, None for none.
        metric: the metric; None for the one that the certificate names.
        plugins: where it is looked up.
    """
    rows, parts = certificate["rows"], certificate["data"]
    keys = tuple(parts["test"]) if parts is not None else ("",) * len(rows)
    examples = tuple(_example(spec, row, (data or {}).get(key)) for row, key in zip(rows, keys, strict=True))
    scorer = _Scorer(spec, *_metric(certificate["metric"], metric, plugins))
    measured = tuple(
        Measurement(
            tuple(
                scorer.outcome(row[side], example, number)
                for number, (row, example) in enumerate(zip(rows, examples, strict=True), 1)
            )
        )
        for side in _SIDES
    )
    stored = _stored(report)
    whole = scorer.from_scores == 0
    aggregates = bool(certificate["metric"]["aggregates"])
    used = scorer.metric if scorer.metric is not None and (whole or not hasattr(scorer.metric, "aggregate")) else stored
    every = None if parts is None else [key for part in parts.values() for key in part]
    known = [row for row, key in zip(rows, keys, strict=True) if data and key in data and "expected" in row]
    return RecordedAnswers(
        examples,
        keys,
        (measured[0], measured[1]),
        used,
        stored.name if scorer.metric is None else str(summary_of(scorer.metric)["name"]),
        PromotionRule(**certificate["rule"]),
        certificate["seed"],
        tuple(certificate["refusals"]),
        None if scorer.unrecorded == 0 and not certificate["hidden"] else tuple(certificate["label_refusals"]),
        aggregates and used is stored,
        scorer.from_answers,
        scorer.from_scores,
        tuple(sorted(scorer.wrong)),
        None if data is None or every is None else sum(key not in data for key in every),
        None if data is None or not known else _other_outputs(rows, keys, data),
        tuple(_notes(scorer, certificate, given=data is not None)),
    )


def _example(spec: SignatureSpec, row: Mapping[str, Any], known: OptimizationExample | None) -> OptimizationExample:
    expected, _ = spec.codec.coerce(row.get("expected", {}))
    outputs = {name: value for name, value in expected.items() if name in row.get("expected", {})}
    return OptimizationExample(_HiddenInputs() if known is None else known.inputs, outputs)


def _other_outputs(
    rows: Sequence[Mapping[str, Any]], keys: Sequence[str], data: Mapping[str, OptimizationExample]
) -> int:
    pairs = [(row["expected"], data[key].outputs) for row, key in zip(rows, keys, strict=True) if key in data]
    return sum(recorded != jsonable(dict(outputs)) for recorded, outputs in pairs)


def _metric(recipe: Mapping[str, Any], given: Any, plugins: PluginManager) -> tuple[Any, str]:
    """Return the metric, or None and why it is not to be had."""
    wanted = recipe["given"] if given is None else given
    if wanted is None:
        return None, "the metric was given as a function or object; verify(..., metric=...) scores the answers again"
    try:
        made = make_metric(plugins, wanted, recipe["options"] if given is None and isinstance(wanted, str) else None)
        return (made.using(_no_model) if hasattr(made, "using") else made), ""
    except _Missing as missing:
        return None, f"the metric {wanted} cannot score the answers again: {missing}"
    except (ComponentConflictError, ComponentNotFoundError, ConfigurationError) as error:
        return None, f"the metric {wanted} is not to be had here: {error}"


def _no_model(lm: Any) -> Never:
    raise _Missing("it asks a language model")


def _stored(report: Report) -> _StoredMetric:
    low, high = report.metric.get("range") or (None, None)
    ends = (-math.inf if low is None else float(low), math.inf if high is None else float(high))
    return _StoredMetric(str(report.metric.get("name")), ends, bool(report.metric.get("higher_is_better", True)))


class _Scorer:
    """Scores recorded answers again.

    Args:
        spec: the signature.
        metric: the metric, None where there is none.
        reason: why there is none.
    """

    def __init__(self, spec: SignatureSpec, metric: Any, reason: str) -> None:
        self._spec, self.metric = spec, metric
        self.reasons: dict[str, None] = {reason: None} if reason else {}
        self.from_answers = self.from_scores = self.unrecorded = 0
        self.wrong: set[int] = set()

    def outcome(
        self, answer: Mapping[str, Any] | None, example: OptimizationExample, number: int
    ) -> ExampleOutcome | None:
        """Return a recorded answer with its score."""
        if answer is None:
            return None
        good, error = answer["good"], answer["error"]
        if good is not None and (type(good) not in (int, float) or not math.isfinite(good)):
            raise ValueError(f"the score of row {number} is {good!r}")
        recorded = answer.get("outputs")
        outputs = None if recorded is None else self._spec.codec.coerce(recorded)[0]
        if good is None:  # an answer that did not fit, or a judge that failed
            return ExampleOutcome(outputs, None, error)
        again = None if outputs is None else self._good(example, outputs)
        self.unrecorded += outputs is None
        if again is None:
            self.from_scores += 1
            return ExampleOutcome(outputs, good, error)
        self.from_answers += 1
        if not math.isclose(again, good, rel_tol=1e-9, abs_tol=1e-9):
            self.wrong.add(number)
        return ExampleOutcome(outputs, again, error)

    def _good(self, example: OptimizationExample, outputs: Mapping[str, Any]) -> float | None:
        if self.metric is None:
            return None
        try:
            score = self.metric.score(example.outputs, outputs, example.inputs)
            return goodness(self.metric, checked(score, self.metric))
        except _Missing as missing:
            self.reasons[f"the metric cannot score some answers again: {missing}"] = None
        except OptimizationError as error:
            self.reasons[str(error)] = None
        return None


def _notes(scorer: _Scorer, certificate: Mapping[str, Any], *, given: bool) -> Iterator[str]:
    if given and certificate["data"] is None:
        yield "the data was not compared: digests of single examples are not recorded"
    if certificate["hidden"]:
        yield "the signature has sensitive fields, so no answers are recorded: scores were taken as recorded"
    elif scorer.unrecorded:
        yield f"{scorer.unrecorded} answers are not recorded: their scores were taken as recorded"
    elif scorer.from_scores:
        yield from scorer.reasons
