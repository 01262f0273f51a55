"""Evaluations: run a signature on a data set, score its outputs, and compare it with others.

Names are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hokusai_core.plugin_api import lazy_exports

if TYPE_CHECKING:
    from hokusai_evaluate.dataset_check import DataCheck, Finding, check_data
    from hokusai_evaluate.dataset_split import split_data
    from hokusai_evaluate.evaluation import evaluate
    from hokusai_evaluate.evaluation_figures import ComparisonReport, GateResult, RowReport, ScoreReport, SystemReport
    from hokusai_evaluate.evaluation_report import Evaluation
    from hokusai_evaluate.execution_replay import replay
    from hokusai_evaluate.replay_report import PairedFigure, Replay, ReplayedSignature
    from hokusai_evaluate.scorecards import Scorecard, read_scorecards

__all__ = [
    "ComparisonReport",
    "DataCheck",
    "Evaluation",
    "Finding",
    "GateResult",
    "PairedFigure",
    "Replay",
    "ReplayedSignature",
    "RowReport",
    "ScoreReport",
    "Scorecard",
    "SystemReport",
    "check_data",
    "evaluate",
    "read_scorecards",
    "replay",
    "split_data",
]


if not TYPE_CHECKING:  # a type checker would take `__getattr__` for a promise of any name
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            f"{__name__}.dataset_check": ("DataCheck", "Finding", "check_data"),
            f"{__name__}.dataset_split": ("split_data",),
            f"{__name__}.evaluation": ("evaluate",),
            f"{__name__}.evaluation_figures": (
                "ComparisonReport",
                "GateResult",
                "RowReport",
                "ScoreReport",
                "SystemReport",
            ),
            f"{__name__}.evaluation_report": ("Evaluation",),
            f"{__name__}.scorecards": ("Scorecard", "read_scorecards"),
            f"{__name__}.execution_replay": ("replay",),
            f"{__name__}.replay_report": ("PairedFigure", "Replay", "ReplayedSignature"),
        },
    )
