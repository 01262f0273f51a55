"""Rate limits: of the provider, which slow a batch and fail no row, and of the executor itself."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from dspy.lm15 import RateLimitError

from hokusai_core import Executor, ParallelExecutor, SignatureChain
from hokusai_core.errors import DeadlineExceeded, RateLimitedError
from hokusai_core.runtime.window import ConcurrencyWindow

MakeExecutor = Callable[..., Executor]
WINDOWS = pytest.mark.parametrize("workers", [8, 80], ids=["threads", "event loop"])


@WINDOWS
@pytest.mark.parametrize("asynchronous", [True, False], ids=["async", "sync-only"])
def test_a_storm_fails_no_row(make_executor: MakeExecutor, make_lm: Any, workers: int, asynchronous: bool) -> None:
    lm = make_lm(asynchronous=asynchronous)
    rows = [{"question": f"{n} storm={n % 4}"} for n in range(60)]
    results = make_executor(lm=lm).execute_batch("Ask", rows, max_workers=workers, timeout=60)
    assert [result["answer"] for result in results] == [f"answer to {row['question']}" for row in rows]
    assert [len(result.attempts) for result in results.succeeded] == [1 + n % 4 for n in range(60)]


@WINDOWS
def test_rows_that_share_an_answer_do_not_keep_its_row_out(make_executor: MakeExecutor, workers: int) -> None:
    """They hold places while they wait for the row that was turned away, which needs one to come back."""
    rows = [{"question": "same storm=1 sleep=0.02"}] * workers + [{"question": "another"}]
    assert make_executor().execute_batch("Ask", rows, max_workers=workers, timeout=3).failed == []


def test_a_row_that_waits_for_somebody_elses_call_does_not_fail_with_its_rate_limit(
    make_executor: MakeExecutor, make_lm: Any
) -> None:
    lm = make_lm()
    executor = make_executor(lm=lm)
    single = executor.execute_async("Ask", {"question": "same storm=1 sleep=0.2"})
    while not lm.engine.calls:
        time.sleep(0.001)
    assert executor.execute_batch("Ask", [{"question": "same storm=1 sleep=0.2"}]).failed == []
    assert isinstance(single.exception(), RateLimitedError)


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
def test_a_storm_fails_no_task(make_executor: MakeExecutor, awaited: bool) -> None:
    chain = (
        SignatureChain().add("Ask", {"question": "first"}, name="first").add("Ask", {"question": "second"}, name="s")
    )
    tasks: list[Any] = [(chain, {"first": f"{n} storm={n % 3}", "second": f"{n} storm=1"}) for n in range(6)]
    tasks += [("Ask", {"question": "6 storm=2"})]
    parallel = ParallelExecutor(make_executor(max_workers=4, timeout=20))
    results = asyncio.run(parallel.aexecute_all(tasks)) if awaited else parallel.execute_all(tasks)
    assert [result["answer"] for result in results] == [f"answer to {n} storm={1 if n < 6 else 2}" for n in range(7)]


def test_a_storm_uses_up_no_retries(make_executor: MakeExecutor) -> None:
    rows = [{"question": f"{n} storm=3 fail=1"} for n in range(6)]
    executor = make_executor()
    assert executor.execute_batch("Ask", rows, retry_on_failure=True, max_retries=1).failed == []
    rows = [{"question": f"again {n} storm=1 fail=1"} for n in range(6)]
    assert len(executor.execute_batch("Ask", rows).failed) == 6  # the outage is not tried again unasked


def test_a_provider_with_room_for_two_is_found_out(make_executor: MakeExecutor, make_lm: Any) -> None:
    """The provider turns away what goes beyond two at once; the window narrows until it hardly has to."""
    lm = make_lm(delay=0.01, asynchronous=False, retry_after=0.01)
    model = lm.engine
    answer, turned_away = model.answer, []

    def two_at_once(*arguments: Any) -> Any:
        if model.in_flight > 2:
            turned_away.append(1)
            raise RateLimitError("slow down", status=429, retry_after=0.01)
        return answer(*arguments)

    model.answer = two_at_once
    rows = [{"question": f"q{n}"} for n in range(120)]
    assert make_executor(lm=lm).execute_batch("Ask", rows, max_workers=16, timeout=60).failed == []
    assert len(turned_away) < 200  # sixteen at once, each trying again at once, would be a thousand


def test_nothing_begins_while_the_provider_wants_to_be_left_alone(make_executor: MakeExecutor, make_lm: Any) -> None:
    lm = make_lm(retry_after=0.3, asynchronous=False)
    began: dict[str, float] = {}
    begin = lm.engine.begin

    def noting(request: Any) -> Any:
        question, orders, count = begin(request)
        began.setdefault(question, time.monotonic())
        return question, orders, count

    lm.engine.begin = noting
    rows = [{"question": "0 storm=1"}, *({"question": f"{n} sleep=0.02"} for n in range(1, 12))]
    assert make_executor(lm=lm).execute_batch("Ask", rows, max_workers=2).failed == []
    late = [at - began["0 storm=1"] for question, at in began.items() if not question.startswith(("0 ", "1 "))]
    assert min(late) >= 0.28


def test_the_deadline_ends_the_patience(make_executor: MakeExecutor) -> None:
    executor = make_executor()
    executor.execute_signature("Ask", {"question": "warm"})  # so that the rows' time is spent on the rows
    results = executor.execute_batch("Ask", [{"question": f"{n} storm=999999"} for n in range(4)], timeout=2.0)
    # A row whose last try was under way when its time was up has timed out.
    assert {type(failure.error) for failure in results.failed} <= {RateLimitedError, DeadlineExceeded}
    assert len(results.failed) == 4
    assert all("RateLimitedError" in str(failure.attempts[0].error) for failure in results.failed)
    assert all(len(failure.attempts) > 1 for failure in results.failed)


def test_a_provider_that_asks_for_an_hour_is_not_waited_for(make_executor: MakeExecutor, make_lm: Any) -> None:
    executor = make_executor(lm=make_lm(retry_after=3600.0))
    rows = [{"question": f"{n} storm=1"} for n in range(12)]
    results = executor.execute_batch("Ask", rows, timeout=60, max_workers=4)
    assert len(results.failed) == 12
    assert {type(failure.error) for failure in results.failed} == {RateLimitedError}  # not that the deadline has passed
    assert results.failed[0].error.retry_after == 3600.0  # type: ignore[attr-defined]


def test_a_single_execution_is_turned_away_at_once(make_executor: MakeExecutor) -> None:
    with pytest.raises(RateLimitedError):
        make_executor().execute_signature("Ask", {"question": "storm=1"})


def test_the_executors_own_limit_delays_rows_and_fails_none(make_executor: MakeExecutor, make_lm: Any) -> None:
    lm = make_lm()
    executor = make_executor(lm=lm, requests_per_minute=5, timeout=0.8)
    limits = executor.services.pipeline._attempts._limits
    assert limits is not None
    window = limits._of("scripted/rows").calls
    assert window is not None
    window.seconds = 1.0  # longer than the timeout; a minute would take the test too long
    rows = [{"question": f"q{n}"} for n in range(15)]
    started = time.monotonic()
    assert executor.execute_batch("Ask", rows, max_workers=8).failed == []
    assert time.monotonic() - started >= 2.0
    assert asyncio.run(executor.aexecute_batch("Ask", [{"question": f"z{n}"} for n in range(8)])).failed == []
    assert lm.engine.calls == 23


class TestPace:
    def test_one_storm_halves_the_window_once(self) -> None:
        pace, error = ConcurrencyWindow(16), RateLimitedError("slow down", retry_after=0.0)
        began = time.monotonic()
        for _ in range(16):
            pace.slow_down(error, began)
        assert pace.limit == 8
        pace.slow_down(error, time.monotonic() + 1)
        assert pace.limit == 4
        assert ConcurrencyWindow(1).limit == 1

    def test_success_widens_it_up_to_its_width(self) -> None:
        pace = ConcurrencyWindow(8)
        for _ in range(9):
            pace.slow_down(RateLimitedError("slow down", retry_after=0.0), time.monotonic() + 1)
        assert pace.limit == 2  # one that hangs must not hold up all
        for _ in range(200):
            pace.succeeded()
        assert pace.limit == 8

    def test_without_a_hint_waits_grow_and_stay_bounded(self) -> None:
        pace = ConcurrencyWindow(2)
        waits = [pace.slow_down(RateLimitedError("slow down"), time.monotonic() + 1) for _ in range(30)]
        assert 0.25 <= waits[0] <= 0.5
        assert max(waits) <= 30.0
        assert min(waits[10:]) >= 15.0

    @pytest.mark.parametrize("width", [1, 2, 16])
    def test_a_success_ends_the_growth_of_waits(self, width: int) -> None:
        pace = ConcurrencyWindow(width)
        for _ in range(8):
            assert pace.slow_down(RateLimitedError("slow down"), time.monotonic()) <= 0.5
            pace.succeeded()

    def test_those_who_come_back_go_first(self) -> None:
        pace = ConcurrencyWindow(1)
        first = pace.enter()
        assert first is not None
        order: list[str] = []

        def come_back() -> None:
            assert pace._come_back(first, 5.0)
            order.append("back")
            first.leave()

        def enter() -> None:
            place = pace.enter()
            order.append("new")
            assert place is not None
            place.leave()

        pace._taken += 1  # another execution, so that both have to wait
        threads = [threading.Thread(target=come_back), threading.Thread(target=enter)]
        for thread in threads:
            thread.start()
        while not pace._returning:
            time.sleep(0.001)
        pace._leave()
        for thread in threads:
            thread.join(5)
        assert order == ["back", "new"]

    def test_a_shut_window_lets_nobody_in(self) -> None:
        pace = ConcurrencyWindow(1)
        assert pace.enter() is not None
        waiting = threading.Thread(target=lambda: results.append(pace.enter()))
        results: list[Any] = []
        waiting.start()
        pace.shut()
        waiting.join(5)
        assert results == [None]
        assert asyncio.run(pace.aenter()) is None
