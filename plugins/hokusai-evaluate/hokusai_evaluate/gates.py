"""The gates of an evaluation: what a system has to show to pass."""

from __future__ import annotations

from typing import Literal

from hokusai_evaluate.evaluation_figures import ComparisonReport, GateResult, ScoreReport

__all__ = ["Undecided", "regression_gate", "score_gate"]

#: Whether a gate is passed whose figures show neither.
Undecided = Literal["pass", "fail"]


def score_gate(label: str, metric: str, score: ScoreReport, least: float, *, higher_is_better: bool) -> GateResult:
    """Return whether a score reaches what is asked for.

    Args:
        label: the system.
        metric: name of the metric.
        score: its score.
        least: what is asked for; where lower is better, the most.
        higher_is_better: the direction of the metric.
    """
    value = score.value
    passed = value is not None and (value >= least if higher_is_better else value <= least)
    shown = "not measured" if value is None else f"{value:.3f}"
    return GateResult("score", label, passed, f"{metric} {shown}, asked for {least:g}")


def regression_gate(pair: ComparisonReport, allowed: float, undecided: Undecided) -> GateResult:
    """Return whether a system is worse than what it is compared with by more than is allowed.

    The interval of the difference decides, and not the difference, which is never zero.

    Args:
        pair: the comparison.
        allowed: how much worse it may be, in units of the metric.
        undecided: what counts where the interval includes the loss that is allowed.
    """
    figures = f"{pair.metric} {pair.difference:+.3f} [{pair.low:+.3f}, {pair.high:+.3f}] against {pair.against}"
    if pair.high < -allowed:
        text = f"{figures}: worse by more than the {allowed:g} allowed"
        return GateResult("regression", pair.label, passed=False, message=text)
    if pair.low > -allowed:
        text = f"{figures}: not worse by more than the {allowed:g} allowed"
        return GateResult("regression", pair.label, passed=True, message=text)
    rows = pair.wins + pair.losses + pair.ties
    text = f"{figures}: {rows} rows do not show whether it is worse by more than the {allowed:g} allowed"
    return GateResult("regression", pair.label, passed=undecided == "pass", message=text, decided=False)
