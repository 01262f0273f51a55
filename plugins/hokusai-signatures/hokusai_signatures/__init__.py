"""The pre-built signatures of Hokusai: writing, analysis, conversation and everyday tasks.

Installed, they are found by name through any executor. As classes they can be read, derived from, and given to
``dspy.Predict`` directly.

Example:
    >>> from hokusai_signatures import SummarizeText
    >>> SummarizeText.spec.describe()
    'document, max_length -> summary'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from hokusai_signatures.analysis import ClassifyText, CritiqueText, ExtractInfo, SummarizeText
    from hokusai_signatures.conversation import ClarifyIntent, GenerateFollowUp, ResolveQuery, RespondToUser
    from hokusai_signatures.generation import DraftText, ExpandText, RefineText, ReviseText
    from hokusai_signatures.tasks import CodeGeneration, DataAnalysis, EmailDraft, ReportGeneration

# Imported when they are first used: a program that only looks at the plugin does not pay for its signatures.
_HOME: Final = {
    "ClarifyIntent": "conversation",
    "ClassifyText": "analysis",
    "CodeGeneration": "tasks",
    "CritiqueText": "analysis",
    "DataAnalysis": "tasks",
    "DraftText": "generation",
    "EmailDraft": "tasks",
    "ExpandText": "generation",
    "ExtractInfo": "analysis",
    "GenerateFollowUp": "conversation",
    "RefineText": "generation",
    "ReportGeneration": "tasks",
    "ResolveQuery": "conversation",
    "RespondToUser": "conversation",
    "ReviseText": "generation",
    "SummarizeText": "analysis",
}

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


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'hokusai_signatures' has no attribute {name!r}")
    return getattr(importlib.import_module(f"hokusai_signatures.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
