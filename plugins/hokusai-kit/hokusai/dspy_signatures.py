"""Signatures: the names to define one with, and the pre-built ones.

Example:
    >>> from hokusai.dspy_signatures import BaseSignature, SignatureField
    >>> class SummarizeTicket(BaseSignature):
    ...     '''Summarize a support ticket.'''
    ...     ticket = SignatureField(description="The ticket")
    ...     summary = SignatureField(description="One sentence", prefix="Summary:")
    >>> SummarizeTicket.spec.describe()
    'ticket -> summary'
"""

from __future__ import annotations

from hokusai_core import BaseSignature, InputField, OutputField, SignatureField
from hokusai_signatures import (
    ClarifyIntent,
    ClassifyText,
    CodeGeneration,
    CritiqueText,
    DataAnalysis,
    DraftText,
    EmailDraft,
    ExpandText,
    ExtractInfo,
    GenerateFollowUp,
    RefineText,
    ReportGeneration,
    ResolveQuery,
    RespondToUser,
    ReviseText,
    SummarizeText,
)

__all__ = [
    "BaseSignature",
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
    "InputField",
    "OutputField",
    "RefineText",
    "ReportGeneration",
    "ResolveQuery",
    "RespondToUser",
    "ReviseText",
    "SignatureField",
    "SummarizeText",
]
