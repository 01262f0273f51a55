"""The pre-built signatures of Hokusai: writing, analysis, conversation and everyday tasks.

Installed, they are found by name through any executor. As classes they can be read, derived from, and given to
``dspy.Predict`` directly.

Example:
    >>> SummarizeText.spec.describe()
    'document, max_length -> summary'
"""

from __future__ import annotations

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
