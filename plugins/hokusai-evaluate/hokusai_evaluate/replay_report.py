"""The report of a replay: its figures, its gates, and the table that shows them."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import asdict, evolve, field, frozen

from hokusai_core.cli_support.tables import printable
from hokusai_core.errors import ConfigurationError
from hokusai_evaluate.evaluation_figures import GateResult
from hokusai_evaluate.evaluation_report import Evaluation
from hokusai_evaluate.gates import Undecided

__all__ = ["PairedFigure", "Replay", "ReplayedSignature"]


@frozen
class PairedFigure:
    """A figure of both sides, on the rows where it is known of both.

    Args:
        before: mean of the kept executions.
        after: mean on the new language model.
        difference: ``after - before``.
        low: lower end of the interval of the difference.
        high: upper end of it.
        rows: how many rows there are.
    """

    before: float
    after: float
    difference: float
    low: float
    high: float
    rows: int


@frozen(eq=False)
class ReplayedSignature:
    """The replay of one signature.

    Args:
        signature: its qualified name.
        kept: how many executions of it were found.
        left_out: reason -> executions that could not be run again.
        corrected: scores against outputs that people have corrected, of both sides; None where there are none.
        agreement: scores against the outputs that were given, for the other rows; None where there are none.
        cost: US dollars of an execution; None where it is not known of both sides.
        latency: seconds of an execution; None where it is not known of both sides.
    """

    signature: str
    kept: int
    left_out: Mapping[str, int]
    corrected: Evaluation | None
    agreement: Evaluation | None
    cost: PairedFigure | None
    latency: PairedFigure | None

    @property
    def evaluations(self) -> tuple[Evaluation, ...]:
        """The scores that there are: against corrected outputs, and the agreement for the other rows."""
        return tuple(one for one in (self.corrected, self.agreement) if one is not None)

    def check(
        self, *, min_score: float | None, max_regression: float | None, undecided: Undecided
    ) -> Iterator[GateResult]:
        """Yield whether the new language model passes the gates; see ``Replay.check``."""
        asked = min_score is not None or max_regression is not None
        if not self.evaluations:
            message = f"none of its {self.kept} executions could be run again"
            yield GateResult("complete", self.signature, not asked, message)
        for one in self.evaluations:
            what = self.signature if one is self.corrected else f"{self.signature} (agreement)"
            allowed = max_regression if one is self.corrected else None
            for gate in one.check(min_score=min_score, max_regression=allowed, undecided=undecided):
                if gate.name != "complete" or gate.label == one.systems[0].label:
                    yield evolve(gate, label=what)
        if max_regression is not None and self.corrected is None and self.evaluations:
            message = "no output was corrected by a person, so that nothing shows whether it is worse"
            yield GateResult("regression", self.signature, undecided == "pass", message, decided=False)

    def to_dict(self, *, rows: bool = False) -> dict[str, Any]:
        """Return it as a JSON-able dict; with ``rows`` every row is in it."""
        return {
            "signature": self.signature,
            "kept": self.kept,
            "left_out": dict(self.left_out),
            "corrected": None if self.corrected is None else self.corrected.to_dict(rows=rows),
            "agreement": None if self.agreement is None else self.agreement.to_dict(rows=rows),
            "cost": None if self.cost is None else asdict(self.cost),
            "latency": None if self.latency is None else asdict(self.latency),
        }


@frozen(eq=False)
class Replay:
    """The result of ``replay``.

    Args:
        model: name of the new language model.
        since: seconds since the epoch from which on executions were taken; None for all.
        sources: where they are kept.
        signatures: the figures of each signature.
    """

    model: str
    since: float | None
    sources: tuple[str, ...]
    signatures: tuple[ReplayedSignature, ...] = field(factory=tuple)

    @property
    def complete(self) -> bool:
        """Whether every row could be asked."""
        return all(one.complete for part in self.signatures for one in part.evaluations)

    def check(
        self,
        *,
        min_score: float | None = None,
        max_regression: float | None = None,
        undecided: Undecided = "pass",
    ) -> list[GateResult]:
        """Return whether the new language model passes the gates that are given, for each signature.

        Args:
            min_score: the score that it has to reach against corrected outputs, and its agreement for the other rows;
                where lower is better, what neither may exceed.
            max_regression: how much worse than the kept executions it may be against corrected outputs, in units of the
                metric. Agreement does not say which side is better.
            undecided: whether ``max_regression`` is passed where the rows do not show whether it is worse by more.

        Raises:
            ConfigurationError: ``undecided`` is something else.
        """
        if undecided not in ("pass", "fail"):
            raise ConfigurationError(f"undecided={undecided!r}: expected 'pass' or 'fail'")
        given = {"min_score": min_score, "max_regression": max_regression}
        return [gate for one in self.signatures for gate in one.check(**given, undecided=undecided)]

    def to_dict(self, *, rows: bool = False) -> dict[str, Any]:
        """Return it as a JSON-able dict; with ``rows`` every row is in it, else the worst ones."""
        found = {"model": self.model, "since": self.since, "sources": list(self.sources), "complete": self.complete}
        return {**found, "signatures": [one.to_dict(rows=rows) for one in self.signatures]}

    def to_json(self, *, rows: bool = False) -> str:
        """Return it as JSON; see ``to_dict``."""
        return json.dumps(self.to_dict(rows=rows), indent=2, ensure_ascii=False, default=str)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def table(self, *, worst: int = 5) -> str:
        """Return the tables of the report as text.

        Args:
            worst: how many of the rows that differ most are shown.
        """
        parts = [part for one in self.signatures for part in _parts(one, worst)]
        return "\n\n".join([f"replay on {self.model}, of executions in {', '.join(self.sources)}", *parts])

    def __str__(self) -> str:
        return self.table()


def _parts(one: ReplayedSignature, worst: int) -> list[str]:
    replayed = sum(part.rows for part in (one.corrected, one.agreement) if part is not None)
    head = f"{one.signature}: {one.kept} executions are kept, {replayed} were replayed"
    left_out = [f"  {count} left out: {why}" for why, count in sorted(one.left_out.items(), key=lambda item: -item[1])]
    figures = [
        f"{name}: kept {_number(figure.before, form)}, now {_number(figure.after, form)}, "
        f"difference {_signed(figure.difference, form)} [{_signed(figure.low, form)}, {_signed(figure.high, form)}] "
        f"({figure.rows} rows)"
        for name, figure, form in (("cost", one.cost, "${:.6f}"), ("latency", one.latency, "{:.3f} s"))
        if figure is not None
    ]
    figures += [
        f"{name}: not known of both sides"
        for name, figure in (("cost", one.cost), ("latency", one.latency))
        if figure is None and replayed
    ]
    parts = [printable("\n".join([head, *left_out, *figures]))]
    for title, evaluation in (
        ("against outputs that people have corrected", one.corrected),
        ("agreement with the outputs that were given", one.agreement),
    ):
        if evaluation is not None:
            parts.append(f"{title}\n{evaluation.table(worst=worst)}")
    return parts


def _number(value: float, form: str) -> str:
    return form.format(value)


def _signed(value: float, form: str) -> str:
    return ("-" if value < 0 else "+") + form.format(abs(value))
