"""FirstFit: the module of the strategy."""

from __future__ import annotations

from typing import Any

import dspy
from hokusai_core.errors import OutputError
from hokusai_core.plugin_api import StrategyTask

__all__ = ["FirstFit"]


class FirstFit(dspy.Module):  # type: ignore[misc]  # DSPy is not typed
    """Asks until an answer fits. It keeps nothing of a call.

    Args:
        task: what is asked.
        tries: how often at most.
    """

    def __init__(self, task: StrategyTask, tries: int) -> None:
        super().__init__()
        self.predict = dspy.Predict(task.signature)
        self._task, self._tries = task, tries

    def forward(self, **inputs: Any) -> Any:
        """Return the first prediction that fits. Errors of the model, deadlines and budgets get out."""
        for number in range(1, self._tries):
            with self._try(number):
                prediction = self.predict(**inputs)
            if self._fits(inputs, prediction):
                return prediction
        with self._try(self._tries):
            return self.predict(**inputs)

    async def aforward(self, **inputs: Any) -> Any:
        """Async version of ``forward``."""
        for number in range(1, self._tries):
            with self._try(number):
                prediction = await self.predict.acall(**inputs)
            if self._fits(inputs, prediction):
                return prediction
        with self._try(self._tries):
            return await self.predict.acall(**inputs)

    def _try(self, number: int) -> Any:
        # Without a number of its own, DSPy's cache would answer each try with the answer of the first.
        return dspy.context(lm=dspy.settings.lm.copy(rollout_id=number))

    def _fits(self, inputs: dict[str, Any], prediction: Any) -> bool:
        try:
            self._task.outputs(inputs, prediction)
        except OutputError:
            return False
        return True
