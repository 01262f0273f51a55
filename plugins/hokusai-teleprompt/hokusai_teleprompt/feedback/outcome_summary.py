"""The mean of each outcome for each version of a signature."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from attrs import frozen

from hokusai_core.plugin_api import KeptExecution
from hokusai_evaluate.statistics import score_interval

__all__ = ["OutcomeSummary", "outcome_value", "summarize_outcomes"]


@frozen
class OutcomeSummary:
    """An outcome of the executions of one version of a signature.

    Args:
        signature: qualified name.
        version: version of the signature.
        fingerprint: hash over its fields, types, instructions and demos.
        name: what was measured.
        higher_is_better: whether a higher number is better.
        executions: executions with this outcome.
        mean: their mean.
        low: lower end of its 95% interval.
        high: upper end of it.
    """

    signature: str
    version: str
    fingerprint: str
    name: str
    higher_is_better: bool
    executions: int
    mean: float
    low: float
    high: float

    def row(self) -> tuple[str, ...]:
        """Return it as a row of a table."""
        better = "higher" if self.higher_is_better else "lower"
        figures = (str(self.executions), f"{self.mean:.4g}", f"{self.low:.4g} to {self.high:.4g}")
        return (self.signature, self.version, self.fingerprint[:8], self.name, better, *figures)


def outcome_value(kept: KeptExecution, name: str) -> float | None:
    """Return an outcome of an execution, the mean over its sources; None where there is none."""
    values = [outcome.value for outcome in kept.current_outcomes if outcome.name == name]
    return sum(values) / len(values) if values else None


def summarize_outcomes(executions: Iterable[KeptExecution]) -> list[OutcomeSummary]:
    """Return the means by signature, version and outcome. Versions may have run at other times, on other inputs.

    Args:
        executions: kept executions.
    """
    groups: dict[tuple[str, str, str, str, bool], list[float]] = defaultdict(list)
    for kept in executions:
        for name, higher in {outcome.name: outcome.higher_is_better for outcome in kept.current_outcomes}.items():
            key = (kept.signature, kept.signature_version, kept.fingerprint, name, higher)
            groups[key].append(outcome_value(kept, name) or 0.0)
    summaries = []
    for key, values in sorted(groups.items()):
        low, high = score_interval(values, confidence=0.95, seed=0)
        summaries.append(OutcomeSummary(*key, len(values), sum(values) / len(values), low, high))
    return summaries
