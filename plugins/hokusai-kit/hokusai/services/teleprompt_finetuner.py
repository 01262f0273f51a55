"""Optimize signatures from examples and from feedback."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hokusai_core.plugin_api import lazy_exports

if TYPE_CHECKING:
    from hokusai_teleprompt import FeedbackCollector, TelepromptFineTuner

__all__ = ["FeedbackCollector", "TelepromptFineTuner"]

if not TYPE_CHECKING:  # a type checker would take `__getattr__` for a promise of any name
    __getattr__, __dir__ = lazy_exports(__name__, {"hokusai_teleprompt": __all__})
