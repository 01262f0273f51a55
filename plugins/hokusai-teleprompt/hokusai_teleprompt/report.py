"""Report: what an optimization compared, the result, and the cost."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import asdict, field, fields, frozen

from hokusai_core.errors import ArtifactError
from hokusai_core.plugin_api import Usage
from hokusai_evaluate.label_scores import are_uneven, mean_f1
from hokusai_teleprompt.example_texts import ExampleTexts
from hokusai_teleprompt.label_comparison import LabelResult
from hokusai_teleprompt.score_plot import HeldOutPoints, TriedPoint, draw
from hokusai_teleprompt.source_result import SourceResult

__all__ = ["CrossFitted", "ExampleResult", "Report", "TrialResult"]


#: Parts of a report that may quote examples or the language model.
_TEXTS = ("differing", "examples", "labels", "notes", "sources", "stopped")
#: Labels, and sources of feedback, that the table shows.
_SHOWN = 15


def _pair(ends: Sequence[float] | None) -> tuple[float, float] | None:
    return None if ends is None else (ends[0], ends[1])


@frozen
class TrialResult:
    """One candidate that was tried.

    Args:
        label: its name, with the optimizer that made it.
        score: its score on the examples that candidates are chosen by; None if it was not scored.
        calls: language-model calls that had been made by then.
        demos: how many demos it has.
        instructions: its instructions.
        fingerprint: of its signature.
        chosen: whether it was compared with the baseline.
        interval: the interval of the score; None where the scores of single examples are not known, as within most
            optimizers of DSPy.
    """

    label: str
    score: float | None
    calls: int
    demos: int = 0
    instructions: str = ""
    fingerprint: str = ""
    chosen: bool = False
    interval: tuple[float, float] | None = field(default=None, converter=_pair)


@frozen
class ExampleResult:
    """One held-out example in the comparison.

    Args:
        key: digest of its inputs and outputs.
        baseline: score of the baseline; None if its answer did not fit.
        candidate: score of the candidate; None if its answer did not fit.
        outcome: ``win``, ``loss`` or ``tie`` of the candidate.
    """

    key: str
    baseline: float | None
    candidate: float | None
    outcome: str


@frozen
class CrossFitted:
    """What the procedure of an optimization is worth: each example compared by a candidate that has not seen it.

    It speaks of the procedure and of no candidate, and nothing is promoted by it.

    Args:
        folds: how often the procedure ran, each time without a part of the examples.
        examples: how many were compared.
        baseline_score: score of the baseline.
        candidate_score: score of the candidates of all folds.
        improvement: the difference, positive where the candidates are better.
        interval: confidence interval of the improvement. It is somewhat too narrow, since examples share a candidate.
        confidence: of the interval.
        calls: language-model calls that the folds have made.
    """

    folds: int
    examples: int
    baseline_score: float
    candidate_score: float
    improvement: float
    interval: tuple[float, float]
    confidence: float
    calls: int


@frozen
class Report:
    """How an optimized signature was made, and how it compares with the baseline.

    Args:
        signature: name of the signature.
        optimizer: name of the optimizer.
        reason: why the optimizer was chosen.
        metric: name, range, direction and source of the metric.
        model: name of the language model.
        seed: of everything random.
        sizes: examples to learn from, to choose by, and held out.
        stratified_by: the output whose values are spread evenly over these, None for none.
        baseline_score: score of the baseline on the held-out examples, None if there are none.
        candidate_score: score of the best candidate on the same examples.
        improvement: the difference, positive where the candidate is better; None if nothing was compared.
        interval: confidence interval of the improvement.
        confidence: of the interval.
        p_value: of the paired test.
        test: name of the test.
        promoted: whether the candidate was found to be better.
        verdict: why or why not.
        finding: what the comparison shows of the candidate: ``better``, ``not shown`` or ``worse``; empty for nothing.
        examples_needed: about how many held-out examples would show the observed improvement; None where it is shown.
        detectable: the true improvement that so many held-out examples show in 4 of 5 cases; None where not known.
        false_promotions: the largest share of candidates that are no better and are still promoted.
        cross_fitted: with fewer than 60 examples what the procedure is worth; None where it was not measured.
        trials: the baseline, then the candidates in the order in which they were tried.
        examples: the held-out examples.
        differing: up to five wins and five losses with their texts; empty where a field of the signature is sensitive,
            and in a report that was read from a file.
        labels: the labels of the held-out examples, where an output is a label; empty where that output is sensitive.
        sources: what each source of feedback has contributed; empty where the examples are no feedback.
        steps: key of each step and branch of a chain -> how many examples to choose by and held-out examples reached it
            with the chain as it is, and how many there were; empty for what is no chain.
        calls: language-model calls that were made.
        replayed: calls that were answered from a checkpoint or an equal earlier call.
        failed_calls: calls that failed.
        usage: tokens of all calls.
        cost: US dollars, None if no price is known.
        seconds: how long it took.
        invalid: held-out answers that did not fit, of the baseline and of the candidate.
        stopped: why it was stopped early, None if it was not.
        dataset_hash: digest of the examples.
        notes: further remarks.
    """

    signature: str
    optimizer: str
    reason: str
    metric: Mapping[str, Any]
    model: str
    seed: int
    sizes: Mapping[str, int]
    stratified_by: str | None = None
    baseline_score: float | None = None
    candidate_score: float | None = None
    improvement: float | None = None
    interval: tuple[float, float] | None = None
    confidence: float = 0.95
    p_value: float | None = None
    test: str | None = None
    promoted: bool = False
    verdict: str = ""
    finding: str = ""
    examples_needed: int | None = None
    detectable: float | None = None
    false_promotions: float | None = None
    cross_fitted: CrossFitted | None = None
    trials: tuple[TrialResult, ...] = ()
    examples: tuple[ExampleResult, ...] = ()
    differing: tuple[ExampleTexts, ...] = ()
    labels: tuple[LabelResult, ...] = ()
    sources: tuple[SourceResult, ...] = ()
    steps: Mapping[str, tuple[int, int]] = field(factory=dict)
    calls: int = 0
    replayed: int = 0
    failed_calls: int = 0
    usage: Usage = field(factory=Usage)
    cost: float | None = None
    seconds: float = 0.0
    invalid: tuple[int, int] = (0, 0)
    stopped: str | None = None
    dataset_hash: str = ""
    notes: tuple[str, ...] = ()

    @property
    def wins(self) -> int:
        """Held-out examples on which the candidate is better."""
        return sum(example.outcome == "win" for example in self.examples)

    @property
    def losses(self) -> int:
        """Held-out examples on which the baseline is better."""
        return sum(example.outcome == "loss" for example in self.examples)

    @property
    def ties(self) -> int:
        """Held-out examples on which both are equally good."""
        return len(self.examples) - self.wins - self.losses

    @property
    def macro_f1(self) -> dict[str, tuple[float, float]]:
        """Macro F1 of baseline and candidate for each output that is a label."""
        return {
            name: (mean_f1([item.baseline for item in found]), mean_f1([item.candidate for item in found]))
            for name, found in self._labels_by_field().items()
        }

    def _labels_by_field(self) -> dict[str, list[LabelResult]]:
        names = dict.fromkeys(item.field for item in self.labels)
        return {name: [item for item in self.labels if item.field == name] for name in names}

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-able data."""
        data = asdict(self)
        data["usage"] = self.usage.to_dict()
        return {**data, "wins": self.wins, "losses": self.losses, "ties": self.ties}

    def figures(self) -> dict[str, Any]:
        """Return ``to_dict`` without the parts that quote examples or the language model."""
        data = {name: value for name, value in self.to_dict().items() if name not in _TEXTS}
        trials = [{name: value for name, value in trial.items() if name != "instructions"} for trial in data["trials"]]
        return {**data, "trials": trials}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Report:
        """Return the report that ``to_dict`` wrote. Values that only a newer version knows are left out.

        Raises:
            ArtifactError: the data is not a report.
        """
        try:
            values = _known(cls, data)
            interval = values.get("interval")
            values |= {
                "cross_fitted": _cross_fitted(values.get("cross_fitted")),
                "interval": tuple(interval) if interval else None,
                "trials": tuple(TrialResult(**_known(TrialResult, item)) for item in values.get("trials", ())),
                "examples": tuple(ExampleResult(**_known(ExampleResult, item)) for item in values.get("examples", ())),
                "differing": tuple(ExampleTexts(**_known(ExampleTexts, item)) for item in values.get("differing", ())),
                "labels": tuple(LabelResult(**_known(LabelResult, item)) for item in values.get("labels", ())),
                "sources": tuple(SourceResult(**_known(SourceResult, item)) for item in values.get("sources", ())),
                "steps": {str(key): (count[0], count[1]) for key, count in values.get("steps", {}).items()},
                "usage": Usage(**_known(Usage, values.get("usage", {}))),
                "invalid": tuple(values.get("invalid", (0, 0))),
                "notes": tuple(values.get("notes", ())),
            }
            return cls(**values)
        except (AttributeError, IndexError, TypeError) as error:
            raise ArtifactError(f"its report cannot be read: {error}") from error

    def to_json(self) -> str:
        """Return the report as JSON text."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def to_svg(self) -> str:
        """Return a plot of score against calls as an SVG image, with a point and an interval for each candidate."""
        points = [
            TriedPoint(trial.calls, trial.score, trial.label, trial.interval)
            for trial in self.trials
            if trial.score is not None
        ]
        chosen = next((trial.label for trial in self.trials if trial.chosen), None)
        name = str(self.metric.get("name", "score"))
        return draw(
            points,
            title=f"{self.signature}: {self.optimizer}",
            y_label=f"{name} (dev)",
            marked=chosen,
            more_is_better=bool(self.metric.get("higher_is_better", True)),
            held_out=self._held_out(),
        )

    def _held_out(self) -> HeldOutPoints | None:
        before, after = self.baseline_score, self.candidate_score
        if before is None or after is None or self.interval is None:
            return None
        sign = 1 if self.metric.get("higher_is_better", True) else -1
        low, high = sorted(before + sign * end for end in self.interval)
        return HeldOutPoints(self.calls, before, after, low, high, self.confidence)

    def save_svg(self, path: str | os.PathLike[str]) -> Path:
        """Write the plot to a file."""
        target = Path(path)
        target.write_text(self.to_svg(), encoding="utf-8")
        return target

    def table(self) -> str:
        """Return the report as a table of text."""
        rows = [
            ("optimizer", f"{self.optimizer} ({self.reason})" if self.reason else self.optimizer),
            ("metric", f"{self.metric.get('name')}, {_direction(self.metric)}"),
            ("language model", self.model),
            ("examples", ", ".join(f"{count} {name}" for name, count in self.sizes.items()) + f" (seed {self.seed})"),
            ("candidates", str(max(0, len(self.trials) - 1))),
            ("baseline", _number(self.baseline_score)),
            ("best candidate", _number(self.candidate_score)),
            ("improvement", self._improvement()),
            ("wins, losses, ties", f"{self.wins}, {self.losses}, {self.ties}"),
            *((item.outcome, str(item)) for item in self.differing),
            ("power", self._power()),
            *self._cross_fitted_rows(),
            *self._label_rows(),
            *self._source_rows(),
            *self._step_rows(),
            ("calls", self._calls()),
            ("tokens", f"{self.usage.input_tokens} in, {self.usage.output_tokens} out"),
            ("cost", "unknown" if self.cost is None else f"${self.cost:.4f}"),
            ("time", f"{self.seconds:.1f} s"),
            ("verdict", self.verdict),
        ]
        if self.stopped:
            rows.append(("stopped", self.stopped))
        rows += [("note", note) for note in self.notes]
        width = max(len(self.signature), *(len(name) for name, _ in rows))
        lines = [self.signature, "-" * width, *(f"{name:<{width}}  {value}".rstrip() for name, value in rows)]
        return "\n".join(lines)

    def _improvement(self) -> str:
        if self.improvement is None or self.interval is None:
            return "not measured"
        low, high = self.interval
        tested = f"p = {self.p_value:.2g} ({self.test})"
        return f"{self.improvement:+.4f}, {self.confidence:.0%} interval {low:+.4f} to {high:+.4f}, {tested}"

    def _cross_fitted_rows(self) -> list[tuple[str, str]]:
        found = self.cross_fitted
        if found is None:
            return []
        scores = f"{found.baseline_score:.4f} -> {found.candidate_score:.4f}"
        interval = f"{found.confidence:.0%} interval {found.interval[0]:+.4f} to {found.interval[1]:+.4f}"
        text = (
            f"{scores}, {found.improvement:+.4f}, {interval}, on all {found.examples} examples in {found.folds} folds"
        )
        return [("cross-fitted", f"{text}: of the procedure, not of this candidate; it promotes nothing")]

    def _power(self) -> str:
        if self.detectable is None or self.false_promotions is None:
            return "not known"
        return (
            f"{len(self.examples)} held-out examples show a true improvement of {self.detectable:.2f} in 4 of 5 cases; "
            f"of candidates that are no better at most {self.false_promotions:.1%} are promoted"
        )

    def _label_rows(self) -> list[tuple[str, str]]:
        """Return the lines of the table about labels: macro F1 where they are uneven, and the recall of each."""
        rows = []
        for name, found in self._labels_by_field().items():
            before, after = self.macro_f1[name]
            if are_uneven([item.baseline for item in found]):
                rows.append(("macro-F1", f"{name}: {before:.4f} -> {after:.4f} (the labels are uneven)"))
            for item in found[:_SHOWN]:
                one, other = item.baseline, item.candidate
                recall, f1 = f"{one.recall:.2f} -> {other.recall:.2f}", f"{one.f1:.2f} -> {other.f1:.2f}"
                given = f"given {one.given} -> {other.given} times"
                text = f"{name}={item.label}: {item.examples} examples, recall {recall}, F1 {f1}, {given}"
                rows.append(("label", text))
            if len(found) > _SHOWN:
                rows.append(("label", f"{name}: {len(found) - _SHOWN} more labels are in report.labels"))
        return rows

    def _source_rows(self) -> list[tuple[str, str]]:
        """Return the lines of the table about sources of feedback."""
        rows = [
            (
                "source",
                f"{one.source}: {one.feedbacks} feedbacks, {one.corrections} with corrections, "
                + (f"{one.outcomes} outcomes, " if one.outcomes else "")
                + f"{one.examples} examples (weight {one.weight:.0%})",
            )
            for one in self.sources[:_SHOWN]
        ]
        if len(self.sources) > _SHOWN:
            rows.append(("source", f"{len(self.sources) - _SHOWN} more sources are in report.sources"))
        return rows

    def _step_rows(self) -> list[tuple[str, str]]:
        """Return the lines of the table about the steps of a chain, where not every example reaches all of them."""
        if all(reached == examples for reached, examples in self.steps.values()):
            return []
        return [("step", f"{key}: {reached} of {examples} examples") for key, (reached, examples) in self.steps.items()]

    def _calls(self) -> str:
        spared = f", {self.replayed} spared" if self.replayed else ""
        failed = f", {self.failed_calls} of them failed" if self.failed_calls else ""
        return f"{self.calls}{failed}{spared}"

    def __str__(self) -> str:
        return self.table()


def _cross_fitted(data: Mapping[str, Any] | None) -> CrossFitted | None:
    if data is None:
        return None
    return CrossFitted(**{**_known(CrossFitted, data), "interval": tuple(data["interval"])})


def _known(kind: type[Any], data: Mapping[str, Any]) -> dict[str, Any]:
    names = {item.name for item in fields(kind)}
    return {name: value for name, value in data.items() if name in names}


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4f}"


def _direction(metric: Mapping[str, Any]) -> str:
    low, high = metric.get("range", (None, None))
    span = "" if low is None or high is None else f"{low:g} to {high:g}, "
    return f"{span}{'more' if metric.get('higher_is_better', True) else 'less'} is better"
