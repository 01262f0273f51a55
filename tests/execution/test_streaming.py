"""Streams: events as the answer comes in, and nothing that the result does not say."""

from __future__ import annotations

import asyncio
import datetime
import gc
import json
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any
from xml.sax.saxutils import escape

import dspy
import pytest
from dspy.adapters.baml_adapter import BAMLAdapter
from dspy.lm15 import ServerError, StreamDeltaEvent, StreamEndEvent, StreamStartEvent, TextDelta, Usage
from pydantic import BaseModel

from hokusai_core import BaseSignature, Budget, Component, Executor, InputField, OutputField, SignatureChain, hookimpl
from hokusai_core.errors import BudgetExceeded, ClosedError, DeadlineExceeded, ExecutionError, InputError, OutputError
from hokusai_core.results import Problem
from hokusai_core.testing.listening import ListeningTracker
from hokusai_core.testing.lm import null_lm
from hokusai_core.types import (
    StreamDelta,
    StreamEvent,
    StreamFinished,
    StreamPartial,
    StreamRetracted,
    StreamStarted,
)

MakeExecutor = Callable[..., Executor]

ANSWER = "[[ ## answer ## ]]\nOne two\n\nthree.\n\n[[ ## score ## ]]\n3\n\n[[ ## completed ## ]]"


class Engine:
    """An engine that streams given pieces, one after the other.

    Args:
        answers: the pieces of each answer, the last for all further calls. An exception among them is raised.
        delay: seconds before each piece.
    """

    supports_function_calling = supports_reasoning = supports_response_schema = False
    supported_params: frozenset[str] = frozenset()
    free = True

    def __init__(self, *answers: Sequence[Any], delay: float = 0.0) -> None:
        self.answers, self.delay, self.calls, self.closed, self.sent = answers, delay, 0, 0, 0

    def begin(self) -> Sequence[Any]:
        self.calls += 1
        return self.answers[min(self.calls, len(self.answers)) - 1]

    def complete(self, request: Any) -> Any:
        """Answer as a whole."""
        return null_lm(raw="".join(self.begin())).engine.complete(request)

    def stream(self, request: Any) -> Iterator[Any]:
        try:
            yield StreamStartEvent(id=None, model=request.model)
            for piece in self.begin():
                time.sleep(self.delay)
                yield self.event(piece)
            yield self.end()
        finally:
            self.closed += 1

    def event(self, piece: Any) -> Any:
        if isinstance(piece, BaseException):
            raise piece
        self.sent += 1
        return StreamDeltaEvent(TextDelta(piece))

    def end(self) -> Any:
        return StreamEndEvent(finish_reason="stop", usage=Usage(input_tokens=10, output_tokens=5, total_tokens=15))

    def close(self) -> None:
        """Do nothing."""


class AsyncEngine:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def complete(self, request: Any) -> Any:
        return self.engine.complete(request)

    async def stream(self, request: Any) -> AsyncIterator[Any]:
        engine = self.engine
        try:
            yield StreamStartEvent(id=None, model=request.model)
            for piece in engine.begin():
                await asyncio.sleep(engine.delay)
                yield engine.event(piece)
            yield engine.end()
        finally:
            engine.closed += 1

    async def aclose(self) -> None:
        """Do nothing."""


def lm_over(engine: Engine, *, asynchronous: bool = True) -> Any:
    return dspy.LM(
        "null/stream",
        engine=engine,
        async_engine=AsyncEngine(engine) if asynchronous else None,
        cache=False,
        num_retries=0,
    )


def pieces(text: str, size: int = 7) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


@pytest.fixture
def make(make_executor: MakeExecutor) -> MakeExecutor:
    def made(engine: Any = None, *, asynchronous: bool = True, **arguments: Any) -> Executor:
        lm = lm_over(engine or Engine(pieces(ANSWER)), asynchronous=asynchronous)
        executor = make_executor(**{"lm": lm, **arguments})
        executor.register_signature("Ask", "question -> answer, score: int")
        return executor

    return made


