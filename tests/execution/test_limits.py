"""Budgets and rate limits."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dspy
import pytest

from hokusai_core import Budget, Executor, Usage
from hokusai_core.errors import BudgetExceeded, ConfigurationError, LanguageModelError, RateLimitedError
from hokusai_core.execution.rate_limits import RateLimits
from hokusai_core.testing.lm import null_lm

MakeExecutor = Callable[..., Executor]


@pytest.mark.parametrize("ceiling", ["calls", "tokens", "cost", "seconds"])
@pytest.mark.parametrize("value", [0, -1, True, float("nan"), "5"])
def test_a_ceiling_that_is_none(ceiling: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=ceiling):
        Budget(**{ceiling: value})


@pytest.mark.parametrize("budget", [0, 0.5, "1"])
def test_a_number_is_no_budget_and_not_taken_for_none(make_executor: MakeExecutor, budget: Any) -> None:
    with pytest.raises(ConfigurationError, match="expected a Budget"):
        make_executor().execute_signature("Answer", {"question": "?"}, budget=budget)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_calls_are_never_exceeded_however_many_run_at_once(make_executor: MakeExecutor, asynchronous: bool) -> None:
    lm = null_lm(delay=0.005, asynchronous=asynchronous)
    first, second = make_executor(lm=lm), make_executor(lm=lm)
    budget = Budget(calls=25)

    def one(number: int) -> bool:
        try:
            (first, second)[number % 2].execute_signature("Answer", {"question": str(number)}, budget=budget)
        except BudgetExceeded as error:
            assert "all 25 calls are made" in str(error)  # noqa: PT017
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(one, range(60))) == 25

    async def more() -> list[Any]:
        work = (first.aexecute_signature("Answer", {"question": f"a{n}"}, budget=budget) for n in range(20))
        results: list[Any] = await asyncio.gather(*work, return_exceptions=True)
        return results

    assert {type(outcome) for outcome in asyncio.run(more())} == {BudgetExceeded}
    assert lm.engine.calls == 25
    assert budget.spent == Usage(250, 125, 25)


def test_retries_are_charged(make_executor: MakeExecutor) -> None:
    lm = null_lm(fail_first=100)
    budget = Budget(calls=3)
    executor = make_executor(lm=lm, retry_on_failure=True)
    with pytest.raises(LanguageModelError):
        executor.execute_signature("Answer", {"question": "?"}, budget=budget, max_retries=1)
    with pytest.raises(BudgetExceeded) as caught:
        executor.execute_signature("Answer", {"question": "?"}, budget=budget, max_retries=5)
    assert lm.engine.calls == budget.spent.calls == 3
    assert len(caught.value.attempts) == 2


def test_each_call_of_a_program_is_charged(make_executor: MakeExecutor) -> None:
    class Twice(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ask = dspy.Predict("question -> answer")

        def forward(self, question: str) -> Any:
            self.ask(question=question)
            return self.ask(question=question)

    lm = null_lm()
    executor = make_executor(lm=lm)
    executor.register_signature("Twice", Twice())
    budget = Budget(calls=3)
    result = executor.execute_signature("Twice", {"question": "?"}, budget=budget)
    assert (result.usage.calls, budget.spent.calls) == (2, 2)
    with pytest.raises(BudgetExceeded):
        executor.execute_signature("Twice", {"question": "again"}, budget=budget)
    assert lm.engine.calls == 3


def test_hits_cost_nothing(make_executor: MakeExecutor) -> None:
    executor = make_executor()
    budget = Budget(calls=1)
    for _ in range(3):
        executor.execute_signature("Answer", {"question": "?"}, budget=budget)
    assert budget.spent.calls == 1


def test_tokens_and_seconds_end_it_too(make_executor: MakeExecutor) -> None:
    executor = make_executor(cache_enabled=False)
    budget = Budget(tokens=20)
    for _ in range(2):
        executor.execute_signature("Answer", {"question": "?"}, budget=budget)
    with pytest.raises(BudgetExceeded, match="30 of 20 tokens"):
        executor.execute_signature("Answer", {"question": "?"}, budget=budget)
    brief = Budget(seconds=0.05)
    executor.execute_signature("Answer", {"question": "?"}, budget=brief)
    time.sleep(0.06)
    with pytest.raises(BudgetExceeded, match=r"0\.05 seconds have passed"):
        executor.execute_signature("Answer", {"question": "?"}, budget=brief)
    assert brief.to_dict()["spent"]["calls"] == 1


def test_what_is_no_budget_is_refused(make_executor: MakeExecutor) -> None:
    lm = null_lm()
    with pytest.raises(ConfigurationError, match="budget"):
        make_executor(lm=lm).execute_signature("Answer", {"question": "?"}, budget=5)  # type: ignore[call-overload]
    assert lm.engine.calls == 0


def test_a_rate_limit_spreads_calls_over_time(make_executor: MakeExecutor) -> None:
    lm = null_lm()
    executor = make_executor(lm=lm, requests_per_minute=4, cache_enabled=False)
    limits = executor.services.pipeline._attempts._limits
    assert limits is not None
    window = limits._of("null/model").calls
    assert window is not None
    window.seconds = 0.3  # a minute would take the test too long
    started = time.monotonic()

    async def tasks() -> None:
        await asyncio.gather(*(executor.aexecute_signature("Answer", {"question": "?"}) for _ in range(5)))

    thread = threading.Thread(target=lambda: asyncio.run(tasks()))
    thread.start()
    for _ in range(5):
        executor.execute_signature("Answer", {"question": "?"})
    thread.join(10)
    assert lm.engine.calls == 10
    assert time.monotonic() - started >= 2 * 0.3  # four at once, then four, then two


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
def test_a_rate_limit_beyond_the_deadline_is_told(make_executor: MakeExecutor, awaited: bool) -> None:
    executor = make_executor(requests_per_minute=1)
    executor.execute_signature("Answer", {"question": "first"})
    started = time.monotonic()
    with pytest.raises((RateLimitedError, TimeoutError)):  # noqa: PT012  # either form of one call
        if awaited:
            asyncio.run(executor.aexecute_signature("Answer", {"question": "second"}, timeout=0.3))
        else:
            executor.execute_signature("Answer", {"question": "second"}, timeout=0.3, retry_on_failure=True)
    assert time.monotonic() - started < 5


def test_each_model_has_limits_of_its_own() -> None:
    limits = RateLimits(requests_per_minute=1)
    assert limits.admit("a", 10) == 0
    assert limits.admit("b", 10) == 0
    assert limits.admit("a", 10) > 0


def test_tokens_are_settled_with_what_was_used() -> None:
    limits = RateLimits(tokens_per_minute=1000)
    assert limits.admit("m", 900) == 0
    assert limits.admit("m", 900) > 0
    limits.used("m", 50)
    assert limits.admit("m", 900) == 0


def test_a_call_larger_than_a_minutes_tokens_is_let_through_when_nothing_else_was() -> None:
    limits = RateLimits(tokens_per_minute=100)
    assert limits.admit("m", 5000) == 0
    assert limits.admit("m", 1) > 0


def test_no_stretch_of_a_minute_has_more_calls_than_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    limits = RateLimits(requests_per_minute=7, tokens_per_minute=900)
    made: list[float] = []
    for _ in range(2_000):
        while (wait := limits.admit("m", 100.0)) > 0:
            now[0] += wait
        limits.used("m", 100.0)
        made.append(now[0])
        if len(made) == 40:
            break
    for start in made:
        assert sum(start <= at < start + 60.0 for at in made) <= 7
    assert made[-1] - made[0] <= 60.0 * (40 / 7)  # and no more than they have to, calls wait


def test_less_than_one_call_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    limits = RateLimits(requests_per_minute=0.5)
    assert limits.admit("m", 1.0) == 0
    assert limits.admit("m", 1.0) == pytest.approx(120.0)


def test_a_provider_that_asks_to_slow_down_is_heard_by_all_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    limits = RateLimits(requests_per_minute=100)
    limits.block("m", 20.0)
    assert limits.admit("m", 1.0) == pytest.approx(20.0)
    assert limits.admit("other", 1.0) == 0
    now[0] = 20.0
    assert limits.admit("m", 1.0) == 0


def test_a_call_that_the_budget_refuses_gives_its_tokens_back(make_executor: MakeExecutor) -> None:
    executor = make_executor(tokens_per_minute=100_000, cache_enabled=False)
    budget = Budget(calls=1)
    executor.execute_signature("Answer", {"question": "?"}, budget=budget)
    for _ in range(3):
        with pytest.raises(BudgetExceeded):
            executor.execute_signature("Answer", {"question": "?"}, budget=budget)
    limits = executor.services.pipeline._attempts._limits
    assert limits is not None
    window = limits._of("null/model").tokens
    assert window is not None
    assert window.total == 15.0
