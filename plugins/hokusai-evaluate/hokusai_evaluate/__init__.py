"""Evaluations: run a signature on a data set, score its outputs, and compare it with others.

Names are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from hokusai_evaluate.dataset_check import DataCheck, Finding, check_data
    from hokusai_evaluate.dataset_split import split_data
    from hokusai_evaluate.evaluation import evaluate
    from hokusai_evaluate.evaluation_figures import ComparisonReport, GateResult, RowReport, ScoreReport, SystemReport
    from hokusai_evaluate.evaluation_report import Evaluation

_HOME: Final = {
    "DataCheck": "dataset_check",
    "Finding": "dataset_check",
    "check_data": "dataset_check",
    "split_data": "dataset_split",
    "ComparisonReport": "evaluation_figures",
    "Evaluation": "evaluation_report",
    "GateResult": "evaluation_figures",
    "RowReport": "evaluation_figures",
    "ScoreReport": "evaluation_figures",
    "SystemReport": "evaluation_figures",
    "evaluate": "evaluation",
}

__all__ = [
    "ComparisonReport",
    "DataCheck",
    "Evaluation",
    "Finding",
    "GateResult",
    "RowReport",
    "ScoreReport",
    "SystemReport",
    "check_data",
    "evaluate",
    "split_data",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'hokusai_evaluate' has no attribute {name!r}")
    return getattr(importlib.import_module(f"hokusai_evaluate.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