def stream(executor: Executor, name: Any = "Ask", way: str = "sync", **options: Any) -> list[StreamEvent]:
    """Return all events."""
    inputs = options.pop("inputs", {"question": "?"})
    events: list[Any] = []
    if way == "sync":
        return list(executor.stream_signature(name, inputs, **options))

    async def gather() -> None:
        async for event in executor.astream_signature(name, inputs, **options):
            events.append(event)  # kept where the next raises

    asyncio.run(gather())
    return events


def kinds(events: Sequence[StreamEvent]) -> list[str]:
    """Return the kinds of the events, deltas in a row as one."""
    found = [event.kind for event in events]
    return [kind for at, kind in enumerate(found) if kind != "delta" or found[at - 1 : at] != ["delta"]]


def texts(events: Sequence[StreamEvent]) -> dict[str, str]:
    said: dict[str, str] = {}
    for event in events:
        if isinstance(event, StreamDelta):
            said[event.field] = said.get(event.field, "") + event.text
        elif isinstance(event, StreamRetracted):
            said = {}
    return said


USUAL = ["started", "delta", "partial", "partial", "finished"]


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_answer_comes_piece_by_piece(way: str, asynchronous: bool, make: MakeExecutor) -> None:
    events = stream(make(asynchronous=asynchronous), way=way)
    assert kinds(events) == USUAL
    assert texts(events) == {"answer": "One two\n\nthree."}
    assert sum(event.kind == "delta" for event in events) > 1
    assert [event.outputs for event in events if isinstance(event, StreamPartial)] == [
        {"answer": "One two\n\nthree."},
        {"answer": "One two\n\nthree.", "score": 3},
    ]
    started, finished = events[0], events[-1]
    assert isinstance(started, StreamStarted)
    assert isinstance(finished, StreamFinished)
    assert dict(finished.result) == {"answer": "One two\n\nthree.", "score": 3}
    assert started.execution_id == finished.result.execution_id
    assert finished.result.usage.total_tokens == 15
    assert started.signature == "local/Ask"


@pytest.mark.parametrize("asynchronous", [False, True])
def test_events_come_while_the_answer_does(asynchronous: bool, make: MakeExecutor) -> None:
    engine = Engine(pieces(ANSWER, 4), delay=0.03)
    for event in make(engine, asynchronous=asynchronous).stream_signature("Ask", {"question": "?"}):
        if event.kind == "delta":
            break
    assert engine.sent < len(pieces(ANSWER, 4)) - 3


@pytest.mark.parametrize("way", ["sync", "async"])
def test_an_answer_from_the_cache_has_the_same_kinds_of_events(way: str, make: MakeExecutor) -> None:
    engine = Engine(pieces(ANSWER))
    executor = make(engine)
    first, second = stream(executor, way=way), stream(executor, way=way)
    assert engine.calls == 1
    assert kinds(first) == kinds(second) == USUAL
    assert texts(first) == texts(second)
    assert isinstance(second[-1], StreamFinished)
    assert second[-1].result.cached == "memory"


