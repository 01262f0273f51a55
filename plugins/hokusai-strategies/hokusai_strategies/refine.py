"""Refine: several tries, each with advice on the one before."""

from __future__ import annotations

from typing import Any

from hokusai_core.plugin_api import StrategyTask
from hokusai_strategies.best_of_n import BestOfN

__all__ = ["Refine"]


class Refine(BestOfN):
    """Tries up to ``n`` times; from the second try on the model sees the answer before, and advice on it.

    The advice is a call of its own. The answer is the one with the highest reward, the earliest of equal ones. The
    options are those of ``BestOfN``.
    """

    def build(self, task: StrategyTask) -> Any:
        """Return the module. Its predictors are those of ``module``, the first try; of ``advise``; and of ``again``."""
        from hokusai_strategies.reward_modules import RefineModule  # imports dspy, which listings do without

        return RefineModule(task, self)
