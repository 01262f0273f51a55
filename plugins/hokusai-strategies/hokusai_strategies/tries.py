"""What strategies with several tries share: how a try is made differently, and which failures cost only that try."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import dspy
from attrs import define, field
from dspy.utils.exceptions import LMRateLimitError

from hokusai_core.errors import HokusaiError, OutputError
from hokusai_core.plugin_api import Reward, StrategyTask
from hokusai_strategies.own_thread import in_own_thread

__all__ = ["Tries", "scored", "scored_async", "with_extras"]


@define(eq=False)
class Tries:
    """The tries of one answer.

    Args:
        temperature: temperature of every try, None for the language model's own.
    """

    temperature: float | None
    number: int = 0
    failures: list[Exception] = field(factory=list)

    def begin(self) -> AbstractContextManager[None]:
        """Return the settings of the next try: no cache answers it with the answer of an earlier one."""
        self.number += 1
        changes: dict[str, Any] = {"rollout_id": self.number}
        if self.temperature is not None:
            changes["temperature"] = self.temperature
        context: AbstractContextManager[None] = dspy.context(lm=dspy.settings.lm.copy(**changes))
        return context

    def failed(self, error: Exception) -> None:
        """Note that a try has failed.

        Raises:
            Exception: the same one, if the other tries must not be made: a limit or the deadline has stopped it, or
                something beside the language model is broken.
        """
        stops = isinstance(error, HokusaiError) and not isinstance(error, OutputError)
        if stops or isinstance(error, LMRateLimitError):
            raise error
        self.failures.append(error)

    def last_failure(self) -> Exception:
        """Return why the last try failed."""
        return self.failures[-1]


def scored(
    task: StrategyTask, reward: Reward, inputs: Mapping[str, Any], prediction: Any
) -> tuple[dict[str, Any], float]:
    """Return the outputs of a prediction, and their score.

    Raises:
        OutputError: they do not fit the signature.
        PluginError: the reward failed.
    """
    outputs = task.outputs(inputs, prediction)
    given = {**dict.fromkeys(task.spec.inputs), **task.inputs(inputs)}  # an optional input may be left out
    return outputs, reward(task, given, outputs)


async def scored_async(
    task: StrategyTask, reward: Reward, inputs: Mapping[str, Any], prediction: Any
) -> tuple[dict[str, Any], float]:
    """Async version of ``scored``. A reward that calls a language model gets a thread."""
    if reward.calls_model:
        outcome: tuple[dict[str, Any], float] = await in_own_thread(lambda: scored(task, reward, inputs, prediction))
        return outcome
    return scored(task, reward, inputs, prediction)


def with_extras(task: StrategyTask, prediction: Any, extras: Mapping[str, Any]) -> Any:
    """Return a prediction with what else the strategy gives; outputs of the signature go before."""
    known = task.signature.fields
    return dspy.Prediction(**{**{name: value for name, value in extras.items() if name not in known}, **prediction})
