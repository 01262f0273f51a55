"""Deadlines: all callers continue in time, whatever the language model does."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import dspy
import pytest
from dspy import lm15
from pydantic import BaseModel, field_validator

from hokusai_core import BaseSignature, Component, Executor, InputField, OutputField, hookimpl
from hokusai_core.errors import DeadlineExceeded, ExecutionError, HokusaiError, LanguageModelError
from hokusai_core.testing.lm import null_lm
from hokusai_diskcache import DiskCache

MakeExecutor = Callable[..., Executor]

#: Far beyond every timeout here; a test that waits this long has failed.
GUARD = 10.0


@pytest.fixture
def hanging() -> Iterator[Any]:
    """Yield a language model that only blocks, until the end of the test."""
    release = threading.Event()

    def wait(_user: str) -> str:
        release.wait(60)
        return "[[ ## answer ## ]]\nlate"

    yield null_lm(asynchronous=False, raw=wait)
    release.set()


def run(executor: Executor, *, awaited: bool, **arguments: Any) -> Any:
    if awaited:
        return asyncio.run(executor.aexecute_signature("Answer", {"question": "?"}, **arguments))
    return executor.execute_signature("Answer", {"question": "?"}, **arguments)


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
def test_a_hanging_language_model_is_abandoned(make_executor: MakeExecutor, hanging: Any, awaited: bool) -> None:
    executor = make_executor(cache_enabled=False)
    assert run(executor, awaited=awaited)["answer"] == "some answer"  # the first execution loads what the next one has
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"local/Answer took longer than its timeout of 0\.5 s") as caught:
        run(executor, awaited=awaited, lm=hanging, timeout=0.5)
    assert time.monotonic() - started < GUARD
    assert isinstance(caught.value, TimeoutError)
    assert [attempt.outcome for attempt in caught.value.attempts] == ["abandoned"]
    assert caught.value.signature == "local/Answer"
    assert caught.value.execution_id
    assert run(executor, awaited=awaited)["answer"] == "some answer"


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
def test_an_engine_that_stops_at_the_deadline_is_not_abandoned(
    make_executor: MakeExecutor, hanging: Any, awaited: bool
) -> None:
    hanging.engine.stops_at_deadline = True
    with pytest.raises(DeadlineExceeded, match="what was under way was cancelled") as caught:
        run(make_executor(), awaited=awaited, lm=hanging, timeout=0.1)
    assert [attempt.outcome for attempt in caught.value.attempts] == ["cancelled"]


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("inline", [False, True], ids=["on-a-thread", "inline"])
def test_an_engine_may_notice_the_deadline_first(make_executor: MakeExecutor, awaited: bool, inline: bool) -> None:
    def stop(_user: str) -> str:
        time.sleep(0.06)
        raise lm15.TimeoutError("stopped")

    lm = null_lm(asynchronous=False, raw=stop)
    lm.engine.keeps_deadline = inline
    with pytest.raises(DeadlineExceeded, match=r"took longer than its timeout of 0\.05 s") as caught:
        run(make_executor(), awaited=awaited, lm=lm, timeout=0.05, retry_on_failure=True)
    assert not caught.value.retryable
    assert len(caught.value.attempts) == 1


def test_an_awaited_call_is_really_cancelled(make_executor: MakeExecutor) -> None:
    lm = null_lm(delay=30)
    with pytest.raises(DeadlineExceeded, match="was cancelled") as caught:
        run(make_executor(), awaited=True, lm=lm, timeout=0.1)
    assert [attempt.outcome for attempt in caught.value.attempts] == ["cancelled"]
    assert lm.engine.in_flight == 0


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("asynchronous", [False, True], ids=["blocking-lm", "async-lm"])
@pytest.mark.parametrize("timeout", [None, 30.0])
def test_one_that_answers_in_time(
    make_executor: MakeExecutor, awaited: bool, asynchronous: bool, timeout: float | None
) -> None:
    lm = null_lm(asynchronous=asynchronous, delay=0.02)
    assert run(make_executor(), awaited=awaited, lm=lm, timeout=timeout)["answer"] == "some answer"


def test_calls_that_hang_take_no_room_from_others(make_executor: MakeExecutor, hanging: Any) -> None:
    executor = make_executor(max_workers=2)

    def hang(number: int) -> str:
        try:
            executor.execute_signature("Answer", {"question": f"hang {number}"}, lm=hanging, timeout=0.2)
        except DeadlineExceeded as error:
            return error.attempts[0].outcome
        return "answered"

    started = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(hang, range(16))) == ["abandoned"] * 16
        answers = list(pool.map(lambda n: executor.execute_signature("Answer", {"question": str(n)}), range(32)))
    assert time.monotonic() - started < GUARD
    assert {answer["answer"] for answer in answers} == {"some answer"}


def test_tasks_that_hang_take_no_room_from_others(make_executor: MakeExecutor, hanging: Any) -> None:
    executor = make_executor()

    async def main() -> tuple[list[Any], list[Any]]:
        stuck = [
            executor.aexecute_signature("Answer", {"question": f"hang {number}"}, lm=hanging, timeout=0.2)
            for number in range(16)
        ]
        free = [executor.aexecute_signature("Answer", {"question": str(number)}) for number in range(16)]
        return (
            await asyncio.gather(*stuck, return_exceptions=True),
            await asyncio.gather(*free),
        )

    failed, answered = asyncio.run(main())
    assert {type(error) for error in failed} == {DeadlineExceeded}
    assert {answer["answer"] for answer in answered} == {"some answer"}


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_whose_caller_left_serves_again(make_executor: MakeExecutor) -> None:
    executor = make_executor()
    slow, fast = null_lm(asynchronous=False, delay=0.2), null_lm(asynchronous=False)

    async def leave() -> None:
        with pytest.raises(DeadlineExceeded):
            await executor.aexecute_signature("Answer", {"question": "slow"}, lm=slow, timeout=0.05)
        await asyncio.sleep(0.4)  # the thread is done by then, and its answer is discarded
        for number in range(3):
            await executor.aexecute_signature("Answer", {"question": str(number)}, lm=fast, timeout=GUARD)

    asyncio.run(leave())
    assert executor.execute_signature("Answer", {"question": "after"}, lm=fast, timeout=GUARD)["answer"]


def test_an_event_loop_that_is_closed_before_the_call_ends_is_no_trouble(
    make_executor: MakeExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    executor = make_executor()
    slow = null_lm(asynchronous=False, delay=0.2)
    with pytest.raises(DeadlineExceeded):
        run(executor, awaited=True, lm=slow, timeout=0.05)
    while slow.engine.in_flight:
        time.sleep(0.01)
    assert run(executor, awaited=False, lm=null_lm(asynchronous=False), timeout=GUARD)["answer"]
    assert caplog.records == []


def test_a_waiter_whose_event_loop_is_closed_is_no_trouble(
    make_executor: MakeExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    executor = make_executor(lm=null_lm(asynchronous=False, delay=0.3))
    leader = threading.Thread(target=run, args=(executor,), kwargs={"awaited": False})
    leader.start()
    while not executor.services.pipeline._shared_calls.under_way(
        executor.explain("Answer", {"question": "?"}).key or ""
    ):
        time.sleep(0.005)
    with pytest.raises(DeadlineExceeded):
        run(executor, awaited=True, timeout=0.05)
    leader.join(GUARD)
    assert not leader.is_alive()
    assert caplog.records == []


def test_retries_and_waits_are_within_the_deadline(make_executor: MakeExecutor) -> None:
    lm = null_lm(fail_first=1000)
    started = time.monotonic()
    with pytest.raises(LanguageModelError) as caught:
        run(make_executor(), awaited=False, lm=lm, timeout=0.5, retry_on_failure=True, max_retries=1000)
    assert time.monotonic() - started < GUARD
    assert 1 <= lm.engine.calls == len(caught.value.attempts) < 1000


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
def test_retry_after_beyond_the_deadline_is_not_waited_for(make_executor: MakeExecutor, awaited: bool) -> None:
    def refuse(_user: str) -> str:
        raise lm15.RateLimitError("slow down", retry_after=3600)

    started = time.monotonic()
    with pytest.raises(ExecutionError, match="slow down") as caught:
        run(make_executor(), awaited=awaited, lm=null_lm(raw=refuse), timeout=5, retry_on_failure=True)
    assert time.monotonic() - started < 4
    assert len(caught.value.attempts) == 1
    assert caught.value.__cause__ is not None, "why it failed is still known"


def test_a_timeout_of_the_language_models_own_is_told_apart(make_executor: MakeExecutor) -> None:
    def timed_out(_user: str) -> str:
        raise TimeoutError("socket timed out")

    for awaited in (False, True):
        with pytest.raises(LanguageModelError) as caught:
            run(make_executor(), awaited=awaited, lm=null_lm(raw=timed_out), timeout=30)
        assert not isinstance(caught.value, DeadlineExceeded)


def test_a_program_makes_no_call_after_the_deadline(make_executor: MakeExecutor) -> None:
    class Slow(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ask = dspy.Predict("question -> answer")

        def forward(self, question: str) -> Any:
            for _ in range(40):
                answer = self.ask(question=question)
            return answer

    lm = null_lm(asynchronous=False, delay=0.05)
    executor = make_executor(lm=lm)
    executor.register_signature("Slow", Slow(), signature="question -> answer")
    with pytest.raises(DeadlineExceeded):
        executor.execute_signature("Slow", {"question": "?"}, timeout=0.2)
    time.sleep(0.3)
    after = lm.engine.calls
    time.sleep(0.3)
    assert lm.engine.calls == after < 10


def test_cancelling_a_task_cancels_the_call(make_executor: MakeExecutor) -> None:
    lm = null_lm(delay=30)
    executor = make_executor(lm=lm)

    async def main() -> None:
        task = asyncio.ensure_future(executor.aexecute_signature("Answer", {"question": "?"}))
        while not lm.engine.in_flight:  # noqa: ASYNC110  # the engine has no event to wait for
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert lm.engine.in_flight == 0

    asyncio.run(main())
    assert executor.stats()["errors"] == {"CancelledError": 1}
    assert run(executor, awaited=False, lm=null_lm())["answer"]


def test_no_timeout_at_all_needs_no_thread(make_executor: MakeExecutor) -> None:
    seen: list[str] = []

    def note(_user: str) -> str:
        seen.append(threading.current_thread().name)
        return "[[ ## answer ## ]]\nx"

    run(make_executor(), awaited=False, lm=null_lm(raw=note), timeout=None)
    assert seen == [threading.current_thread().name]


def test_an_error_of_the_caller_is_no_timeout(make_executor: MakeExecutor) -> None:
    with pytest.raises(HokusaiError) as caught:
        make_executor().execute_signature("Answer", {}, timeout=1)
    assert not isinstance(caught.value, TimeoutError)


class Mail(BaseModel):
    """What takes a while to be read."""

    subject: str

    @field_validator("subject")
    @classmethod
    def _read_slowly(cls, subject: str) -> str:
        time.sleep(Mail.seconds)
        return subject

    seconds: ClassVar[float] = 0.3


class Draft(BaseSignature):
    """Draft a mail."""

    topic: str = InputField("What about")
    mail: Mail = OutputField("The mail")


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("program", [False, True], ids=["signature", "program"])
def test_an_answer_that_is_read_too_late_is_not_used(
    make_executor: MakeExecutor,
    awaited: bool,
    program: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    lm = null_lm(raw=lambda _user: '[[ ## mail ## ]]\n{"subject": "Hello"}\n\n[[ ## completed ## ]]')
    executor = make_executor(lm=lm, cache=DiskCache(tmp_path))
    executor.register_signature("Draft", dspy.Predict(Draft.to_dspy()) if program else Draft)

    def run_it(timeout: float) -> Any:
        inputs = {"topic": "?"}
        if awaited:
            return asyncio.run(executor.aexecute_signature("Draft", inputs, timeout=timeout))
        return executor.execute_signature("Draft", inputs, timeout=timeout)

    with pytest.raises(DeadlineExceeded, match="took longer than its timeout of") as caught:
        run_it(0.2)
    assert [attempt.outcome for attempt in caught.value.attempts] != ["ok"]
    asked = lm.engine.calls  # none where a busy machine let the deadline pass before
    monkeypatch.setattr(Mail, "seconds", 0.0)
    result = run_it(GUARD)
    assert (result["mail"].subject, result.cached, lm.engine.calls) == ("Hello", None, asked + 1)


class SlowCheck:
    """Takes longer to check outputs than the execution may take."""

    def validate_inputs(self, signature: Any, inputs: Any) -> list[Any]:
        return []

    def validate_outputs(self, signature: Any, inputs: Any, outputs: Any) -> list[Any]:
        time.sleep(0.8)
        return []


class SlowPlugin:
    @hookimpl
    def provide_validators(self) -> list[Component]:
        return [Component("slow", SlowCheck)]


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
def test_an_answer_that_is_checked_too_late_is_not_used(make_executor: MakeExecutor, awaited: bool) -> None:
    executor = make_executor(extra_plugins=[("p", SlowPlugin())])
    run(executor, awaited=awaited, cache="off", timeout=GUARD)  # the first call imports what later ones need
    with pytest.raises(DeadlineExceeded, match="its answer was not ready by then, and is not used") as caught:
        run(executor, awaited=awaited, timeout=0.5)
    assert [attempt.outcome for attempt in caught.value.attempts] == ["failed"]
    assert executor.explain("Answer", {"question": "?"}).hit is None
    assert run(executor, awaited=awaited, timeout=GUARD).cached is None
