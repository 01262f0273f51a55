"""The pre-built signatures of Hokusai: writing, analysis, conversation and everyday tasks.

Installed, they are found by name through any executor. As classes they can be read, derived from, and given to
``dspy.Predict`` directly.

Example:
    >>> from hokusai_signatures import SummarizeText
    >>> SummarizeText.spec.describe()
    'document, max_length -> summary'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hokusai_core.plugin_api import lazy_exports

if TYPE_CHECKING:
    from hokusai_signatures.analysis import ClassifyText, CritiqueText, ExtractInfo, SummarizeText
    from hokusai_signatures.conversation import ClarifyIntent, GenerateFollowUp, ResolveQuery, RespondToUser
    from hokusai_signatures.generation import DraftText, ExpandText, RefineText, ReviseText
    from hokusai_signatures.tasks import CodeGeneration, DataAnalysis, EmailDraft, ReportGeneration

__all__ = [
    "ClarifyIntent",
    "ClassifyText",
    "CodeGeneration",
    "CritiqueText",
    "DataAnalysis",
    "DraftText",
    "EmailDraft",
    "ExpandText",
    "ExtractInfo",
    "GenerateFollowUp",
    "RefineText",
    "ReportGeneration",
    "ResolveQuery",
    "RespondToUser",
    "ReviseText",
    "SummarizeText",
]


# Imported when they are first used: a program that only looks at the plugin does not pay for its signatures.
if not TYPE_CHECKING:  # a type checker would take `__getattr__` for a promise of any name
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            f"{__name__}.analysis": ("ClassifyText", "CritiqueText", "ExtractInfo", "SummarizeText"),
            f"{__name__}.conversation": ("ClarifyIntent", "GenerateFollowUp", "ResolveQuery", "RespondToUser"),
            f"{__name__}.generation": ("DraftText", "ExpandText", "RefineText", "ReviseText"),
            f"{__name__}.tasks": ("CodeGeneration", "DataAnalysis", "EmailDraft", "ReportGeneration"),
        },
    )
