"""Optimizers, metrics and feedback: signatures that measurably improve.

Names are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hokusai_core.plugin_api import lazy_exports

if TYPE_CHECKING:
    from hokusai_teleprompt.comparison import PromotionRule
    from hokusai_teleprompt.estimate import Estimate
    from hokusai_teleprompt.feedback.collector import Feedback, FeedbackCollector
    from hokusai_teleprompt.feedback.sqlite_store import SqliteFeedbackStore
    from hokusai_teleprompt.finetuner import TelepromptFineTuner
    from hokusai_teleprompt.optimized_signature import OptimizedSignature, load_optimized
    from hokusai_teleprompt.pack_builder import build_pack
    from hokusai_teleprompt.progress import Progress, ProgressBar
    from hokusai_teleprompt.promotion import promote, promotions, rollback
    from hokusai_teleprompt.promotion_history import Promotion
    from hokusai_teleprompt.report import ExampleResult, Report, TrialResult
    from hokusai_teleprompt.verification import Check, Verification, verify

__all__ = [
    "Check",
    "Estimate",
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
    "Verification",
    "build_pack",
    "load_optimized",
    "promote",
    "promotions",
    "rollback",
    "verify",
]


if not TYPE_CHECKING:  # a type checker would take `__getattr__` for a promise of any name
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            f"{__name__}.comparison": ("PromotionRule",),
            f"{__name__}.estimate": ("Estimate",),
            f"{__name__}.feedback.collector": ("Feedback", "FeedbackCollector"),
            f"{__name__}.feedback.sqlite_store": ("SqliteFeedbackStore",),
            f"{__name__}.finetuner": ("TelepromptFineTuner",),
            f"{__name__}.optimized_signature": ("OptimizedSignature", "load_optimized"),
            f"{__name__}.pack_builder": ("build_pack",),
            f"{__name__}.progress": ("Progress", "ProgressBar"),
            f"{__name__}.promotion": ("promote", "promotions", "rollback"),
            f"{__name__}.promotion_history": ("Promotion",),
            f"{__name__}.report": ("ExampleResult", "Report", "TrialResult"),
            f"{__name__}.verification": ("Check", "Verification", "verify"),
        },
    )
