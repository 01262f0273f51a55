"""Rows on threads: no row is lost between two threads, and a stuck thread does not hold up the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from hokusai_core.batch.rows import Row
from hokusai_core.batch.scheduler import ThreadScheduler
from hokusai_core.results import ExecutionResult
from hokusai_core.runtime.deadline import DeadlineWatch, Superseded
from hokusai_core.runtime.drivers import Abandoned
from hokusai_core.runtime.window import ConcurrencyWindow, Permit
from hokusai_core.runtime.worker_threads import WorkerThreads


class Scarce(WorkerThreads):
    """Has no thread left when it is asked for the ``refused``-th, the first being 1."""

    def __init__(self, *refused: int) -> None:
        super().__init__()
        self.refused, self.asked = refused, 0

    def submit(self, call: Callable[[], Any]) -> Future[Any]:
        self.asked += 1
        if self.asked in self.refused:
            raise RuntimeError("can't start new thread")
        return super().submit(call)


class Execution:
    """Rows whose number is in ``known`` are known; others run until they may end."""

    resumable = False

    def __init__(self, known: frozenset[int] = frozenset()) -> None:
        self.known = known
        self.may_end = {number: threading.Event() for number in range(4)}

    def prepare(self, row: Row) -> Any:
        return _result(row) if row.index in self.known else None

    def run(self, row: Row, place: Permit) -> Any:
        assert self.may_end[row.index].wait(20)
        return _result(row)

    async def arun(self, row: Row, place: Permit) -> Any:
        raise NotImplementedError

    def ends_batch(self, error: Exception) -> bool:
        return False

    def over(self, row: Row, outcome: Any) -> None:
        pass

    def hidden(self, row: Row) -> frozenset[str]:
        return frozenset()


class Watched(Execution):
    """Each row is a call that may be given up after a moment."""

    resumable = True

    def run(self, row: Row, place: Permit) -> Any:
        assert place.watch is not None
        at = time.monotonic() + 0.05
        place.path = _late()
        next(place.path)
        return place.watch.call(lambda: super(Watched, self).run(row, place), at, place.take_over)


def _late() -> Generator[Any, Any, Any]:
    try:
        yield
    except Abandoned:
        raise TimeoutError("late") from None


def _result(row: Row) -> ExecutionResult:
    return ExecutionResult({"answer": str(row.index)}, execution_id="e", signature="Ask")


def _rows(count: int) -> Iterator[Row]:
    return (Row(number, {}) for number in range(count))


def _start(scheduler: ThreadScheduler, count: int) -> threading.Thread:
    def main() -> None:
        assert scheduler.start(_rows(count))
        scheduler.wait()
        scheduler.close()

    thread = threading.Thread(target=main, daemon=True)
    thread.start()
    return thread


def test_a_row_that_one_thread_hands_out_is_waited_for_by_the_other() -> None:
    """A thread that is done with its row takes one that is known, while the last of the others ends."""
    execution, delivered = Execution(known=frozenset({2})), list[int]()
    handing_out, may_hand_out = threading.Event(), threading.Event()

    def deliver(row: Row, outcome: Any) -> None:
        if row.index == 2:
            handing_out.set()
            assert may_hand_out.wait(20)
        delivered.append(row.index)

    threads = WorkerThreads()
    waiting = _start(ThreadScheduler(execution, ConcurrencyWindow(2), deliver, threads=threads), 3)
    execution.may_end[0].set()
    assert handing_out.wait(20)
    execution.may_end[1].set()
    waiting.join(0.2)
    assert waiting.is_alive()
    may_hand_out.set()
    waiting.join(20)
    assert not waiting.is_alive()
    assert sorted(delivered) == [0, 1, 2]
    threads.close()


@pytest.mark.parametrize("last", [1, 2, 3])
def test_the_threads_that_there_are_do_all_the_work(last: int) -> None:
    execution, over = Execution(), dict[int, Any]()
    for event in execution.may_end.values():
        event.set()
    threads = Scarce(*range(last + 1, 20))
    scheduler = ThreadScheduler(
        execution, ConcurrencyWindow(4), lambda row, outcome: over.update({row.index: outcome}), threads=threads
    )
    waiting = _start(scheduler, 4)
    waiting.join(20)
    assert not waiting.is_alive()
    assert [over[number]["answer"] for number in range(4)] == ["0", "1", "2", "3"]
    threads.close()


def test_without_any_thread_the_caller_does_the_work() -> None:
    execution, over = Execution(), dict[int, Any]()
    for event in execution.may_end.values():
        event.set()
    threads = Scarce(*range(20))
    scheduler = ThreadScheduler(
        execution, ConcurrencyWindow(4), lambda row, outcome: over.update({row.index: outcome}), threads=threads
    )
    assert not scheduler.start(_rows(4))
    scheduler.work(_rows(4))
    scheduler.wait()
    assert [over[number]["answer"] for number in range(4)] == ["0", "1", "2", "3"]
    threads.close()


@pytest.mark.parametrize("refused", [(), (2,), (3,)], ids=["enough threads", "none for the watch", "none to go on"])
def test_a_call_that_is_given_up_ends_its_row_whatever_threads_are_left(refused: tuple[int, ...]) -> None:
    execution, over = Watched(), dict[int, Any]()
    threads = Scarce(*refused)
    scheduler = ThreadScheduler(
        execution, ConcurrencyWindow(1), lambda row, outcome: over.update({row.index: outcome}), threads=threads
    )
    waiting = _start(scheduler, 2)
    execution.may_end[1].set()
    waiting.join(20)
    assert not waiting.is_alive()
    assert bool(over[1])
    assert isinstance(over[0].error, TimeoutError | RuntimeError)
    execution.may_end[0].set()
    threads.close()


class TestWatch:
    def test_a_call_in_time_gives_what_it_gives(self) -> None:
        threads = WorkerThreads()
        watch = DeadlineWatch(threads)
        assert watch.call(lambda: "answer", time.monotonic() + 20, lambda: None) == "answer"
        with pytest.raises(KeyError):
            watch.call(lambda: dict[str, str]()["nothing"], time.monotonic() + 20, lambda: None)
        watch.close()
        threads.close()

    @pytest.mark.parametrize("late", ["answer", "error", "exit"])
    def test_whatever_comes_back_too_late_is_superseded(self, late: str) -> None:
        threads, gone_on = WorkerThreads(), threading.Event()
        watch = DeadlineWatch(threads)

        def work() -> str:
            assert gone_on.wait(20)
            if late == "error":
                raise ValueError
            if late == "exit":
                raise SystemExit
            return late

        with pytest.raises(Superseded):
            watch.call(work, time.monotonic() + 0.02, gone_on.set)
        assert watch.call(lambda: "next", time.monotonic() + 20, lambda: None) == "next"
        watch.close()
        threads.close()

    def test_the_earliest_deadline_comes_first_whenever_it_was_set(self) -> None:
        threads, order = WorkerThreads(), list[str]()
        watch, first_passed = DeadlineWatch(threads), threading.Event()

        def first_is_late() -> None:
            order.append("first call")
            first_passed.set()

        def first() -> None:
            with pytest.raises(Superseded):
                watch.call(lambda: first_passed.wait(20), time.monotonic() + 0.3, first_is_late)

        thread = threading.Thread(target=first)
        thread.start()
        with pytest.raises(Superseded):
            watch.call(lambda: first_passed.wait(20), time.monotonic() + 0.05, lambda: order.append("second call"))
        thread.join(20)
        assert order == ["second call", "first call"]
        watch.close()
        threads.close()
