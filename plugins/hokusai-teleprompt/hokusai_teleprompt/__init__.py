"""Optimizers, metrics and feedback: signatures that measurably improve.

Names are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from hokusai_teleprompt.comparison import PromotionRule
    from hokusai_teleprompt.feedback.collector import Feedback, FeedbackCollector
    from hokusai_teleprompt.feedback.sqlite_store import SqliteFeedbackStore
    from hokusai_teleprompt.finetuner import TelepromptFineTuner
    from hokusai_teleprompt.optimized_signature import OptimizedSignature, load_optimized
    from hokusai_teleprompt.pack_builder import build_pack
    from hokusai_teleprompt.progress import Progress, ProgressBar
    from hokusai_teleprompt.promotion import promote, promotions, rollback
    from hokusai_teleprompt.promotion_history import Promotion
    from hokusai_teleprompt.report import ExampleResult, Report, TrialResult

_HOME: Final = {
    "ExampleResult": "report",
    "Feedback": "feedback.collector",
    "FeedbackCollector": "feedback.collector",
    "OptimizedSignature": "optimized_signature",
    "Progress": "progress",
    "ProgressBar": "progress",
    "Promotion": "promotion_history",
    "PromotionRule": "comparison",
    "Report": "report",
    "SqliteFeedbackStore": "feedback.sqlite_store",
    "TelepromptFineTuner": "finetuner",
    "TrialResult": "report",
    "build_pack": "pack_builder",
    "load_optimized": "optimized_signature",
    "promote": "promotion",
    "promotions": "promotion",
    "rollback": "promotion",
}

__all__ = [
    "ExampleResult",
    "Feedback",
    "FeedbackCollector",
    "OptimizedSignature",
    "Progress",
    "ProgressBar",
    "Promotion",
    "PromotionRule",
    "Report",
    "SqliteFeedbackStore",
    "TelepromptFineTuner",
    "TrialResult",
    "build_pack",
    "load_optimized",
    "promote",
    "promotions",
    "rollback",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'hokusai_teleprompt' has no attribute {name!r}")
    return getattr(importlib.import_module(f"hokusai_teleprompt.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
