"""Engines by authors in a hurry: each client breaks the contract in one way.

The suite of engines waits for servers that drip and stay silent, so each fault names the tests that may find it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import dspy
import pytest
from dspy.lm15 import Message, ServerError, TextPart, Usage, response_to_events

from hokusai_core.testing.engines import EngineConformance
from hokusai_openai import AsyncOpenAIEngine, OpenAIEngine, ServerOptions

ANSWERS = "test_answers_and_counts_tokens"
CONNECTION = "test_keeps_its_connection"
FAILURES = "test_failures_are_errors_that_say_what_to_do"
AGAIN = "test_the_server_says_when_to_try_again"
OWN = "test_answers_go_to_their_own_requests"
CANCELLED = "test_a_cancelled_call_ends_at_the_server"
LOOP = "test_an_event_loop_goes_on"
PIECES = "test_streams_piece_by_piece"
BROKEN = "test_a_broken_stream_is_an_error"
CLOSED = "test_a_stream_that_is_closed_ends_at_the_server"
KEY = "test_a_key_that_the_server_quotes_is_not_shown"


class Client:
    """A client that is right; the faults override what it does before and after a call."""

    tests: tuple[str, ...] = ()

    def __init__(self, base_url: str, model: str, key: str) -> None:
        self.options = ServerOptions(base_url, model, api_key=key)
        self.key = key

    def engines(self) -> tuple[Any, Any]:
        return self.blocking(OpenAIEngine(self.options)), self.waiting(AsyncOpenAIEngine(self.options))

    def blocking(self, engine: Any) -> Any:
        return Blocking(self, engine)

    def waiting(self, engine: Any) -> Any:
        return Waiting(self, engine)

    def request(self, request: Any) -> Any:
        return request

    def call(self, engine: Any, request: Any) -> Any:
        return engine.complete(request)

    async def acall(self, engine: Any, request: Any) -> Any:
        return await engine.complete(request)

    def response(self, response: Any) -> Any:
        return response

    def failure(self, error: Exception) -> Any:
        raise error

    def event(self, event: Any) -> Any:
        return event

    def broken(self, error: Exception) -> list[Any]:
        raise error


class Blocking:
    """The blocking engine of a client."""

    def __init__(self, client: Client, engine: Any) -> None:
        self.client, self.engine = client, engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self

    def complete(self, request: Any) -> Any:
        try:
            return self.client.response(self.client.call(self.engine, self.client.request(request)))
        except Exception as error:
            return self.client.failure(error)

    def stream(self, request: Any) -> Iterator[Any]:
        try:
            for event in self.engine.stream(request):
                yield self.client.event(event)
        except Exception as error:
            yield from self.client.broken(error)


class Waiting(Blocking):
    """The asynchronous engine of a client."""

    async def complete(self, request: Any) -> Any:
        try:
            return self.client.response(await self.client.acall(self.engine, self.client.request(request)))
        except Exception as error:
            return self.client.failure(error)

    async def stream(self, request: Any) -> AsyncIterator[Any]:  # type: ignore[override]  # the other kind of iterator
        events = self.engine.stream(request)
        try:
            async for event in events:
                yield self.client.event(event)
        except Exception as error:
            for event in self.client.broken(error):
                yield event
        finally:
            await events.aclose()


def changed(response: Any, **changes: Any) -> Any:
    fields = {name: getattr(response, name) for name in ("id", "model", "message", "finish_reason", "usage")}
    return type(response)(**{**fields, **changes})


class CountsNoTokens(Client):
    tests = (ANSWERS,)

    def response(self, response: Any) -> Any:
        return changed(response, usage=Usage())


class SwapsTokens(Client):
    tests = (ANSWERS,)

    def response(self, response: Any) -> Any:
        usage = response.usage
        return changed(response, usage=Usage(input_tokens=usage.output_tokens, output_tokens=usage.input_tokens))


class SendsNoKey(Client):
    tests = (ANSWERS,)

    def __init__(self, base_url: str, model: str, key: str) -> None:
        super().__init__(base_url, model, "")


class AsksTwice(Client):
    tests = (ANSWERS,)

    def call(self, engine: Any, request: Any) -> Any:
        engine.complete(request)
        return engine.complete(request)


class NewConnectionEachTime(Client):
    tests = (CONNECTION,)

    def call(self, engine: Any, request: Any) -> Any:
        return OpenAIEngine(self.options).complete(request)


class TriesAgainByItself(Client):
    tests = (FAILURES,)

    def call(self, engine: Any, request: Any) -> Any:
        try:
            return engine.complete(request)
        except Exception:
            return engine.complete(request)


class ErrorsAreAnswers(Client):
    tests = (FAILURES,)

    def failure(self, error: Exception) -> Any:
        text = f"[[ ## answer ## ]]\n{type(error).__name__}\n\n[[ ## completed ## ]]"
        usage = Usage(input_tokens=1, output_tokens=1)
        return dspy.lm15.Response(
            id=None, model="m", message=Message.assistant([TextPart(text)]), finish_reason="stop", usage=usage
        )


class ErrorsAreNone(Client):
    tests = (FAILURES,)

    def failure(self, error: Exception) -> Any:
        return None


class ErrorsHaveNoClass(Client):
    tests = (FAILURES,)

    def failure(self, error: Exception) -> Any:
        raise RuntimeError("the request failed")


class EveryErrorMayPass(Client):
    tests = (FAILURES,)

    def failure(self, error: Exception) -> Any:
        raise ServerError("the server failed", status=503)


class ErrorsShowTheKey(Client):
    tests = (FAILURES,)

    def failure(self, error: Exception) -> Any:
        raise ServerError(f"the server failed for {self.key}", status=500)


class ForgetsWhenToTryAgain(Client):
    tests = (AGAIN,)

    def failure(self, error: Exception) -> Any:
        error.retry_after = None  # type: ignore[attr-defined]  # an error of the library
        raise error


class CutAnswersAreWhole(Client):
    tests = (FAILURES,)

    def response(self, response: Any) -> Any:
        return changed(response, finish_reason="stop")


class OneAnswerForAll(Client):
    tests = (OWN,)
    first: Any = None

    def response(self, response: Any) -> Any:
        self.first = self.first or response
        return self.first


class CannotBeCancelled(Client):
    tests = (CANCELLED,)

    async def acall(self, engine: Any, request: Any) -> Any:
        TASKS.append(asyncio.ensure_future(engine.complete(request)))
        return await asyncio.shield(TASKS[-1])


class BlocksTheLoop(Client):
    tests = (LOOP,)

    async def acall(self, engine: Any, request: Any) -> Any:
        return OpenAIEngine(self.options).complete(request)


class SleepsOnTheLoop(Client):
    tests = (LOOP,)

    async def acall(self, engine: Any, request: Any) -> Any:
        time.sleep(0.001)  # noqa: ASYNC251  # that is the fault
        return await engine.complete(request)


class StreamsInOnePiece(Client):
    tests = (PIECES,)

    class Whole(Blocking):
        def stream(self, request: Any) -> Iterator[Any]:
            yield from response_to_events(self.engine.complete(request))

    def blocking(self, engine: Any) -> Any:
        return self.Whole(self, engine)


class StreamsLosePieces(Client):
    tests = (PIECES,)

    def event(self, event: Any) -> Any:
        return dspy.lm15.StreamDeltaEvent(dspy.lm15.TextDelta("")) if event.type == "delta" else event


class BrokenStreamsEnd(Client):
    tests = (BROKEN,)

    def broken(self, error: Exception) -> list[Any]:
        return []


class StreamsAreKept(Client):
    tests = (CLOSED,)

    class Kept(Blocking):
        def stream(self, request: Any) -> Iterator[Any]:
            TASKS.append(self.engine.stream(request))
            yield from iter(TASKS[-1].__next__, None)

    def blocking(self, engine: Any) -> Any:
        return self.Kept(self, engine)


TASKS: list[Any] = []


class Suite(EngineConformance):
    @pytest.fixture
    def make_lm(self, planted: Any) -> Callable[[str, str, str], Any]:
        def make(base_url: str, model: str, key: str) -> Any:
            client = planted(base_url, model, key)
            engine, waiting = client.engines()
            return dspy.LM(client.options.name, engine=engine, async_engine=waiting, cache=False, num_retries=0)

        return make

    @pytest.fixture
    def make_engines(self, planted: Any) -> Callable[[str, str, str], tuple[Any, Any]]:
        def make(base_url: str, model: str, key: str) -> tuple[Any, Any]:
            made: tuple[Any, Any] = planted(base_url, model, key).engines()
            return made

        return make


class Good(Client):
    tests = (ANSWERS, CONNECTION, FAILURES, AGAIN, OWN, CANCELLED, LOOP, PIECES, BROKEN, CLOSED, KEY)


GOOD = Good
FAULTS = [
    CountsNoTokens, SwapsTokens, SendsNoKey, AsksTwice, NewConnectionEachTime, TriesAgainByItself, ErrorsAreAnswers,
    ErrorsAreNone, ErrorsHaveNoClass, EveryErrorMayPass, ErrorsShowTheKey, ForgetsWhenToTryAgain, CutAnswersAreWhole,
    OneAnswerForAll, CannotBeCancelled, BlocksTheLoop, SleepsOnTheLoop, StreamsInOnePiece, StreamsLosePieces,
    BrokenStreamsEnd, StreamsAreKept,
]  # fmt: skip


def clean_up() -> None:
    TASKS.clear()