def test_identical_streams_share_one_call(make: MakeExecutor) -> None:
    engine = Engine(pieces(ANSWER, 3), delay=0.01)
    executor = make(engine)
    gathered: list[list[StreamEvent]] = []
    threads = [threading.Thread(target=lambda: gathered.append(stream(executor))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert engine.calls == 1
    assert [kinds(events) for events in gathered] == [USUAL] * 4
    assert {event.result.cached for events in gathered for event in events if isinstance(event, StreamFinished)} == {
        None,
        "shared",
    }


class Strict:
    """Rejects the answers that are in the way."""

    def __init__(self) -> None:
        self.left = 1

    def validate_inputs(self, signature: Any, inputs: Any) -> list[Any]:
        return []

    def validate_outputs(self, signature: Any, inputs: Any, outputs: Any) -> list[Any]:
        self.left -= 1
        return [Problem("answer", "bad", "is not polite")] if self.left >= 0 else []


def plugin(validator: Any = None, transform: Any = None) -> Any:
    class Plugin:
        if validator is not None:

            @hookimpl
            def provide_validators(self) -> list[Component]:
                return [Component("strict", lambda: validator)]

        if transform is not None:

            @hookimpl
            def transform_outputs(self, outputs: Any) -> Any:
                return transform(outputs)

    return ("p", Plugin())


@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_rejected_answer_is_retracted_before_the_next_attempt(way: str, make: MakeExecutor) -> None:
    engine = Engine(pieces(ANSWER), pieces(ANSWER.replace("three", "four")))
    executor = make(engine, extra_plugins=[plugin(Strict())])
    events = stream(executor, way=way, retry_on_failure=True, max_retries=1)
    assert kinds(events) == ["started", "delta", "partial", "retracted", "delta", "partial", "partial", "finished"]
    assert texts(events) == {"answer": "One two\n\nfour."}
    retracted = next(event for event in events if isinstance(event, StreamRetracted))
    assert "is not polite" in retracted.reason
    assert isinstance(events[-1], StreamFinished)
    assert [attempt.outcome for attempt in events[-1].result.attempts] == ["failed", "ok"]


def test_the_error_of_the_last_attempt_comes_after_its_retraction(make: MakeExecutor) -> None:
    executor = make(extra_plugins=[plugin(Strict())])
    events, failure = until_error(executor)
    assert kinds(events) == ["started", "delta", "partial", "retracted"]
    assert isinstance(failure, OutputError)


def until_error(executor: Executor, **options: Any) -> tuple[list[StreamEvent], BaseException | None]:
    events: list[StreamEvent] = []
    try:
        for event in executor.stream_signature("Ask", {"question": "?"}, **options):
            events.append(event)  # kept where the next raises
    except ExecutionError as error:
        return events, error
    return events, None


@pytest.mark.parametrize(
    "broken",
    [
        [*pieces(ANSWER[:30]), ServerError("the connection broke", status=503)],
        [*pieces(ANSWER[:30]), ConnectionResetError("reset by peer")],
        pieces(ANSWER[:30]),
        [],
    ],
)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_broken_stream_is_an_error_and_nothing_of_it_is_kept(
    broken: Any, asynchronous: bool, make: MakeExecutor
) -> None:
    engine = Engine(broken, pieces(ANSWER))
    executor = make(engine, asynchronous=asynchronous)
    budget = Budget(calls=5)
    events, failure = until_error(executor, budget=budget)
    assert isinstance(failure, ExecutionError)
    assert "Ask" in str(failure)
    assert (engine.calls, engine.closed, budget.spent.calls) == (1, 1, 1)
    assert kinds(events)[-1] == ("retracted" if len(broken) > 3 else "started")
    assert texts(events) == {}
    assert texts(stream(executor)) == {"answer": "One two\n\nthree."}
    assert engine.calls == 2, "nothing of the broken answer was stored"


def test_a_broken_stream_is_tried_again_where_retries_are_on(make: MakeExecutor) -> None:
    engine = Engine([*pieces(ANSWER[:30]), ServerError("broke", status=503)], pieces(ANSWER))
    events = stream(make(engine), retry_on_failure=True, max_retries=1)
    assert kinds(events) == ["started", "delta", "retracted", "delta", "partial", "partial", "finished"]
    assert texts(events) == {"answer": "One two\n\nthree."}


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_deadline_ends_a_stream(asynchronous: bool, make: MakeExecutor) -> None:
    engine = Engine(pieces(ANSWER, 1), delay=0.05)
    events, failure = until_error(make(engine, asynchronous=asynchronous), timeout=1.5)
    assert isinstance(failure, DeadlineExceeded)
    assert kinds(events)[:2] == ["started", "delta"]
    assert kinds(events)[-1] == "retracted"


@pytest.mark.parametrize("way", ["close", "with", "forget"])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_leaving_a_stream_ends_its_call(way: str, asynchronous: bool, make: MakeExecutor) -> None:
    engine = Engine(pieces(ANSWER, 1), delay=0.02)
    executor = make(engine, asynchronous=asynchronous)
    events = executor.stream_signature("Ask", {"question": "?"})
    assert next(events).kind == "started"
    assert next(events).kind == "delta"
    if way == "with":
        with events:
            pass
    elif way == "close":
        events.close()
        events.close()
    else:
        del events
        gc.collect()
    until = time.monotonic() + 5
    while not engine.closed and time.monotonic() < until:
        time.sleep(0.01)
    assert engine.closed == 1
    assert engine.sent < len(ANSWER) - 5
    if way == "close":
        assert list(events) == []


def test_leaving_an_asynchronous_stream_ends_its_call(make: MakeExecutor) -> None:
    engine = Engine(pieces(ANSWER, 1), delay=0.02)
    executor = make(engine)

    async def leave() -> None:
        async with executor.astream_signature("Ask", {"question": "?"}) as events:
            async for event in events:
                if event.kind == "delta":
                    break

    async def cancel() -> None:
        async def read() -> None:
            async for _ in executor.astream_signature("Ask", {"question": "??"}):
                pass

        task = asyncio.create_task(read())
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(leave())
    assert engine.closed == 1
    asyncio.run(cancel())
    assert engine.closed == 2


def test_one_who_waits_takes_over_when_a_stream_is_left(make: MakeExecutor) -> None:
    engine = Engine(pieces(ANSWER, 2), delay=0.01)
    executor = make(engine)
    first = executor.stream_signature("Ask", {"question": "?"})
    assert next(first).kind == "started"
    gathered: list[Any] = []
    other = threading.Thread(target=lambda: gathered.append(executor.execute_signature("Ask", {"question": "?"})))
    other.start()
    time.sleep(0.1)
    first.close()
    other.join(10)
    assert gathered[0]["answer"] == "One two\n\nthree."


def test_sensitive_outputs_never_stream(make: MakeExecutor) -> None:
    class Secret(BaseSignature):
        """Answer."""

        question: str = InputField(desc="q")
        diagnosis: str = OutputField(desc="d", sensitive=True)
        advice: str = OutputField(desc="a")

    answer = "[[ ## diagnosis ## ]]\ncanary words\n\n[[ ## advice ## ]]\nrest\n\n[[ ## completed ## ]]"
    executor = make(Engine(pieces(answer)))
    for _ in range(2):
        events = stream(executor, Secret)
        assert kinds(events) == ["started", "delta", "partial", "finished"]
        assert texts(events) == {"advice": "rest"}
        assert all("canary" not in repr(event) for event in events)
        assert all("diagnosis" not in event.outputs for event in events if isinstance(event, StreamPartial))
        assert isinstance(events[-1], StreamFinished)
        assert events[-1].result["diagnosis"] == "canary words"


def test_where_outputs_are_transformed_they_come_with_the_result(make: MakeExecutor) -> None:
    executor = make(extra_plugins=[plugin(transform=lambda outputs: {**outputs, "answer": "redacted"})])
    for _ in range(2):
        events = stream(executor)
        assert kinds(events) == ["started", "finished"]
        assert isinstance(events[-1], StreamFinished)
        assert events[-1].result["answer"] == "redacted"


class Program(dspy.Module):  # type: ignore[misc]  # DSPy has no types
    def forward(self, question: str) -> Any:
        return dspy.Prediction(answer="from a program", score=1)


class OwnAdapter(dspy.JSONAdapter):  # type: ignore[misc]  # DSPy has no types
    """An adapter of the host's own."""


@pytest.mark.parametrize("cause", ["adapter", "program", "engine"])
def test_what_cannot_stream_starts_and_finishes(cause: str, make_executor: MakeExecutor) -> None:
    class Whole:
        supports_function_calling = supports_reasoning = supports_response_schema = False
        supported_params: frozenset[str] = frozenset()

        def complete(self, request: Any) -> Any:
            return null_lm(raw=ANSWER).engine.complete(request)

    lm = dspy.LM("null/whole", engine=Whole(), cache=False) if cause == "engine" else null_lm()
    executor = make_executor(lm=lm, adapter=OwnAdapter() if cause == "adapter" else None)
    executor.register_signature("Other", "question -> answer, score: int")
    executor.register_signature("Program", Program(), signature="question -> answer, score: int")
    for _ in range(2):
        assert kinds(stream(executor, "Program" if cause == "program" else "Other")) == ["started", "finished"]


def test_inputs_budget_and_closing_are_checked_as_ever(make: MakeExecutor) -> None:
    engine = Engine(pieces(ANSWER))
    executor = make(engine)
    with pytest.raises(InputError):
        stream(executor, inputs={"qestion": "?"})
    budget = Budget(calls=1)
    assert stream(executor, budget=budget)
    with pytest.raises(BudgetExceeded):
        stream(executor, budget=budget, cache="off")
    assert engine.calls == 1
    executor.close()
    with pytest.raises(ClosedError):
        executor.stream_signature("Ask", {"question": "?"})


def test_a_stream_ends_when_its_executor_is_closed(make: MakeExecutor) -> None:
    executor = make(Engine(pieces(ANSWER, 1), delay=0.05))
    events = executor.stream_signature("Ask", {"question": "?"})
    assert next(events).kind == "started"
    executor.close()
    with pytest.raises((ClosedError, ExecutionError)):
        list(events)


def test_trackers_hear_of_a_stream_what_they_hear_of_any_execution(make: MakeExecutor) -> None:
    tracker = ListeningTracker()
    engine = Engine(pieces(ANSWER), pieces(ANSWER, 1), delay=0.01)
    executor = make(engine, trackers={"t": tracker})
    stream(executor)
    with executor.stream_signature("Ask", {"question": "another"}) as events:
        next(events)
    assert [event.status for event in tracker.executions] == ["ok", "failed"]


def test_steps_of_a_chain_stream_with_their_names(make: MakeExecutor) -> None:
    second = "[[ ## summary ## ]]\nin short\n\n[[ ## completed ## ]]"
    executor = make(Engine(pieces(ANSWER), pieces(second)))
    executor.register_signature("Sum", "text -> summary")
    chain = SignatureChain("two").add("Ask", {"question": "question"}).add("Sum", {"text": "Ask.answer"})
    events = list(executor.stream_chain(chain, {"question": "?"}))
    assert [event.step for event in events if event.kind == "started"] == [None, "Ask", "Sum"]
    assert texts([event for event in events if event.step == "Sum"]) == {"summary": "in short"}
    assert isinstance(events[-1], StreamFinished)
    assert events[-1].step is None
    assert events[-1].result["summary"] == "in short"

    async def gather() -> list[StreamEvent]:
        return [event async for event in executor.astream_chain(chain, {"question": "?"})]

    again = asyncio.run(gather())
    assert kinds(again) == kinds(events)


def test_samples_stream_too() -> None:
    with Executor(mode="testing", plugins=[]) as executor:
        executor.register_signature("Ask", "question -> answer, score: int")
        events = stream(executor)
    assert kinds(events) == USUAL
    assert texts(events) == {"answer": "Sample answer"}


def test_an_answer_that_is_read_otherwise_as_a_whole_is_retracted(make: MakeExecutor) -> None:
    draft = "[[ ## answer ## ]]\ndraft words\n\n[[ ## score ## ]]\n1\n</think>\n"
    events = stream(make(Engine(pieces(draft + ANSWER))))
    assert kinds(events)[:2] == ["started", "delta"]
    assert kinds(events)[-5:] == ["retracted", "delta", "partial", "partial", "finished"]
    assert texts(events) == {"answer": "One two\n\nthree."}


class Item(BaseModel):
    name: str
    price: Decimal


TYPES: dict[str, tuple[Any, str, Any]] = {
    "text": (str, "Some words,\n\n- and a list\n  with [brackets] <and> more", None),
    "more": (str, "# heading\n```python\nx[[0]]\n```\nend", None),
    "whole": (int, "42", 42),
    "number": (float, "0.5", 0.5),
    "truth": (bool, "true", True),
    "day": (datetime.date, "2024-02-29", datetime.date(2024, 2, 29)),
    "sum": (Decimal, "12.50", Decimal("12.50")),
    "names": (list[str], '["a", "b"]', ["a", "b"]),
    "table": (dict[str, int], '{"a": 1}', {"a": 1}),
    "things": (list[Item], '[{"name": "n", "price": "1.5"}]', [Item(name="n", price=Decimal("1.5"))]),
    "maybe": (int | None, "None", None),
    "last": (str, "the end", None),
}


def written(names: Sequence[str], form: str, chance: random.Random) -> str:
    """Return the answer of all types in the form of an adapter."""
    texts_of = {name: TYPES[name][1] for name in names}
    if form == "chat":
        sections = [f"[[ ## {name} ## ]]\n{text}" for name, text in texts_of.items()]
        return "\n\n".join([*sections, "[[ ## completed ## ]]"])
    if form == "xml":
        return "\n".join(f"<{name}>\n{escape(text)}\n</{name}>" for name, text in texts_of.items())
    plain = {"whole", "number", "truth", "names", "table", "things"}
    values = {name: json.loads(text) if name in plain else text for name, text in texts_of.items()}
    return json.dumps({**values, "maybe": None, "unknown": [1]}, indent=chance.choice([None, 2]))


def chunked(seed: int) -> None:
    chance = random.Random(seed)
    form = ("chat", "json", "xml", "baml")[seed % 4]
    order = chance.sample(list(TYPES), len(TYPES))
    answer = written(order, form, chance)
    cuts, at = [], 0
    while at < len(answer):
        size = chance.randint(1, chance.choice([2, 9, 60]))
        cuts.append(answer[at : at + size])
        at += size
    namespace = {"__annotations__": {"question": str}, "question": InputField(desc="q"), "__doc__": "Answer."}
    for name in order:
        namespace["__annotations__"][name] = TYPES[name][0]
        namespace[name] = OutputField(desc=name, sensitive=name == "last")
    signature = type("Twelve", (BaseSignature,), namespace)
    adapter = BAMLAdapter() if form == "baml" else form
    with Executor(plugins=[], lm=lm_over(Engine(cuts)), adapter=adapter) as executor:
        fresh, hit = stream(executor, signature), stream(executor, signature)
    results = []
    for events in (fresh, hit):
        assert isinstance(events[-1], StreamFinished)
        result = events[-1].result
        results.append(dict(result.items()))
        said: dict[str, str] = {}
        for event in events:
            assert event.kind != "retracted"
            if isinstance(event, StreamDelta):
                said[event.field] = said.get(event.field, "") + event.text
                assert result[event.field].startswith(said[event.field])
            elif isinstance(event, StreamPartial):
                assert all(result[name] == value for name, value in event.outputs.items())
                assert "last" not in event.outputs
        assert said == {"text": TYPES["text"][1], "more": TYPES["more"][1]}
    assert set(kinds(fresh)) == set(kinds(hit))
    assert results[0] == results[1]


def test_every_partial_is_a_prefix_of_the_result() -> None:
    for seed in range(32):
        chunked(seed)


@pytest.mark.soak
def test_every_partial_of_a_thousand_chunkings_is_a_prefix_of_the_result() -> None:
    for seed in range(4000):
        chunked(seed)
    print(
        "1000 chunkings of 12 types in each of 4 formats: every partial was a prefix of the result, and nothing "
        "sensitive was streamed"
    )


def test_events_are_data() -> None:
    assert json.dumps([StreamDelta("a", "b").kind, StreamDelta("a", "secret").__repr__()]).count("secret") == 0
