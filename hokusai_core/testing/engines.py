"""The conformance suite for engines of chat completions: subclass ``EngineConformance`` in your tests.

A server on loopback answers properly, refuses, breaks off, drips and stays silent. The suite holds what a user of the
executor may rely on, whatever the client.

Example::

    class TestMyEngine(EngineConformance):
        @pytest.fixture
        def make_lm(self):
            return lambda base_url, model, key: dspy.LM(f"my/{model}", engine=MyEngine(base_url, model, key))

        @pytest.fixture
        def make_engines(self):
            return lambda base_url, model, key: (MyEngine(base_url, model, key), MyAsyncEngine(base_url, model, key))
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Literal

import pytest

from hokusai_core.dspy_bridge.engine_calls import request_of
from hokusai_core.dspy_bridge.error_map import translate_error
from hokusai_core.errors import (
    AnswerCutOff,
    AnswerRefused,
    DeadlineExceeded,
    ExecutionError,
    LanguageModelError,
    LanguageModelRefused,
    PromptTooLong,
    RateLimitedError,
)
from hokusai_core.executor import Executor
from hokusai_core.testing.capabilities import Conformance
from hokusai_core.testing.chat_behaviours import RETRY_AFTER_DATE, RETRY_AFTER_SECONDS
from hokusai_core.testing.chat_server import ChatServer
from hokusai_core.testing.event_loops import run_watched

__all__ = ["EngineConformance"]

Mode = Literal["sync", "async"]
Ask = Callable[..., Any]

_KEY = "sk-conformance-0123456789"
_INPUTS = {"question": "How many strings does a violin have?"}
#: Model, error, whether trying again may help.
_FAILURES: list[tuple[str, type[ExecutionError], bool | None]] = [
    ("status-401", LanguageModelRefused, False),
    ("status-400", LanguageModelError, False),
    ("status-500", LanguageModelError, True),
    ("status-503", LanguageModelError, True),
    ("retry-after", RateLimitedError, True),
    ("context-length", PromptTooLong, False),
    ("error-in-answer", LanguageModelError, None),
    ("broken-json", LanguageModelError, None),
    ("html", LanguageModelError, None),
    ("empty", LanguageModelError, None),
    ("no-choices", ExecutionError, None),
    ("half-body", LanguageModelError, None),
    ("short-length", LanguageModelError, None),
    ("disconnect", LanguageModelError, None),
    ("reset", LanguageModelError, None),
    ("redirect", ExecutionError, None),
    ("content-filter", AnswerRefused, None),
    ("length", AnswerCutOff, None),
]


class EngineConformance(Conformance):
    """Tests that every engine passes, through ``execute_signature`` and ``aexecute_signature``.

    The fixture ``make_lm`` returns a function that makes a ``dspy.LM`` from the address of a server, the name of a
    model and a key. ``make_engines`` returns one that makes the engine and the asynchronous engine of the same, for
    streams.

    Attributes:
        renews_dead_connections: whether a call is made once more, on a new connection, where the server has closed the
            one that was used before. Otherwise it must be an error that may be retried.
        model_in_requests: how the engines of ``make_engines`` want the model named.
    """

    renews_dead_connections: ClassVar[bool] = True
    model_in_requests: ClassVar[str] = "{}"

    @pytest.fixture
    def make_lm(self) -> Callable[[str, str, str], Any]:
        """Return what makes a language model."""
        raise NotImplementedError("define the fixture make_lm")

    @pytest.fixture
    def make_engines(self) -> Callable[[str, str, str], tuple[Any, Any]]:
        """Return what makes the two engines."""
        raise NotImplementedError("define the fixture make_engines")

    @pytest.fixture
    def server(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
        """Yield a server of chat completions, to which no proxy of the environment leads."""
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "127.0.0.1,localhost")
        with ChatServer() as server:
            yield server

    @pytest.fixture(params=["sync", "async"])
    def mode(self, request: pytest.FixtureRequest) -> Mode:
        """Return how calls are made."""
        mode: Mode = request.param
        return mode

    @pytest.fixture
    def ask(self, mode: Mode, server: ChatServer, make_lm: Callable[[str, str, str], Any]) -> Iterator[Ask]:
        """Yield a function that asks a model of the server and returns the result."""
        loop = asyncio.new_event_loop()
        executors: dict[str, Executor] = {}

        def ask(model: str, question: str = _INPUTS["question"], **options: Any) -> Any:
            if model not in executors:
                executors[model] = Executor(
                    lm=make_lm(server.base_url, model, _KEY), plugins=[], cache_enabled=False, retry_on_failure=False
                )
                executors[model].register_signature("Ask", "question -> answer")
            executor, inputs = executors[model], {"question": question}
            if mode == "sync":
                return executor.execute_signature("Ask", inputs, **options)
            return loop.run_until_complete(executor.aexecute_signature("Ask", inputs, **options))

        yield ask
        for executor in executors.values():
            loop.run_until_complete(executor.aclose())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    def test_answers_and_counts_tokens(self, ask: Ask, server: ChatServer) -> None:
        """The answer, its tokens, and one request with the key and the model."""
        result = ask("ok")
        assert result.outputs["answer"] == "Seven."
        assert (result.usage.input_tokens, result.usage.output_tokens) == (120, 40)
        (request,) = server.received
        assert request.body["model"] == "ok"
        assert request.headers["authorization"] == f"Bearer {_KEY}"

    def test_keeps_its_connection(self, ask: Ask, server: ChatServer) -> None:
        """Calls one after the other take one connection."""
        for _ in range(5):
            ask("ok")
        assert server.counts.connections <= 2

    @pytest.mark.parametrize("model", ["chunked", "closing"])
    def test_answers_whatever_becomes_of_the_connection(self, ask: Ask, model: str) -> None:
        """Also where the server says that it closes it."""
        for _ in range(3):
            assert ask(model).outputs["answer"] == "Seven."

    @pytest.mark.parametrize("model", ["once", "stale"])
    def test_a_connection_that_died_unseen_is_renewed(self, ask: Ask, model: str) -> None:
        """The server closes it after the first answer, or at the second request before any byte of a reply."""
        assert ask(model).outputs["answer"] == "Seven."
        try:
            answer = ask(model).outputs["answer"]
        except LanguageModelError as error:
            if self.renews_dead_connections or not error.retryable:
                raise
        else:
            assert answer == "Seven."

    @pytest.mark.parametrize(("model", "kind", "retryable"), _FAILURES)
    def test_failures_are_errors_that_say_what_to_do(
        self, ask: Ask, server: ChatServer, model: str, kind: type[ExecutionError], retryable: bool | None
    ) -> None:
        """Each has its class, is tried once, and shows no key; the next call is not hurt."""
        with pytest.raises(kind) as caught:
            ask(model)
        assert retryable is None or caught.value.retryable is retryable
        assert _KEY not in f"{caught.value} {caught.value.__cause__}"
        assert server.counts.requests == 1
        assert ask("ok").outputs["answer"] == "Seven."

    @pytest.mark.parametrize(
        ("model", "seconds"), [("retry-after", RETRY_AFTER_SECONDS), ("retry-after-date", RETRY_AFTER_DATE)]
    )
    def test_the_server_says_when_to_try_again(self, ask: Ask, model: str, seconds: int) -> None:
        """As seconds or as a date."""
        with pytest.raises(RateLimitedError) as caught:
            ask(model)
        assert caught.value.retry_after == pytest.approx(seconds, abs=3)

    def test_a_key_that_the_server_quotes_is_not_shown(self, ask: Ask) -> None:
        """Neither in the error nor in its causes."""
        with pytest.raises(LanguageModelRefused) as caught:
            ask("echo-key")
        error: BaseException | None = caught.value
        while error is not None:
            assert _KEY not in f"{error!r} {error}"
            error = error.__cause__

    @pytest.mark.parametrize("model", ["silent", "drip", "header-drip", "huge"])
    def test_no_call_outlasts_its_deadline(self, ask: Ask, model: str) -> None:
        """However slowly or long the server sends."""
        started = time.monotonic()
        with pytest.raises(ExecutionError) as caught:
            ask(model, timeout=0.7)
        assert time.monotonic() - started < 2.0
        assert model == "huge" or isinstance(caught.value, DeadlineExceeded)

    def test_answers_go_to_their_own_requests(self, ask: Ask, server: ChatServer) -> None:
        """Also after calls that were given up."""
        server.answer = "[[ ## answer ## ]]\n{tag}\n\n[[ ## completed ## ]]"
        for number in range(20):
            if number % 5 == 4:
                with pytest.raises(ExecutionError):
                    ask("drip", f"tag-{number}", timeout=0.2)
            assert ask("ok", f"tag-{number}").outputs["answer"] == f"tag-{number}"

    def test_a_cancelled_call_ends_at_the_server(
        self, server: ChatServer, make_lm: Callable[[str, str, str], Any]
    ) -> None:
        """So that it is not worked on, and paid for, any more."""

        async def cancel() -> None:
            async with Executor(lm=make_lm(server.base_url, "silent", _KEY), plugins=[]) as executor:
                executor.register_signature("Ask", "question -> answer")
                asked = [{"question": f"question {number}"} for number in range(5)]
                tasks = [asyncio.ensure_future(executor.aexecute_signature("Ask", inputs)) for inputs in asked]
                while server.counts.in_flight < 5:  # noqa: ASYNC110  # the server has a thread of its own
                    await asyncio.sleep(0.01)
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
                until = time.monotonic() + 1
                while server.counts.cancelled < 5 and time.monotonic() < until:  # noqa: ASYNC110  # as above
                    await asyncio.sleep(0.01)
                # Not later: the end of the event loop cancels whatever goes on.
                assert (server.counts.cancelled, server.counts.in_flight) == (5, 0)

        asyncio.run(asyncio.wait_for(cancel(), 20))

    def test_an_event_loop_goes_on(self, server: ChatServer, make_lm: Callable[[str, str, str], Any]) -> None:
        """While an answer is awaited."""
        self.require("asynchronous")
        lm = make_lm(server.base_url, "ok", _KEY)
        with Executor(lm=lm, plugins=[], cache_enabled=False) as executor:
            executor.register_signature("Ask", "question -> answer")

            async def ask() -> None:
                for _ in range(2):
                    await executor.aexecute_signature("Ask", _INPUTS)

            run_watched(ask, allowed=self.calls_on_loop)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
    def test_no_answer_crosses_a_fork(self, server: ChatServer, make_lm: Callable[[str, str, str], Any]) -> None:
        """Parent and child ask at the same time after the parent has used its connection."""
        server.answer = "[[ ## answer ## ]]\n{tag}\n\n[[ ## completed ## ]]"
        with Executor(lm=make_lm(server.base_url, "ok", _KEY), plugins=[], cache_enabled=False) as executor:
            executor.register_signature("Ask", "question -> answer")

            def wrong(first: int) -> int:
                asked = [f"tag-{number}" for number in range(first, first + 20)]
                got = [executor.execute_signature("Ask", {"question": tag}).outputs["answer"] for tag in asked]
                return sum(one != other for one, other in zip(asked, got, strict=True))

            assert wrong(0) == 0
            for number in range(3):
                child = os.fork()
                if not child:
                    os._exit(wrong(10_000 * (number + 1)))
                assert wrong(100 * (number + 1)) == 0
                assert os.waitstatus_to_exitcode(_waited(child)) == 0

    @pytest.fixture
    def stream(self, mode: Mode, server: ChatServer, make_engines: Callable[..., tuple[Any, Any]]) -> Iterator[Ask]:
        """Yield a function that streams an answer and returns its events."""
        loop = asyncio.new_event_loop()
        asynchronous: list[Any] = []

        def stream(model: str, most: int | None = None) -> list[Any]:
            engine, async_engine = make_engines(server.base_url, model, _KEY)
            prompt = [{"role": "user", "content": "How many?"}]
            request = request_of({"model": self.model_in_requests.format(model), "messages": prompt})
            if mode == "sync":
                try:
                    return _events(engine.stream(request), most)
                finally:
                    engine.close()
            asynchronous.append(async_engine)
            return loop.run_until_complete(_aevents(async_engine.stream(request), most))

        yield stream
        for engine in asynchronous:
            loop.run_until_complete(engine.aclose())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    def test_streams_piece_by_piece(self, stream: Ask) -> None:
        """A start, the pieces, one end with the reason and the tokens."""
        first, *pieces, last = stream("ok")
        assert (first.type, last.type) == ("start", "end")
        assert "".join(piece.delta.text for piece in pieces) == "[[ ## answer ## ]]\nSeven.\n\n[[ ## completed ## ]]"
        assert len(pieces) > 3
        assert (last.finish_reason, last.usage.output_tokens) == ("stop", 40)

    @pytest.mark.parametrize(
        "model",
        ["status-500", "retry-after", "stream-half", "stream-reset", "stream-error", "stream-garbage", "disconnect"],
    )
    def test_a_broken_stream_is_an_error(self, stream: Ask, model: str) -> None:
        """Never an answer that looks complete."""
        events: list[Any] = []
        failure: Any = None
        try:
            events = stream(model)
        except Exception as error:
            failure = translate_error(error)
        # An engine may yield an error as well as raise it.
        assert events[-1].type == "error" if failure is None else isinstance(failure, ExecutionError)

    def test_a_stream_that_is_closed_ends_at_the_server(self, stream: Ask, server: ChatServer) -> None:
        """Whether it is closed by its reader or given up."""
        assert stream("stream-silent", most=2)
        until = time.monotonic() + 2
        while server.counts.in_flight and time.monotonic() < until:
            time.sleep(0.01)
        assert (server.counts.cancelled, server.counts.in_flight) == (1, 0)


def _events(events: Any, most: int | None) -> list[Any]:
    found: list[Any] = []
    try:
        for event in events:
            found.append(event)
            if len(found) == most:
                break
    finally:
        events.close()
    return found


async def _aevents(events: Any, most: int | None) -> list[Any]:
    found: list[Any] = []
    try:
        async for event in events:
            found.append(event)
            if len(found) == most:
                break
    finally:
        await events.aclose()
    return found


def _waited(child: int) -> int:
    """Return the status of a child process, after killing one that hangs."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        time.sleep(0.01)
    os.kill(child, 9)
    return os.waitpid(child, 0)[1]
