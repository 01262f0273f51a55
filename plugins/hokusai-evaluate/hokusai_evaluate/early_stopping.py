"""Early stopping: ask the rows of a comparison in random order, until a sequential test has shown its result."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

from hokusai_core.errors import ConfigurationError
from hokusai_evaluate.evaluation_run import EvaluationRun
from hokusai_evaluate.metrics.scoring import summary_of
from hokusai_evaluate.paired_scores import score_unit
from hokusai_evaluate.saved_report import SavedReport
from hokusai_evaluate.sequential_test import SequentialTest, look_confidence
from hokusai_evaluate.system_comparison import ComparedSide, Sequential
from hokusai_evaluate.systems import System

__all__ = ["ask_until_shown", "check_sequential"]


def check_sequential(
    stop: str, metric: Any, systems: Sequence[System], saved: Sequence[SavedReport], max_regression: float
) -> None:
    """Refuse what a sequential test cannot decide.

    Args:
        stop: the option ``stop``.
        metric: the leading metric.
        systems: what is asked.
        saved: earlier reports to compare with.
        max_regression: how much worse the system may be, in units of the metric.

    Raises:
        ConfigurationError: it cannot; says why.
    """
    if stop != "early":
        raise ConfigurationError(f"stop={stop!r}: expected 'early' or None")
    if len(systems) + len(saved) != 2:
        raise ConfigurationError(
            f"stop='early' compares one system with one other, and there are {len(systems) + len(saved)}; give one "
            "against=... or two language models"
        )
    name = summary_of(metric)["name"]
    if hasattr(metric, "aggregate"):
        raise ConfigurationError(f"stop='early' needs a score of each row, and {name} scores the whole set")
    if any(map(math.isinf, metric.range)):
        raise ConfigurationError(f"stop='early' needs a metric with a closed range; {name} has none: set its `range`")
    if max_regression >= score_unit(metric):
        raise ConfigurationError(f"max_regression={max_regression:g}: no system can be worse by more in {name}")


def ask_until_shown(
    run: EvaluationRun, saved: Sequence[ComparedSide], max_regression: float, *, confidence: float, seed: int
) -> Sequential:
    """Ask rows until it is shown whether the first system is worse than the other by more than is allowed.

    Args:
        run: asks the rows.
        saved: an earlier report to compare with, where only one system is asked.
        max_regression: how much worse the system may be, in units of the metric.
        confidence: of the intervals.
        seed: of the order of the rows.
    """
    total = run.total
    order = random.Random(seed).sample(range(total), total)  # noqa: S311  # no secret
    margin = -max_regression / score_unit(run.metric)
    test = SequentialTest(margin, look_confidence(confidence), total)
    asked = 0
    while asked < total:
        rows = order[asked : asked + run.workers]
        run.ask(rows)
        asked += len(rows)
        if test.add(_gains(run, saved, rows)):
            break
    return Sequential(test, total, asked)


def _gains(run: EvaluationRun, saved: Sequence[ComparedSide], rows: Sequence[int]) -> list[float]:
    """Return by how much the tested system is better on each of the rows that both sides have answered."""
    tested, compared = run.tested_and_compared()
    gains = []
    for row in rows:
        new = run.good(tested, row)
        old = saved[0].goods.get(row) if compared is None else run.good(compared, row)
        if new is not None and old is not None:
            gains.append(round(new - old, 12))
    return gains
