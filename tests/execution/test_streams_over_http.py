"""Streams of a provider over HTTP, through DSPy's own client, and what a server does to them."""

from __future__ import annotations

import time
from collections.abc import Callable

import dspy
import pytest

from hokusai_core import Budget, Executor
from hokusai_core.errors import DeadlineExceeded, ExecutionError, LanguageModelError
from hokusai_core.testing.chat_server import ChatServer
from hokusai_core.types import StreamDelta, StreamEvent

MakeExecutor = Callable[..., Executor]
ANSWER = "[[ ## answer ## ]]\nOne two three four five six seven.\n\n[[ ## score ## ]]\n3\n\n[[ ## completed ## ]]"


def executor_for(make_executor: MakeExecutor, server: ChatServer, model: str = "ok") -> Executor:
    lm = dspy.LM(f"openai/{model}", api_base=server.base_url, api_key="canary-key-123", engine="lm15", cache=False)
    executor = make_executor(lm=lm)
    executor.register_signature("Ask", "question -> answer, score: int")
    return executor


def until_error(executor: Executor, **options: object) -> tuple[list[StreamEvent], ExecutionError | None]:
    events: list[StreamEvent] = []
    try:
        for event in executor.stream_signature("Ask", {"question": "?"}, **options):  # type: ignore[arg-type]
            events.append(event)  # kept where the next raises
    except ExecutionError as error:
        return events, error
    return events, None


def test_words_come_as_the_server_sends_them(make_executor: MakeExecutor) -> None:
    with ChatServer(ANSWER, token_delay=0.01) as server:
        events, error = until_error(executor_for(make_executor, server))
    assert error is None
    texts = [event.text for event in events if isinstance(event, StreamDelta)]
    assert "".join(texts) == "One two three four five six seven."
    assert len(texts) > 4
    assert events[-1].kind == "finished"
    assert events[-1].result.usage.output_tokens == 40  # as the server says at the end of the stream


@pytest.mark.parametrize("model", ["stream-half", "stream-reset", "stream-error", "stream-garbage", "status-500"])
def test_a_stream_that_breaks_is_one_paid_call_and_one_error(model: str, make_executor: MakeExecutor) -> None:
    budget = Budget(calls=3)
    with ChatServer(ANSWER) as server:
        events, error = until_error(executor_for(make_executor, server, model), budget=budget)
        assert server.counts.requests == 1
    assert isinstance(error, LanguageModelError)
    assert "Ask" in str(error)
    assert "canary" not in str(error)
    assert budget.spent.calls == 1
    assert [event.kind for event in events if event.kind in ("partial", "finished")] == []


def test_a_stream_that_breaks_may_be_tried_again(make_executor: MakeExecutor) -> None:
    with ChatServer(ANSWER) as server:
        executor = executor_for(make_executor, server, "stream-half")
        _, error = until_error(executor, retry_on_failure=True, max_retries=1)
        assert server.counts.requests == 2
    assert isinstance(error, LanguageModelError)
    assert "broke off in the middle" in str(error)


def test_a_stream_that_falls_silent_ends_by_the_deadline(make_executor: MakeExecutor) -> None:
    with ChatServer(ANSWER) as server:
        _, error = until_error(executor_for(make_executor, server, "stream-silent"), timeout=2)
    assert isinstance(error, DeadlineExceeded)


def test_the_server_sees_that_a_stream_is_left(make_executor: MakeExecutor) -> None:
    with ChatServer(ANSWER, token_delay=0.05) as server:
        executor = executor_for(make_executor, server)
        with executor.stream_signature("Ask", {"question": "?"}) as events:
            next(event for event in events if event.kind == "delta")
        until = time.monotonic() + 5
        while not server.counts.cancelled and time.monotonic() < until:
            time.sleep(0.01)
        assert server.counts.cancelled == 1
