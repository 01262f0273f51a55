"""The module of the strategy ``majority``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import dspy
from attrs import define, field

from hokusai_core.plugin_api import StrategyTask, jsonable
from hokusai_strategies.tries import Tries, with_extras

__all__ = ["MajorityModule"]


@define(eq=False)
class _Choice:
    """One of the answers that were given."""

    prediction: Any
    values: dict[str, Any]
    count: int = 0


@define(eq=False)
class _Votes:
    """The answers so far, in the order in which they first came."""

    choices: dict[str, _Choice] = field(factory=dict)

    def add(self, prediction: Any, values: Mapping[str, Any]) -> None:
        """Count an answer."""
        plain = jsonable(dict(values))
        key = json.dumps(_normalised(plain), sort_keys=True)
        self.choices.setdefault(key, _Choice(prediction, plain)).count += 1

    @property
    def total(self) -> int:
        """How many answers there are."""
        return sum(choice.count for choice in self.choices.values())

    def leader(self) -> _Choice:
        """Return the most frequent answer, the first of equally frequent ones."""
        return max(self.choices.values(), key=lambda choice: choice.count)  # max returns the first of equal ones

    def decided(self, left: int, agreeing: int = 0) -> bool:
        """Whether ``left`` further answers cannot change the leader, if ``agreeing`` more answers are the leader's."""
        if not self.choices:
            return agreeing > 0 and agreeing >= left
        leader, order = self.leader(), list(self.choices.values())
        place, count = order.index(leader), leader.count + agreeing
        beaten = all(
            count > other.count + left or (count == other.count + left and place < rank)
            for rank, other in enumerate(order)
            if other is not leader
        )
        return beaten and count >= left  # a new answer comes after the leader, and loses a tie


class MajorityOptions(Protocol):
    """What the module needs of the strategy."""

    n: int
    fields: tuple[str, ...] | None
    temperature: float | None


class MajorityModule(dspy.Module):
    """Runs a module several times and returns the prediction that is most frequent.

    Args:
        module: makes one try.
        task: what is answered.
        options: the strategy.
    """

    def __init__(self, module: Any, task: StrategyTask, options: MajorityOptions) -> None:
        super().__init__()
        self.module = module
        self._task, self._options = task, options

    def forward(self, **inputs: Any) -> Any:
        """Return the most frequent prediction."""
        tries, votes = Tries(self._options.temperature), _Votes()
        while tries.number < self._options.n and not self._settled(tries, votes):
            try:
                with tries.begin():
                    prediction = self.module(**inputs)
                votes.add(prediction, self._compared(inputs, prediction))
            except Exception as error:
                tries.failed(error)
        return self._answer(tries, votes)

    async def aforward(self, **inputs: Any) -> Any:
        """Async version of ``forward``. Tries that are made in any case may be made at the same time."""
        tries, votes = Tries(self._options.temperature), _Votes()
        at_once = bool(dspy.settings.get("hokusai_at_once"))
        while tries.number < self._options.n and not self._settled(tries, votes):
            count = self._certain(tries, votes) if at_once else 1
            made = [self._try(tries.begin(), inputs) for _ in range(count)]
            for outcome in await asyncio.gather(*made, return_exceptions=True):  # those beside a failed one are paid
                if isinstance(outcome, Exception):
                    tries.failed(outcome)
                elif isinstance(outcome, BaseException):
                    raise outcome
                else:
                    votes.add(*outcome)
        return self._answer(tries, votes)

    async def _try(
        self, settings: AbstractContextManager[None], inputs: Mapping[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        with settings:
            prediction = await self.module.acall(**inputs)
        return prediction, self._compared(inputs, prediction)

    def _compared(self, inputs: Mapping[str, Any], prediction: Any) -> dict[str, Any]:
        outputs = self._task.outputs(inputs, prediction)
        return outputs if self._options.fields is None else {name: outputs[name] for name in self._options.fields}

    def _settled(self, tries: Tries, votes: _Votes, more: int = 0) -> bool:
        """Whether no further try is needed, if the next ``more`` tries all fail, or all agree with the leader."""
        enough = 2 * (votes.total + more) >= self._options.n
        lost = 2 * (len(tries.failures) + more) > self._options.n
        return lost or (enough and votes.decided(self._options.n - tries.number - more, more))

    def _certain(self, tries: Tries, votes: _Votes) -> int:
        """Return how many further tries are made whatever they give."""
        left = self._options.n - tries.number
        return next((more for more in range(1, left) if self._settled(tries, votes, more)), left)

    def _answer(self, tries: Tries, votes: _Votes) -> Any:
        if 2 * votes.total < self._options.n:
            raise tries.last_failure()
        counted = [{"answer": choice.values, "count": choice.count} for choice in votes.choices.values()]
        return with_extras(self._task, votes.leader().prediction, {"votes": counted})


def _normalised(value: Any) -> Any:
    """Return a value with the differences removed that do not count."""
    if isinstance(value, str):
        return " ".join(value.split()).casefold()
    if isinstance(value, dict):
        return {name: _normalised(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_normalised(item) for item in value]
    return value
