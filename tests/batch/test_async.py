"""Batches and futures on event loops and threads, many of each in one process."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dspy
import pytest

from hokusai_core import Executor, SignatureChain
from hokusai_core.errors import BatchError, ClosedError, DeadlineExceeded, InputError

MakeExecutor = Callable[..., Executor]
ENGINES = pytest.mark.parametrize("asynchronous", [True, False], ids=["async", "sync-only"])


def ask(count: int, text: str = "q{}") -> list[dict[str, str]]:
    return [{"question": text.format(number)} for number in range(count)]


@ENGINES
def test_a_batch_on_the_callers_event_loop(make_executor: MakeExecutor, make_lm: Any, asynchronous: bool) -> None:
    lm = make_lm(asynchronous=asynchronous, delay=0.01)

    async def main() -> Any:
        beats = 0

        async def beat() -> None:
            nonlocal beats
            while True:
                await asyncio.sleep(0.005)
                beats += 1

        heart = asyncio.create_task(beat())
        results = await make_executor(lm=lm).aexecute_batch("Ask", ask(60), max_workers=10)
        heart.cancel()
        assert beats >= 5  # the loop was free meanwhile
        return results

    assert [result["answer"] for result in asyncio.run(main())] == [f"answer to q{n}" for n in range(60)]
    assert lm.engine.most_in_flight == 10


def test_an_asynchronous_source(make_executor: MakeExecutor) -> None:
    async def rows() -> AsyncIterator[dict[str, str]]:
        for row in ask(10):
            await asyncio.sleep(0.001)
            yield row

    results = asyncio.run(make_executor().aexecute_batch("Ask", rows()))
    assert [result["answer"] for result in results] == [f"answer to q{n}" for n in range(10)]


def test_errors_of_rows_and_of_the_source(make_executor: MakeExecutor) -> None:
    async def rows() -> AsyncIterator[Any]:
        yield {"question": "q sleep=0.02"}
        raise OSError("the stream broke")

    executor = make_executor()
    with pytest.raises(OSError, match="the stream broke") as caught:
        asyncio.run(executor.aexecute_batch("Ask", rows()))
    assert caught.value.result[0]["answer"] == "answer to q sleep=0.02"  # type: ignore[attr-defined]
    with pytest.raises(BatchError, match="1 of 2 rows"):
        asyncio.run(executor.aexecute_batch("Ask", [{}, {"question": "?"}], on_error="raise"))


def test_cancelling_a_batch_cancels_every_call(make_executor: MakeExecutor, make_lm: Any, tmp_path: Path) -> None:
    lm = make_lm()
    executor = make_executor(lm=lm)
    path = tmp_path / "j"

    async def main() -> None:
        rows = [{"question": "quick"}, *ask(100, "{} hang=60")]
        work = asyncio.create_task(executor.aexecute_batch("Ask", rows, max_workers=7, journal=path))
        while lm.engine.calls < 8:  # noqa: ASYNC110  # the language model has no event for this
            await asyncio.sleep(0.005)
        work.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await work
        assert f"journal={str(path)!r} to go on with the rest" in caught.value.__notes__[0]
        assert caught.value.result[0]["answer"] == "answer to quick"  # type: ignore[attr-defined]
        assert (lm.engine.cancelled, lm.engine.in_flight, lm.engine.calls) == (7, 0, 8)

    asyncio.run(main())
    assert executor.execute_batch("Ask", ask(2), journal=path).failed == []  # the journal was given back


def test_many_event_loops_and_threads_at_once(make_executor: MakeExecutor, make_lm: Any) -> None:
    executor = make_executor(lm=make_lm(delay=0.002), cache_enabled=False)
    bare = make_executor(lm=make_lm(delay=0.002, asynchronous=False), cache_enabled=False)

    def check(results: Any, tag: str) -> None:
        assert [result["answer"] for result in results] == [f"answer to {tag}{n}" for n in range(25)]

    def work(number: int) -> None:
        chosen, tag = (executor, bare)[number % 2], f"{number}-"
        rows = ask(25, tag + "{}")
        kind = number % 5
        if kind == 0:
            check(chosen.execute_batch("Ask", rows, max_workers=5), tag)
        elif kind == 1:
            check(chosen.execute_batch("Ask", rows, max_workers=70), tag)
        elif kind == 2:
            check(asyncio.run(chosen.aexecute_batch("Ask", rows, max_workers=5)), tag)
        elif kind == 3:
            check([outcome for _, outcome in sorted(chosen.iter_batch("Ask", rows, max_workers=5))], tag)
        else:
            futures = [chosen.execute_async("Ask", row) for row in rows]
            check([future.result(20) for future in futures], tag)

    with ThreadPoolExecutor(15) as pool:
        list(pool.map(work, range(30)))


def test_a_batch_from_inside_a_running_event_loop(make_executor: MakeExecutor) -> None:
    executor = make_executor()

    async def main() -> Any:
        return executor.execute_batch("Ask", ask(10), max_workers=70)  # blocks this loop, but still ends

    assert len(asyncio.run(main()).succeeded) == 10


@pytest.mark.parametrize("way", ["threads", "event loop", "chain"])
def test_what_blocks_a_loop_waits_for_none_of_its_tasks(make_executor: MakeExecutor, make_lm: Any, way: str) -> None:
    """Such a task would go on only once the waiting is over."""
    lm = make_lm()
    executor = make_executor(lm=lm, timeout=3)
    question = {"question": "same sleep=0.05"}
    chain = SignatureChain().add("Ask", question, name="one").add("Ask", {"question": "two"}, name="two")

    async def main() -> Any:
        task = asyncio.create_task(executor.aexecute_signature("Ask", question))
        while not lm.engine.calls:  # noqa: ASYNC110  # the language model has no event for this
            await asyncio.sleep(0.001)
        if way == "chain":
            blocked = executor.execute_chain(chain).steps["one"]
        else:
            blocked = executor.execute_batch("Ask", [question], max_workers=4 if way == "threads" else 70)[0]
        return blocked, await task

    blocked, task = asyncio.run(main())
    assert blocked["answer"] == task["answer"] == "answer to same sleep=0.05"


class TestFutures:
    def test_a_future_has_the_result(self, make_executor: MakeExecutor) -> None:
        assert make_executor().execute_async("Ask", {"question": "q"}).result(10)["answer"] == "answer to q"

    def test_as_many_run_at_once_as_there_are_workers(self, make_executor: MakeExecutor, make_lm: Any) -> None:
        lm = make_lm(delay=0.01)
        executor = make_executor(lm=lm, max_workers=3)
        futures = [executor.execute_async("Ask", row) for row in ask(20)]
        assert [future.result(10)["answer"] for future in futures] == [f"answer to q{n}" for n in range(20)]
        assert lm.engine.most_in_flight == 3

    def test_what_has_not_begun_can_be_cancelled(self, make_executor: MakeExecutor, make_lm: Any) -> None:
        lm = make_lm(asynchronous=False)
        executor = make_executor(lm=lm, max_workers=1)
        first = executor.execute_async("Ask", {"question": "1 hang=60"})
        while not lm.engine.calls:
            time.sleep(0.005)
        second, third = (
            executor.execute_async("Ask", {"question": "2"}),
            executor.execute_async("Ask", {"question": "3"}),
        )
        assert second.cancel()
        assert not first.cancel()
        lm.engine.free.set()
        assert third.result(10)["answer"] == "answer to 3"
        with pytest.raises(CancelledError):
            second.result()
        assert list(lm.engine.seen) == ["1 hang=60", "3"]

    def test_errors_come_with_the_result(self, make_executor: MakeExecutor) -> None:
        executor = make_executor()
        with pytest.raises(InputError):
            executor.execute_async("Ask", {"qestion": "?"}).result(10)
        with pytest.raises(DeadlineExceeded):
            executor.execute_async("Ask", {"question": "hang=60"}, timeout=0.1).result(10)
        with pytest.raises(TypeError):
            executor.execute_async("Ask", {"question": "?"}, tiemout=1)  # type: ignore[call-overload]
        executor.close()
        with pytest.raises(ClosedError):
            executor.execute_async("Ask", {"question": "?"})

    def test_the_timeout_counts_from_the_beginning(self, make_executor: MakeExecutor) -> None:
        executor = make_executor(max_workers=1)
        futures = [executor.execute_async("Ask", {"question": f"{n} sleep=0.1"}, timeout=5) for n in range(8)]
        assert all(future.result(20) for future in futures)

    def test_a_task_that_waits_for_its_own_tasks(self, make_executor: MakeExecutor) -> None:
        """Its parent holds the only place: a pool that let it wait would never end."""
        executor = make_executor(max_workers=1)

        class Nested(dspy.Module):  # type: ignore[misc]  # dspy has no types
            def forward(self, question: str) -> Any:
                inner = executor.execute_async("Ask", {"question": f"inner {question}"})
                return dspy.Prediction(answer=inner.result(10)["answer"])

        executor.register_signature("Nested", Nested(), signature="question -> answer")
        result = executor.execute_async("Nested", {"question": "q"}).result(20)
        assert result["answer"] == "answer to inner q"


def test_closing_the_executor_ends_a_batch_on_its_event_loop(make_executor: MakeExecutor, make_lm: Any) -> None:
    lm = make_lm()
    executor = make_executor(lm=lm)
    errors: list[Exception] = []

    def run() -> None:
        try:
            executor.execute_batch("Ask", ask(100, "{} hang=60"), max_workers=70)
        except ClosedError as error:
            errors.append(error)

    waiting = threading.Thread(target=run)
    waiting.start()
    while lm.engine.in_flight < 70:
        time.sleep(0.005)
    executor.close()
    waiting.join(20)
    assert not waiting.is_alive()
    assert len(errors) == 1
