"""Predict: one call of the language model."""

from __future__ import annotations

from typing import Any

from hokusai_core.plugin_api import StrategyTask

__all__ = ["Predict"]


class Predict:
    """Answers with one call, as a signature without a strategy does."""

    version = "1"
    #: Its request can be shown, and an answer read, without a call.
    one_request = True

    def build(self, task: StrategyTask) -> Any:
        """Return ``dspy.Predict``."""
        import dspy  # listings of signatures that declare this strategy do without

        return dspy.Predict(task.signature)
