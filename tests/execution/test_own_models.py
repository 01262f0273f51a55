"""Language models that a program brings itself: budgets are asked before their calls, and what they cost is counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import dspy
import pytest

from hokusai_core import Budget, Executor
from hokusai_core.errors import BudgetExceeded
from hokusai_core.testing.lm import null_lm
from hokusai_core.types import FailedExecution

MakeExecutor = Callable[..., Executor]


def paid_lm(name: str = "odd/own") -> Any:
    lm = null_lm(model=name)
    lm.engine.free = False
    return lm


class Program(dspy.Module):  # type: ignore[misc]  # DSPy has no types
    def __init__(self, own: Any) -> None:
        super().__init__()
        self.own, self.step = own, dspy.Predict("question -> answer")


class OfPredictor(Program):
    def __init__(self, own: Any) -> None:
        super().__init__(own)
        self.step.lm = own

    def forward(self, question: str) -> Any:
        return self.step(question=question)


class InContext(Program):
    def forward(self, question: str) -> Any:
        with dspy.context(lm=self.own):
            return self.step(question=question)


class Given(Program):
    def forward(self, question: str) -> Any:
        return self.step(question=question, lm=self.own)


class Direct(Program):
    def forward(self, question: str) -> Any:
        return dspy.Prediction(answer=self.own(question)[0])


class OtherAdapter(Program):
    def forward(self, question: str) -> Any:
        with dspy.context(lm=self.own, adapter=dspy.ChatAdapter()):
            return self.step(question=question)


class Stubborn(Program):
    def forward(self, question: str) -> Any:
        for _ in range(3):
            try:
                return self.step(question=question, lm=self.own)
            except Exception:  # noqa: S112  # a program that takes every failure for one of the network
                continue
        return dspy.Prediction(answer="gave up")


class InThreads(Program):
    def forward(self, question: str) -> Any:
        pairs = [
            (lambda **inputs: self.step(lm=self.own, **inputs), dspy.Example(question=question).with_inputs("question"))
        ]
        return dspy.Parallel(num_threads=2, disable_progress_bar=True)(pairs)[0]


class Awaited(OfPredictor):
    async def aforward(self, question: str) -> Any:
        return await self.step.acall(question=question)


class InTasks(OfPredictor):
    async def aforward(self, question: str) -> Any:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.step.acall(question=question))
        return task.result()


KINDS = [OfPredictor, InContext, Given, Direct, OtherAdapter, Stubborn, InThreads, Awaited, InTasks]


def run(executor: Executor, way: str, **options: Any) -> Any:
    if way == "sync":
        return executor.execute_signature("Program", {"question": "?"}, cache="off", **options)
    if way == "async":
        return asyncio.run(executor.aexecute_signature("Program", {"question": "?"}, cache="off", **options))
    outcome = executor.execute_batch("Program", [{"question": "?"}], progress=False, cache="off", **options)[0]
    if isinstance(outcome, FailedExecution):
        raise outcome.error
    return outcome


@pytest.mark.parametrize("way", ["sync", "async", "batch"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_ceiling_on_cost_holds_for_models_of_a_program(kind: Any, way: str, make_executor: MakeExecutor) -> None:
    own = paid_lm()
    executor = make_executor()
    executor.register_signature("Program", kind(own), signature="question -> answer")
    with pytest.raises(BudgetExceeded, match="no price of odd/own is known"):
        run(executor, way, budget=Budget(cost=1))
    assert own.engine.calls == 0
    assert run(executor, way, budget=Budget(cost=1, unpriced="allow")).outputs.keys() == {"answer"}
    assert own.engine.calls == 1


@pytest.mark.parametrize("way", ["sync", "async", "batch"])
@pytest.mark.parametrize("kind", KINDS)
def test_calls_of_models_of_a_program_are_bounded_and_counted(kind: Any, way: str, make_executor: MakeExecutor) -> None:
    own = null_lm(model="null/own")
    executor = make_executor()
    executor.register_signature("Program", kind(own), signature="question -> answer")
    budget = Budget(calls=1)
    result = run(executor, way, budget=budget)
    assert (own.engine.calls, budget.spent.calls, result.usage.total_tokens) == (1, 1, 15)
    with pytest.raises(BudgetExceeded, match="all 1 calls are made"):
        run(executor, way, budget=budget)
    assert own.engine.calls == 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_cost_of_models_of_a_program_counts(
    kind: Any, make_executor: MakeExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hokusai_core.dspy_bridge import metered_lm, model_prices

    listed = {"input_cost_per_token": 0.01, "output_cost_per_token": 0.1, "cache_read_input_token_cost": 0.001}
    monkeypatch.setattr(model_prices, "_prices", lambda lm: listed)
    monkeypatch.setattr(model_prices, "is_priced", lambda lm: True)
    monkeypatch.setattr(metered_lm, "is_priced", lambda lm: True)
    own = paid_lm()
    executor = make_executor()
    executor.register_signature("Program", kind(own), signature="question -> answer")
    budget = Budget(cost=0.5)
    result = run(executor, "sync", budget=budget)
    assert result.cost == pytest.approx(10 * 0.01 + 5 * 0.1)  # the null engine says 10 and 5 tokens
    assert budget.spent_cost == pytest.approx(0.6)
    with pytest.raises(BudgetExceeded, match="is spent"):
        run(executor, "sync", budget=budget)
    assert own.engine.calls == 1


def test_the_executors_own_model_is_asked_once_and_counted_once(make_executor: MakeExecutor) -> None:
    lm = null_lm()
    executor = make_executor(lm=lm)
    executor.register_signature("Program", OfPredictor(None), signature="question -> answer")
    heard: list[Any] = []

    class Host(dspy.utils.callback.BaseCallback):  # type: ignore[misc]  # DSPy has no types
        def on_lm_start(self, call_id: str, instance: Any, inputs: Any) -> None:
            heard.append(instance)

    with dspy.context(callbacks=[Host()]):
        budget = Budget(calls=1)
        result = executor.execute_signature("Program", {"question": "?"}, budget=budget)
    assert (lm.engine.calls, budget.spent.calls, result.usage.calls, heard) == (1, 1, 1, [lm])


def test_the_executors_model_is_counted_when_a_program_brings_the_same(make_executor: MakeExecutor) -> None:
    lm = null_lm()
    executor = make_executor(lm=lm)
    executor.register_signature("Program", OfPredictor(lm), signature="question -> answer")
    budget = Budget(calls=1)
    assert run(executor, "sync", budget=budget).usage.calls == 1
    with pytest.raises(BudgetExceeded):
        run(executor, "sync", budget=budget)
