"""Optimize signatures from examples and from feedback."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hokusai._lazy import lazy_names

if TYPE_CHECKING:
    from hokusai_teleprompt import FeedbackCollector, TelepromptFineTuner

__all__ = ["FeedbackCollector", "TelepromptFineTuner"]

__getattr__, __dir__ = lazy_names(__name__, dict.fromkeys(__all__, "hokusai_teleprompt"))
