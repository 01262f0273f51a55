"""Closing an executor, and what happens to one that is never closed."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from hokusai_core import Component, Executor, LanguageModel, hookimpl
from hokusai_core.errors import ClosedError, ComponentNotFoundError
from hokusai_core.execution.observers import ObserverWarning
from hokusai_core.plugin_api import CacheEntry, MemoryCache
from hokusai_core.runtime.worker_threads import WorkerThreads
from hokusai_core.testing.lm import null_lm

MakeExecutor = Callable[..., Executor]


def call_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "hokusai-call"}


def eventually(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 10
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def test_a_closed_executor_says_so(make_executor: MakeExecutor) -> None:
    executor = make_executor()
    executor.close()
    executor.close()
    uses: list[Callable[[], Any]] = [
        lambda: executor.execute_signature("Answer", {"question": "?"}),
        lambda: asyncio.run(executor.aexecute_signature("Answer", {"question": "?"})),
        lambda: executor.register_signature("X", "a -> b"),
        lambda: executor.check_inputs("Answer", {"question": "?"}),
        lambda: executor.explain("Answer", {"question": "?"}),
        lambda: executor.list_signatures(),
    ]
    for use in uses:
        with pytest.raises(ClosedError, match="closed"):
            use()
    assert "closed=True" in repr(executor)
    assert isinstance(ClosedError("x"), RuntimeError)


def test_figures_and_settings_can_be_read_after_closing(make_executor: MakeExecutor) -> None:
    for executor in (make_executor(), make_executor(lm=None)):
        executor.close()
        assert executor.stats()["executions"] == 0
        assert executor.config.value("timeout") == 300.0
        assert executor.flush(0.1) is True


def test_everything_is_closed_and_every_error_told() -> None:
    closed: list[str] = []

    class Part:
        tier, secret = "disk", b"0" * 32

        def __init__(self, name: str) -> None:
            self.name = name

        def close(self) -> None:
            closed.append(self.name)
            raise OSError(f"cannot close {self.name}")

        def available(self) -> str | None:
            return None

        def load(self, name: str, **options: Any) -> LanguageModel:
            return LanguageModel(null_lm())

        def status(self) -> dict[str, Any]:
            return {}

        def record(self, event: Any) -> None: ...

        def flush(self, timeout: float | None = None) -> bool:
            return True

        async def aflush(self, timeout: float | None = None) -> bool:
            return True

    class Plugin:
        @hookimpl
        def provide_language_models(self) -> list[Component]:
            return [Component(name, lambda name=name: Part(name)) for name in ("one", "two")]

    executor = Executor(plugins=[], extra_plugins=[Plugin()], trackers={"a": Part("a"), "b": Part("b")})
    executor.register_signature("Answer", "question -> answer")
    for name in ("one", "two"):
        executor.execute_signature("Answer", {"question": "?"}, lm=name)
    with pytest.raises(ExceptionGroup) as caught, pytest.warns(ObserverWarning, match="cannot close [ab]") as warned:
        executor.close()
    assert (closed, len(warned)) == (["a", "b", "one", "two"], 2)
    texts = [str(error) for group in caught.value.exceptions
             for error in (group.exceptions if isinstance(group, ExceptionGroup) else [group])]  # fmt: skip
    assert texts == ["cannot close one", "cannot close two"]
    executor.close()


def test_a_block_closes_and_lets_errors_through() -> None:
    with pytest.raises(KeyError), Executor(plugins=[]) as executor:
        raise KeyError("mine")
    assert "closed=True" in repr(executor)


def test_threads_end_with_the_executor(make_executor: MakeExecutor) -> None:
    before = call_threads()
    executor = make_executor()
    for number in range(5):
        executor.execute_signature("Answer", {"question": str(number)})
    assert len(call_threads() - before) == 1, "one caller needs one thread"
    executor.close()
    assert eventually(lambda: not call_threads() - before)


def test_a_call_under_way_is_finished_although_the_executor_is_closed(make_executor: MakeExecutor) -> None:
    before = call_threads()
    lm = null_lm(delay=0.2)
    executor = make_executor(lm=lm)
    outcome: list[Any] = []
    caller = threading.Thread(target=lambda: outcome.append(executor.execute_signature("Answer", {"question": "?"})))
    caller.start()
    assert eventually(lambda: lm.engine.in_flight == 1)
    executor.close()
    caller.join(10)
    assert outcome[0]["answer"] == "some answer"
    assert eventually(lambda: not call_threads() - before)


def test_executors_that_nobody_closes_leave_no_threads_behind() -> None:
    before = call_threads()
    gone = []
    for number in range(20):
        executor = Executor(plugins=[], lm=null_lm())
        executor.register_signature("Answer", "question -> answer")
        executor.execute_signature("Answer", {"question": str(number)})
        gone.append(weakref.ref(executor))
    del executor
    gc.collect()
    assert [reference() for reference in gone] == [None] * 20
    assert eventually(lambda: not call_threads() - before)


def test_a_pool_keeps_so_many_idle_threads_and_no_more() -> None:
    before = call_threads()
    pool = WorkerThreads(keep=2)
    barrier = threading.Barrier(9)
    futures = [pool.submit(lambda: barrier.wait(10)) for _ in range(8)]
    barrier.wait(10)
    assert sorted(future.result(10) for future in futures) == sorted(future.result(10) for future in futures)
    assert eventually(lambda: len(call_threads() - before) == 2)
    pool.close()
    assert eventually(lambda: not call_threads() - before)


def test_what_a_pool_runs_may_raise_anything() -> None:
    pool = WorkerThreads()
    for error in (ValueError("x"), SystemExit(3), KeyboardInterrupt()):

        def fail(error: BaseException = error) -> None:
            raise error

        assert pool.submit(fail).exception(10) is error
    future = pool.submit(lambda: 5)
    assert not future.cancel()
    assert future.result(10) == 5
    pool.close()


def test_a_pool_keeps_nothing_of_the_last_call_alive() -> None:
    class Data:
        pass

    pool, data = WorkerThreads(), Data()
    reference = weakref.ref(data)
    pool.submit(lambda data=data: id(data)).result(10)  # type: ignore[misc]
    del data
    assert eventually(lambda: gc.collect() >= 0 and reference() is None)
    pool.close()


def test_an_executor_that_cannot_be_made_closes_what_it_has_made() -> None:
    closed: list[str] = []

    class Kept:
        def record(self, event: Any) -> None: ...

        def flush(self, timeout: float | None = None) -> bool:
            return True

        async def aflush(self, timeout: float | None = None) -> bool:
            return True

        def status(self) -> dict[str, Any]:
            return {"accepted": 0, "delivered": 0, "backlog": 0, "last_error": None}

        def close(self) -> None:
            closed.append("tracker")

    class Plugin:
        @hookimpl
        def provide_trackers(self) -> Any:
            return [Component("kept", Kept, "Closes.")]

    with pytest.raises(ComponentNotFoundError):
        Executor(plugins=[], extra_plugins=[Plugin()], trackers=["kept", "missing"])
    assert closed == ["tracker"]


def test_no_trackers_by_name_are_no_trackers(make_executor: MakeExecutor) -> None:
    assert make_executor(trackers={}).stats()["trackers"] == {}


class _Stubborn:
    """A tracker that cannot be closed."""

    def __init__(self, message: str = "still writing") -> None:
        self.message = message
        self.closed = 0

    def record(self, event: Any) -> None:
        """Take it."""

    def flush(self, timeout: float | None = None) -> bool:
        return True

    async def aflush(self, timeout: float | None = None) -> bool:
        return True

    def status(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        self.closed += 1
        raise OSError(self.message)


def test_an_executor_is_an_asynchronous_context_manager_too() -> None:
    async def use() -> Executor:
        async with Executor(lm=null_lm(), plugins=[]) as executor:
            executor.register_signature("Answer", "question -> answer")
            assert (await executor.aexecute_signature("Answer", {"question": "?"}))["answer"]
        return executor

    with pytest.raises(ClosedError):
        asyncio.run(use()).list_signatures()


def test_closing_does_not_hide_the_error_of_the_block() -> None:
    def fail(executor: Executor) -> None:
        with executor:
            raise KeyError("first")

    async def afail(executor: Executor) -> None:
        async with executor:
            raise KeyError("first")

    for use in (fail, lambda executor: asyncio.run(afail(executor))):
        with pytest.raises(KeyError, match="first") as caught:
            use(Executor(lm=null_lm(), plugins=[], trackers={"stubborn": _Stubborn()}))
        assert "OSError: still writing" in "".join(caught.value.__notes__)


class _StubbornCache(MemoryCache):
    """A persistent tier that cannot be closed."""

    tier, secret = "stubborn", b"0123456789abcdef"

    async def aget(self, key: str) -> CacheEntry | None:
        return None

    async def aput(self, entry: CacheEntry) -> None:
        """Drop it."""

    def close(self) -> None:
        raise OSError("locked")


@pytest.mark.filterwarnings("error::hokusai_core.execution.observers.ObserverWarning")
def test_a_part_that_cannot_be_closed_keeps_no_other_open() -> None:
    first, second = _Stubborn("one"), _Stubborn("two")
    trackers = {"first": first, "second": second}
    executor = Executor(lm=null_lm(), plugins=[], trackers=trackers, cache=_StubbornCache(1, 1))
    with pytest.raises(ExceptionGroup, match="closing the executor") as caught:
        executor.close()
    assert (first.closed, second.closed) == (1, 1)
    assert "locked" in str(caught.value.exceptions[-1])
    assert caught.value.exceptions[-1].__notes__ == ["while closing the cache of the executor"]
    executor.close()  # it is closed nevertheless


def test_a_closed_executor_is_refused_at_the_beginning_of_its_block() -> None:
    async def enter(executor: Executor) -> None:
        async with executor:
            pytest.fail("the block was entered")

    executor = Executor(lm=null_lm(), plugins=[])
    executor.close()
    with pytest.raises(ClosedError), executor:
        pytest.fail("the block was entered")
    with pytest.raises(ClosedError):
        asyncio.run(enter(executor))


@pytest.mark.parametrize("write", [pickle.dumps, copy.copy, copy.deepcopy])
def test_an_executor_says_why_it_cannot_be_pickled(write: Any) -> None:
    with Executor(lm=null_lm(), plugins=[]) as executor, pytest.raises(TypeError, match="make an executor where it is"):
        write(executor)
