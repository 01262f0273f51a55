"""Language models that a program brings itself: budgets are asked before their calls, and what they cost is counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
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
    from hokusai_core.dspy_bridge import cost_bound, model_prices

    listed = {"input_cost_per_token": 0.0001, "output_cost_per_token": 0.1, "cache_read_input_token_cost": 0.0001}
    monkeypatch.setattr(model_prices, "prices_of", lambda lm: listed)
    monkeypatch.setattr(cost_bound, "prices_of", lambda lm: listed)
    own = paid_lm()
    own.kwargs["max_tokens"] = 10
    executor = make_executor()
    executor.register_signature("Program", kind(own), signature="question -> answer")
    budget = Budget(cost=1.4)
    result = run(executor, "sync", budget=budget)
    assert result.cost == pytest.approx(10 * 0.0001 + 5 * 0.1)  # the null engine says 10 and 5 tokens
    assert budget.spent_cost == 0.501
    assert budget.to_dict()["reserved"] == {"calls": 0, "cost": 0.0}
    with pytest.raises(BudgetExceeded, match=r"\$0\.8990 of \$1\.4000 is left, and the next call may cost up to \$1\."):
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


class Tracked(Program):
    def forward(self, question: str) -> Any:
        with dspy.track_usage() as used:
            answer = self.step(question=question, lm=self.own)
            self.step(question=f"{question} again")
        self.seen = used.get_total_tokens()
        return answer


class TrackedTwice(Program):
    def forward(self, question: str) -> Any:
        with dspy.track_usage(), dspy.track_usage():
            return self.step(question=question, lm=self.own)


class TrackedInThreads(InThreads):
    def forward(self, question: str) -> Any:
        with dspy.track_usage():
            return super().forward(question)


class TrackedAwaited(OfPredictor):
    async def aforward(self, question: str) -> Any:
        with dspy.track_usage():
            return await self.step.acall(question=question)


@pytest.mark.parametrize("host", ["plain", "tracking", "configured"])
@pytest.mark.parametrize("way", ["sync", "async", "batch"])
@pytest.mark.parametrize("kind", [TrackedTwice, TrackedInThreads, TrackedAwaited, OfPredictor, InThreads, Awaited])
def test_what_a_program_tracks_itself_is_counted_once(
    kind: Any, way: str, host: str, make_executor: MakeExecutor
) -> None:
    own = null_lm(model="null/own")
    executor = make_executor()
    executor.register_signature("Program", kind(own), signature="question -> answer")
    configured = dspy.context(track_usage=True) if host == "configured" else nullcontext()
    with configured, dspy.track_usage() if host == "tracking" else nullcontext() as tracker:
        result = run(executor, way, budget=Budget(calls=5))
    assert (own.engine.calls, result.usage.calls, result.usage.total_tokens) == (1, 1, 15)
    # DSPy itself gives the threads of dspy.Parallel copies of a tracker that a program opens, and forgets them.
    if tracker is not None and way != "batch" and kind is not TrackedInThreads:
        assert tracker.get_total_tokens()["null/own"]["prompt_tokens"] == 10


def test_a_program_sees_all_calls_in_its_own_tracker(make_executor: MakeExecutor) -> None:
    own, program = null_lm(model="null/own"), Tracked(null_lm(model="null/own"))
    program.own = own
    executor = make_executor(lm=null_lm(model="null/main"))
    executor.register_signature("Program", program, signature="question -> answer")
    result = run(executor, "sync")
    assert result.usage.calls == 2
    assert result.usage.total_tokens == 30
    assert {name: total["prompt_tokens"] for name, total in program.seen.items()} == {"null/own": 10, "null/main": 10}


def longest(arguments: Any, prediction: Any) -> float:
    return float(len(prediction.answer)) / 100


@pytest.mark.parametrize("way", ["sync", "async", "batch"])
@pytest.mark.parametrize("kind", [dspy.BestOfN, dspy.Refine])
@pytest.mark.parametrize("bound", ["calls", "tokens"])
def test_a_program_that_keeps_its_best_try_cannot_hide_a_spent_budget(
    bound: str, kind: Any, way: str, make_executor: MakeExecutor
) -> None:
    lm = null_lm()
    executor = make_executor(lm=lm)
    program = kind(module=dspy.Predict("question -> answer"), N=3, reward_fn=longest, threshold=1.0, fail_count=9)
    executor.register_signature("Program", program, signature="question -> answer")
    budget = Budget(calls=2) if bound == "calls" else Budget(tokens=16)
    with pytest.raises(BudgetExceeded):
        run(executor, way, budget=budget)
    assert lm.engine.calls == 2
    assert budget.spent.calls == 2


class Fallback(Program):
    def forward(self, question: str) -> Any:
        try:
            return self.step(question=question)
        except Exception:
            return dspy.Prediction(answer="a guess")


@pytest.mark.parametrize("way", ["sync", "async", "batch"])
def test_a_program_that_guesses_where_a_call_is_refused_gives_no_answer(way: str, make_executor: MakeExecutor) -> None:
    executor = make_executor()
    executor.register_signature("Program", Fallback(None), signature="question -> answer")
    budget = Budget(calls=1)
    assert run(executor, way, budget=budget)["answer"] != "a guess"
    with pytest.raises(BudgetExceeded):
        run(executor, way, budget=budget)


def test_a_program_may_handle_failures_of_its_model(make_executor: MakeExecutor) -> None:
    executor = make_executor(lm=null_lm(fail_first=9))
    executor.register_signature("Program", Fallback(None), signature="question -> answer")
    assert run(executor, "sync")["answer"] == "a guess"
