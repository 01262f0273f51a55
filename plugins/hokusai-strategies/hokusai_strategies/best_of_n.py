"""BestOfN: several tries, of which the one with the highest reward is the answer."""

from __future__ import annotations

from typing import Any

from hokusai_core.plugin_api import Reward, Strategy, StrategyTask
from hokusai_strategies.option_checks import checked_count, checked_number
from hokusai_strategies.predict import Predict

__all__ = ["BestOfN"]


class BestOfN:
    """Tries up to ``n`` times and takes the answer with the highest reward, the earliest of equal ones.

    Args:
        reward: what the tries are judged by: name of a validator or metric, or a function of inputs and outputs.
        n: tries at most.
        threshold: a try with this reward or more is the answer, and no further one is made; left out, the highest
            reward that there can be.
        strategy: how each try is made; one call if left out.
        temperature: temperature of every try; None for the language model's own.
    """

    version = "1"

    def __init__(
        self,
        reward: Reward,
        n: int = 3,
        threshold: float | None = None,
        strategy: Strategy | None = None,
        temperature: float | None = 1.0,
    ) -> None:
        self.reward, self.strategy = reward, strategy or Predict()
        self.n = checked_count("best_of_n", "n", n)
        chosen = checked_number("best_of_n", "threshold", threshold)
        self.threshold = reward.best if chosen is None else chosen
        self.temperature = checked_number("best_of_n", "temperature", temperature)

    def build(self, task: StrategyTask) -> Any:
        """Return the module; the predictors of a try are those of its attribute ``module``."""
        from hokusai_strategies.reward_modules import BestOfNModule  # imports dspy, which listings do without

        return BestOfNModule(self.strategy.build(task), task, self)
