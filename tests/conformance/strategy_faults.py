"""Strategies of authors in a hurry: each breaks the protocol in one way."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import dspy
import pytest

from hokusai_core.errors import ExecutionError
from hokusai_core.testing.strategies import StrategyConformance


class Module(dspy.Module):  # type: ignore[misc]  # DSPy: Any
    """Asks twice and takes the second answer."""

    def __init__(self, task: Any, strategy: Any) -> None:
        super().__init__()
        self.task, self.strategy = task, strategy
        self.ask = dspy.Predict(task.signature)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self.strategy.module(self.task)

    def forward(self, **inputs: Any) -> Any:
        return self.strategy.finish(self, self.strategy.forward(self, inputs))

    async def aforward(self, **inputs: Any) -> Any:
        return self.strategy.finish(self, await self.strategy.aforward(self, inputs))


class Twice:
    """A strategy that is right."""

    version: Any = "1"
    fork_safe = True

    def module(self, task: Any) -> Any:
        return Module(task, self)

    def build(self, task: Any) -> Any:
        return self.module(task)

    def forward(self, module: Any, inputs: dict[str, Any]) -> Any:
        module.ask(**inputs)
        return module.ask(**inputs)

    async def aforward(self, module: Any, inputs: dict[str, Any]) -> Any:
        await module.ask.acall(**inputs)
        return await module.ask.acall(**inputs)

    def finish(self, module: Any, prediction: Any) -> Any:
        return prediction


class HasNoVersion(Twice):
    version = ""


class VersionIsANumber(Twice):
    version = 2


class BuildsNothing(Twice):
    def build(self, task: Any) -> Any:
        return None


class MakesAnswersUp(Twice):
    def forward(self, module: Any, inputs: dict[str, Any]) -> Any:
        try:
            return super().forward(module, inputs)
        except Exception:
            return dspy.Prediction(**dict.fromkeys(module.ask.signature.output_fields, "7"))


class ReturnsNone(Twice):
    def forward(self, module: Any, inputs: dict[str, Any]) -> Any:
        try:
            return super().forward(module, inputs)
        except Exception:
            return None


class RepairsAnswers(Twice):
    """What breaks a rule is made to fit."""

    def finish(self, module: Any, prediction: Any) -> Any:
        name = list(module.ask.signature.output_fields)[-1]
        prediction[name] = max(0, int(prediction[name] or 0))
        return prediction


class RaisesAnError(Twice):
    def forward(self, module: Any, inputs: dict[str, Any]) -> Any:
        try:
            return super().forward(module, inputs)
        except Exception as error:
            raise RuntimeError("both tries failed") from error


class GivesUpTooSoon(Twice):
    """It leaves no time for an answer."""

    def forward(self, module: Any, inputs: dict[str, Any]) -> Any:
        raise ExecutionError("too busy")


class Remembers(Twice):
    def finish(self, module: Any, prediction: Any) -> Any:
        module.ask.demos = [*module.ask.demos, dict(prediction)]
        return prediction


class KeepsTheLastAnswer(Twice):
    def finish(self, module: Any, prediction: Any) -> Any:
        module.last = prediction
        return prediction


class RewritesItsInstructions(Twice):
    def finish(self, module: Any, prediction: Any) -> Any:
        module.ask.signature = module.ask.signature.with_instructions(f"Think of {prediction}.")
        return prediction


class KeepsTheLanguageModel(Twice):
    """The next caller may have another one."""

    def finish(self, module: Any, prediction: Any) -> Any:
        module.ask.lm = dspy.settings.lm
        return prediction


class NotForThreads(Twice):
    busy = False

    def forward(self, module: Any, inputs: dict[str, Any]) -> Any:
        assert not self.busy, "one call at a time"
        self.busy = True
        time.sleep(0.001)
        try:
            return super().forward(module, inputs)
        finally:
            self.busy = False


class AsyncAnswersDiffer(Twice):
    async def aforward(self, module: Any, inputs: dict[str, Any]) -> Any:
        found = await super().aforward(module, inputs)
        found[next(iter(module.ask.signature.output_fields))] = "awaited"
        return found


class AsyncBlocks(Twice):
    async def aforward(self, module: Any, inputs: dict[str, Any]) -> Any:
        time.sleep(0.001)  # noqa: ASYNC251  # that is the fault
        return await super().aforward(module, inputs)


class AsyncWaitsForAThread(Twice):
    async def aforward(self, module: Any, inputs: dict[str, Any]) -> Any:
        thread = threading.Thread(target=time.sleep, args=(0.6,))
        thread.start()
        thread.join()
        return await super().aforward(module, inputs)


class LosesAnOutput(Twice):
    def finish(self, module: Any, prediction: Any) -> Any:
        return dspy.Prediction(**dict(list(prediction.items())[:1]))


class ReturnsAMapping(Twice):
    def finish(self, module: Any, prediction: Any) -> Any:
        return dict(prediction)


class ForgetsAnInput(Twice):
    def forward(self, module: Any, inputs: dict[str, Any]) -> Any:
        first = next(iter(inputs))
        return super().forward(module, {**dict.fromkeys(inputs, ""), first: inputs[first]})

    async def aforward(self, module: Any, inputs: dict[str, Any]) -> Any:
        first = next(iter(inputs))
        return await super().aforward(module, {**dict.fromkeys(inputs, ""), first: inputs[first]})


class ForgetsTheDemos(Twice):
    def forward(self, module: Any, inputs: dict[str, Any]) -> Any:
        return dspy.Predict(module.task.signature)(**inputs)


class Chatty(Twice):
    def finish(self, module: Any, prediction: Any) -> Any:
        os.write(1, b"answered\n")
        return prediction


class OnlyForItsProcess(Twice):
    def __init__(self) -> None:
        self.process = os.getpid()

    def finish(self, module: Any, prediction: Any) -> Any:
        assert os.getpid() == self.process, "a connection of another process"
        return prediction


class SaysItIsNotForForks(Twice):
    fork_safe = False


class OneLoopForAll(Twice):
    loop: Any = None

    async def aforward(self, module: Any, inputs: dict[str, Any]) -> Any:
        self.loop = self.loop or asyncio.get_running_loop()
        self.loop.call_soon(lambda: None)
        return await super().aforward(module, inputs)


class Suite(StrategyConformance):
    options: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture
    def target(self, planted: Any) -> Callable[..., Any]:
        made: Callable[..., Any] = planted
        return made


GOOD = Twice
FAULTS = [
    HasNoVersion, VersionIsANumber, BuildsNothing, MakesAnswersUp, ReturnsNone, RepairsAnswers, RaisesAnError,
    GivesUpTooSoon, Remembers, KeepsTheLastAnswer, RewritesItsInstructions, KeepsTheLanguageModel, NotForThreads,
    AsyncAnswersDiffer, AsyncBlocks, AsyncWaitsForAThread, LosesAnOutput, ReturnsAMapping, ForgetsAnInput,
    ForgetsTheDemos, Chatty, OnlyForItsProcess, SaysItIsNotForForks, OneLoopForAll,
]  # fmt: skip
