"""The figures of an evaluation, as records."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

__all__ = ["ComparisonReport", "GateResult", "RowReport", "RowReports", "ScoreReport", "SystemReport"]


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
        confidence: of the interval.
        verdict: ``better`` or ``worse`` where the interval lies above or below zero, else ``not shown``.
        rows_needed: about how many rows would show the observed difference in 4 of 5 cases; None where there is none.
        detectable: the true difference that so many rows show in 4 of 5 cases; None where that is not known.
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
    confidence: float
    verdict: str
    rows_needed: int | None
    detectable: float | None


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
        key: digest of inputs and expected outputs; empty where one of them is sensitive.
    """

    number: int
    inputs: Mapping[str, Any]
    expected: Mapping[str, Any]
    outputs: Mapping[str, Mapping[str, Any] | None]
    errors: Mapping[str, str]
    scores: Mapping[str, float | None]
    key: str = ""


class RowReports(Sequence[RowReport]):
    """The reports of all rows, in the order of the data."""

    @abstractmethod
    def worst(self, count: int) -> list[RowReport]:
        """Return the rows on which the first system did worst, those that all do badly last."""


@frozen
class GateResult:
    """Whether a system may pass.

    Args:
        name: what is asked for.
        label: the system.
        passed: whether it passes.
        message: the figures.
        decided: whether the figures show it. Where they do not, the caller has said what counts.
    """

    name: str
    label: str
    passed: bool
    message: str
    decided: bool = True
