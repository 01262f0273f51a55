"""Executors side by side, and hosts with a DSPy of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dspy
import pytest
from dspy.clients import base_lm
from dspy.utils.callback import BaseCallback

from hokusai_core import Executor, hookimpl
from hokusai_core.testing.lm import null_lm

MakeExecutor = Callable[..., Executor]


class Hearing:
    def __init__(self) -> None:
        self.models: list[str] = []

    @hookimpl
    def on_execution_finished(self, event: Any) -> None:
        self.models.append(event.model)


@pytest.mark.usefixtures("untouched")
def test_two_executors_never_meet(make_executor: MakeExecutor) -> None:
    ears = Hearing(), Hearing()
    executors = [
        make_executor(
            lm=null_lm(model=f"null/{number}", answers={"answer": f"answer of {number}"}, delay=0.002),
            extra_plugins=[ears[number]],
            namespace=f"tenant-{number}",
            timeout=10 + number,
        )
        for number in range(2)
    ]
    for number, executor in enumerate(executors):
        executor.register_signature("Own", f"question -> own{number}")

    def on_thread(number: int) -> None:
        executor = executors[number % 2]
        result = executor.execute_signature("Answer", {"question": str(number)})
        assert (result["answer"], result.model) == (f"answer of {number % 2}", f"null/{number % 2}")
        assert list(executor.execute_signature("Own", {"question": "?"})) == [f"own{number % 2}"]

    async def on_loop() -> None:
        async def one(number: int) -> None:
            result = await executors[number % 2].aexecute_signature("Answer", {"question": f"a{number}"})
            assert result["answer"] == f"answer of {number % 2}"

        await asyncio.gather(*(one(number) for number in range(40)))

    with ThreadPoolExecutor(8) as pool:
        loop = pool.submit(lambda: asyncio.run(on_loop()))
        list(pool.map(on_thread, range(40)))
        loop.result(20)
    for number in range(2):
        assert set(ears[number].models) == {f"null/{number}"}
        assert executors[number].stats()["executions"] == 60
        assert executors[number].config.value("timeout") == 10 + number
    executors[0].close()
    assert executors[1].execute_signature("Answer", {"question": "?"})["answer"] == "answer of 1"


class Heard(BaseCallback):
    def __init__(self) -> None:
        self.calls: list[str] = []

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self.calls.append(instance.model)


@pytest.fixture
def host() -> Iterator[Any]:
    """Yield a host's language model, configured for the process as hosts do; all is put back afterwards."""
    before = dict(dspy.settings.config)
    lm, heard = null_lm(model="null/host"), Heard()

    def configure() -> None:
        dspy.configure(lm=lm, track_usage=True, callbacks=[heard], temperature_of_the_host=0.3)

    # Only the thread that configured DSPy first may do so again; each test run shares one process.
    configure()
    yield lm, heard
    dspy.configure(**{name: before.get(name) for name in ("lm", "track_usage", "callbacks")})
    dspy.settings.configure(temperature_of_the_host=None)


def test_a_host_finds_its_dspy_as_it_left_it(make_executor: MakeExecutor, host: Any) -> None:
    """Requests of a web server, each on a task or in a thread, with settings of its own."""
    lm, heard = host
    executor = make_executor(lm=None)
    settings, history = dict(dspy.settings.config), len(base_lm.GLOBAL_HISTORY)

    async def request(number: int) -> None:
        own = null_lm(model=f"null/request-{number}")
        with dspy.context(lm=own, trace=[], request_id=number):
            inside = dict(dspy.settings.config)
            with dspy.track_usage() as usage:
                result = await executor.aexecute_signature("Answer", {"question": str(number)}, cache="off")
                blocking = await asyncio.to_thread(
                    executor.execute_signature, "Answer", {"question": f"t{number}"}, cache="off"
                )
            assert result.model == blocking.model == f"null/request-{number}"
            assert dspy.settings.request_id == number
            assert dspy.settings.trace == []
            assert dict(dspy.settings.config) == inside
            assert list(usage.get_total_tokens()) == [f"null/request-{number}"], "the host's own count goes on"
        assert dspy.settings.lm is lm

    async def serve() -> None:
        await asyncio.gather(*(request(number) for number in range(20)))

    asyncio.run(serve())
    assert executor.execute_signature("Answer", {"question": "?"}).model == "null/host"
    assert dict(dspy.settings.config) == settings
    assert len(base_lm.GLOBAL_HISTORY) == history
    assert lm.history == []
    assert len(heard.calls) == 41, "the host's callbacks are notified of every call, once"


def test_a_hosts_own_predictors_work_beside(make_executor: MakeExecutor, host: Any) -> None:
    lm, _ = host
    executor = make_executor(lm=null_lm(model="null/ours"))
    predict = dspy.Predict("question -> answer")

    def both(number: int) -> tuple[str, str]:
        with dspy.context(lm=lm):
            mine = predict(question=str(number)).answer
        return mine, executor.execute_signature("Answer", {"question": str(number)}).model

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(both, range(20))) == {("some answer", "null/ours")}
    assert lm.engine.calls == 20


@pytest.mark.slow
@pytest.mark.usefixtures("untouched")
def test_many_executions_grow_nothing(make_executor: MakeExecutor) -> None:
    import gc
    import tracemalloc

    executor = make_executor(cache_entries=50)
    threads = threading.active_count()

    def execute(start: int, count: int) -> None:
        for number in range(start, start + count):
            executor.execute_signature("Answer", {"question": f"question {number}"}, timeout=None)

    execute(0, 500)
    gc.collect()
    tracemalloc.start()
    try:
        execute(500, 500)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        execute(1000, 9000)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 200_000, "bytes for 9,000 executions"
    assert len(executor.services.plans._plans) == 1
    assert executor.services.pipeline._shared_calls._calls == {}
    assert threading.active_count() <= threads + 2  # the call's, and the loop's


def test_plans_are_not_kept_without_bound(make_executor: MakeExecutor) -> None:
    executor = make_executor(cache_enabled=False)
    for number in range(600):
        executor.execute_signature("Answer", {"question": "?"}, lm=null_lm(model=f"null/{number}"), timeout=None)
    assert len(executor.services.plans._plans) <= 512
