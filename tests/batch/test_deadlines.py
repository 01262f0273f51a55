"""A deadline frees its slot, also where nothing can stop the thread under it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from hokusai_core import Executor
from hokusai_core.errors import DeadlineExceeded

MakeExecutor = Callable[..., Executor]
#: Seconds that a call hangs: a deadline that does nothing shows by that, however slow the machine is.
HANG = 60
HANGING = [{"question": f"{n} hang={HANG}"} for n in range(16)]


@pytest.mark.parametrize("asynchronous", [True, False], ids=["async", "sync-only"])
def test_sixteen_hanging_rows_on_four_workers(make_executor: MakeExecutor, make_lm: Any, asynchronous: bool) -> None:
    executor = make_executor(lm=make_lm(asynchronous=asynchronous), max_workers=4)
    started = time.monotonic()
    results = executor.execute_batch("Ask", HANGING, timeout=0.2)
    assert time.monotonic() - started < HANG  # no row has waited for its call
    assert [type(failure.error) for failure in results.failed] == [DeadlineExceeded] * 16
    for failure in results.failed:
        with pytest.raises(TimeoutError):
            failure["answer"]
        assert failure.attempts[0].outcome == "abandoned"
        assert failure.attempts[0].latency < HANG
    assert executor.execute_batch("Ask", [{"question": "and now"}])[0]["answer"] == "answer to and now"


def test_sixteen_hanging_futures_on_four_workers(make_executor: MakeExecutor, make_lm: Any) -> None:
    executor = make_executor(lm=make_lm(asynchronous=False), max_workers=4)
    futures = [executor.execute_async("Ask", row, timeout=0.2) for row in HANGING]
    for future in futures:
        with pytest.raises(DeadlineExceeded):  # and not that of `result`
            future.result(HANG)
    assert executor.execute_async("Ask", {"question": "and now"}).result(HANG)["answer"] == "answer to and now"


@pytest.mark.parametrize("asynchronous", [True, False], ids=["async", "sync-only"])
def test_sixteen_hanging_rows_on_an_event_loop(make_executor: MakeExecutor, make_lm: Any, asynchronous: bool) -> None:
    lm = make_lm(asynchronous=asynchronous)
    executor = make_executor(lm=lm, max_workers=4)
    results = asyncio.run(executor.aexecute_batch("Ask", HANGING, timeout=0.2))
    assert len(results.failed) == 16
    wanted = "cancelled" if asynchronous else "abandoned"
    assert {failure.attempts[0].outcome for failure in results.failed} == {wanted}
    assert lm.engine.cancelled == (16 if asynchronous else 0)
    assert asyncio.run(executor.aexecute_batch("Ask", [{"question": "and now"}]))[0]["answer"] == "answer to and now"


def test_a_row_that_hangs_does_not_cost_its_neighbours(make_executor: MakeExecutor, make_lm: Any) -> None:
    executor = make_executor(lm=make_lm(asynchronous=False), max_workers=2)
    rows = [{"question": f"{n} hang={HANG}" if n % 3 == 0 else f"{n}"} for n in range(12)]
    results = executor.execute_batch("Ask", rows, timeout=1.0)
    assert [failure.index for failure in results.failed] == [0, 3, 6, 9]
