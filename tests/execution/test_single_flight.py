"""Single call: identical executions share one call, over threads and event loops, whatever becomes of the leader."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hokusai_core import Executor
from hokusai_core.errors import BudgetExceeded, DeadlineExceeded, ExecutionError, LanguageModelError
from hokusai_core.execution.budget import Budget
from hokusai_core.runtime.single_flight import SharedCalls
from hokusai_core.testing.lm import null_lm

MakeExecutor = Callable[..., Executor]
GUARD = 20.0
INPUTS = {"question": "?"}


def in_flight(lm: Any) -> None:
    """Wait until a call of ``lm`` is under way."""
    end = time.monotonic() + GUARD
    while not lm.engine.in_flight:
        assert time.monotonic() < end, "no call began"
        time.sleep(0.002)


def joined(*threads: threading.Thread) -> None:
    for thread in threads:
        thread.join(GUARD)
        assert not thread.is_alive(), "a caller hangs"


class Caller(threading.Thread):
    """Executes once on a thread and keeps what came of it."""

    def __init__(self, executor: Executor, *, awaited: bool = False, **arguments: Any) -> None:
        super().__init__(daemon=True)
        self.executor, self.awaited, self.arguments = executor, awaited, arguments
        self.outcome: Any = None
        self.start()

    def run(self) -> None:
        try:
            if self.awaited:
                self.outcome = asyncio.run(self.executor.aexecute_signature("Answer", INPUTS, **self.arguments))
            else:
                self.outcome = self.executor.execute_signature("Answer", INPUTS, **self.arguments)
        except BaseException as error:
            self.outcome = error


@pytest.mark.parametrize("asynchronous", [False, True], ids=["blocking-lm", "async-lm"])
def test_threads_and_event_loops_share_one_call(make_executor: MakeExecutor, asynchronous: bool) -> None:
    lm = null_lm(delay=0.2, asynchronous=asynchronous)
    executor = make_executor(lm=lm)
    callers = [Caller(executor, awaited=bool(number % 2)) for number in range(12)]
    joined(*callers)
    assert lm.engine.calls == 1
    assert [caller.outcome["answer"] for caller in callers] == ["some answer"] * 12
    assert sorted(str(caller.outcome.cached) for caller in callers).count("shared") == 11
    assert len({caller.outcome.execution_id for caller in callers}) == 12
    assert executor.services.pipeline._shared_calls._calls == {}


def test_tasks_of_one_event_loop_share_one_call(make_executor: MakeExecutor) -> None:
    lm = null_lm(delay=0.05)
    executor = make_executor(lm=lm)

    async def main() -> list[Any]:
        results: list[Any] = await asyncio.gather(*(executor.aexecute_signature("Answer", INPUTS) for _ in range(200)))
        return results

    results = asyncio.run(main())
    assert lm.engine.calls == 1
    assert sum(result.usage.calls for result in results) == 1


def test_what_is_shared_belongs_to_each(make_executor: MakeExecutor) -> None:
    executor = make_executor(lm=null_lm(delay=0.05))

    async def main() -> list[Any]:
        results: list[Any] = await asyncio.gather(*(executor.aexecute_signature("Many", INPUTS) for _ in range(3)))
        return results

    results = asyncio.run(main())
    results[0]["answers"].append("mine")
    assert [result["answers"] for result in results[1:]] == [["some answers"]] * 2


@pytest.mark.parametrize("cache", ["off", "refresh"])
def test_who_wants_an_answer_of_his_own_gets_it(make_executor: MakeExecutor, cache: str) -> None:
    lm = null_lm(delay=0.1)
    executor = make_executor(lm=lm)
    joined(*[Caller(executor, cache=cache) for _ in range(3)])
    assert lm.engine.calls == 3


def test_without_a_cache_nothing_is_shared(make_executor: MakeExecutor) -> None:
    lm = null_lm(delay=0.1)
    executor = make_executor(lm=lm, cache_enabled=False)
    joined(*[Caller(executor) for _ in range(3)])
    assert lm.engine.calls == 3


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
def test_where_the_leader_fails_each_gets_an_error_of_his_own(make_executor: MakeExecutor, awaited: bool) -> None:
    lm = null_lm(delay=0.2, fail_first=1)
    executor = make_executor(lm=lm)
    leader = Caller(executor)
    in_flight(lm)
    waiters = [Caller(executor, awaited=awaited) for _ in range(5)]
    joined(leader, *waiters)
    failures = [caller.outcome for caller in (leader, *waiters)]
    assert {type(failure) for failure in failures} == {LanguageModelError}
    assert len({id(failure) for failure in failures}) == 6
    assert len({failure.execution_id for failure in failures}) == 6
    assert len({str(failure) for failure in failures}) == 1
    assert all(failure.__cause__ is not None for failure in failures), "each knows the cause"
    assert lm.engine.calls == 1


def test_a_waiter_that_wants_retries_makes_them(make_executor: MakeExecutor) -> None:
    lm = null_lm(delay=0.1, fail_first=1)
    executor = make_executor(lm=lm)
    leader = Caller(executor)
    in_flight(lm)
    persistent, plain = Caller(executor, retry_on_failure=True), Caller(executor)
    joined(leader, persistent, plain)
    assert isinstance(leader.outcome, LanguageModelError)
    assert persistent.outcome["answer"] == "some answer"


@pytest.mark.parametrize("asynchronous", [False, True], ids=["blocking-lm", "async-lm"])
@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
def test_where_the_leader_runs_out_of_time_the_others_still_get_an_answer(
    make_executor: MakeExecutor, awaited: bool, asynchronous: bool
) -> None:
    lm = null_lm(delay=0.3, asynchronous=asynchronous)
    executor = make_executor(lm=lm)
    leader = Caller(executor, awaited=awaited, timeout=0.15)
    in_flight(lm)
    waiters = [Caller(executor, awaited=awaited) for _ in range(5)]
    joined(leader, *waiters)
    assert isinstance(leader.outcome, DeadlineExceeded)
    assert [waiter.outcome["answer"] for waiter in waiters] == ["some answer"] * 5
    assert lm.engine.calls == 2


def test_where_the_leader_has_no_time_for_a_retry_the_others_may(make_executor: MakeExecutor) -> None:
    from dspy import lm15

    calls = iter(range(100))

    def answer(_user: str) -> str:
        time.sleep(0.1)
        if next(calls) == 0:
            raise lm15.RateLimitError("slow down", retry_after=0.6)
        return "[[ ## answer ## ]]\nfine"

    lm = null_lm(raw=answer, asynchronous=False)
    executor = make_executor(lm=lm, retry_on_failure=True)
    leader = Caller(executor, timeout=0.4)
    in_flight(lm)
    waiter = Caller(executor, timeout=GUARD)
    joined(leader, waiter)
    assert isinstance(leader.outcome, ExecutionError)
    assert waiter.outcome["answer"] == "fine"


def test_a_waiter_that_runs_out_of_time_disturbs_no_other(make_executor: MakeExecutor) -> None:
    lm = null_lm(delay=0.3)
    executor = make_executor(lm=lm)
    leader = Caller(executor)
    in_flight(lm)
    hasty = [Caller(executor, awaited=awaited, timeout=0.05) for awaited in (False, True)]
    patient = Caller(executor)
    joined(leader, *hasty, patient)
    assert [type(caller.outcome) for caller in hasty] == [DeadlineExceeded] * 2
    assert leader.outcome["answer"] == patient.outcome["answer"] == "some answer"
    assert lm.engine.calls == 1


def test_a_budget_that_is_spent_is_the_callers_own(make_executor: MakeExecutor) -> None:
    lm = null_lm(delay=0.1)
    executor = make_executor(lm=lm)
    budget = Budget(calls=1)
    budget.reserve()
    callers = [Caller(executor, budget=budget), *(Caller(executor) for _ in range(4))]
    joined(*callers)
    answered = [caller.outcome for caller in callers if not isinstance(caller.outcome, BudgetExceeded)]
    assert len(answered) >= 4
    assert {answer["answer"] for answer in answered} == {"some answer"}


@pytest.mark.parametrize("cancelled", [0, 1, 2])
def test_where_a_task_is_cancelled_the_others_still_get_an_answer(make_executor: MakeExecutor, cancelled: int) -> None:
    lm = null_lm(delay=0.1)
    executor = make_executor(lm=lm)

    async def main() -> list[Any]:
        tasks = [asyncio.ensure_future(executor.aexecute_signature("Answer", INPUTS)) for _ in range(4)]
        while not lm.engine.in_flight:  # noqa: ASYNC110  # the engine has no event to wait for
            await asyncio.sleep(0.002)
        tasks[cancelled].cancel()
        return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), GUARD)

    outcomes = asyncio.run(main())
    assert isinstance(outcomes.pop(cancelled), asyncio.CancelledError)
    assert [outcome["answer"] for outcome in outcomes] == ["some answer"] * 3
    assert lm.engine.calls == (2 if cancelled == 0 else 1)
    assert executor.services.pipeline._shared_calls._calls == {}


def test_a_blocking_call_inside_a_task_does_not_wait_for_a_task_of_its_own_loop(make_executor: MakeExecutor) -> None:
    lm = null_lm(delay=0.1)
    executor = make_executor(lm=lm)

    async def main() -> Any:
        leader = asyncio.ensure_future(executor.aexecute_signature("Answer", INPUTS))
        while not lm.engine.in_flight:  # noqa: ASYNC110  # the engine has no event to wait for
            await asyncio.sleep(0.002)
        blocking = executor.execute_signature("Answer", INPUTS, timeout=GUARD)
        return blocking, await leader

    blocking, awaited = asyncio.run(main())
    assert blocking["answer"] == awaited["answer"] == "some answer"
    assert lm.engine.calls == 2


def test_a_child_process_waits_for_no_leader_of_its_parent() -> None:
    calls: SharedCalls[str] = SharedCalls()
    _, leads = calls.join("k")
    assert leads
    assert not calls.join("k")[1]
    calls._after_fork()  # as in a forked child
    assert calls.join("k")[1]


def test_a_leader_may_leave_after_landing() -> None:
    calls: SharedCalls[str] = SharedCalls()
    call, _ = calls.join("k")
    calls.finish(call, answer="x")
    calls.leave(call)
    assert call.outcome.result(0) == "x"
    assert calls.join("k")[1]


def test_no_caller_hangs_under_stress(make_executor: MakeExecutor) -> None:
    """Threads and event loops, few keys, failing models, short deadlines, cancelled tasks: every call ends."""
    executor = make_executor(cache_ttl=0.01)
    models = [null_lm(delay=delay, asynchronous=bool(number % 2), fail_first=5)
              for number, delay in enumerate((0.0, 0.002, 0.005, 0.01))]  # fmt: skip

    def arguments(rng: random.Random) -> dict[str, Any]:
        return {
            "inputs": {"question": str(rng.randrange(3))},
            "lm": rng.choice(models),
            "timeout": rng.choice([0.003, 0.02, 5.0, None]),
            "cache": rng.choice(["use", "use", "use", "refresh"]),
            "retry_on_failure": rng.random() < 0.1,
        }

    def on_a_thread(seed: int) -> int:
        rng = random.Random(seed)
        done = 0
        for _ in range(40):
            with contextlib.suppress(ExecutionError):
                executor.execute_signature("Answer", **arguments(rng))
            done += 1
        return done

    def on_a_loop(seed: int) -> int:
        rng = random.Random(seed)

        async def one() -> None:
            task = asyncio.ensure_future(executor.aexecute_signature("Answer", **arguments(rng)))
            if rng.random() < 0.3:
                await asyncio.sleep(rng.random() * 0.005)
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        async def main() -> int:
            await asyncio.gather(*(one() for _ in range(80)))
            return 80

        return asyncio.run(asyncio.wait_for(main(), GUARD))

    with ThreadPoolExecutor(12) as pool:
        futures = [pool.submit(on_a_thread if seed % 3 else on_a_loop, seed) for seed in range(12)]
        assert sum(future.result(GUARD) for future in futures) == 8 * 40 + 4 * 80
    assert executor.services.pipeline._shared_calls._calls == {}
    assert executor.execute_signature("Answer", INPUTS, lm=null_lm())["answer"] == "some answer"
