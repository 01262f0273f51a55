"""Executors over a language model that does to each row what the row's text says."""

from __future__ import annotations

import asyncio
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import dspy
import pytest
from dspy.lm15 import Message, RateLimitError, Response, ServerError, TextPart, Usage

from hokusai_core import Executor

MakeExecutor = Callable[..., Executor]

_ORDER = re.compile(r"(\w+)=([\d.]+)")


class Model:
    """Answers ``answer to QUESTION``, once it has done what is written in the question.

    ``sleep=0.1`` takes that long, ``hang=60`` takes at most that long, and ends when ``free`` is set, ``meet=8`` waits
    until eight calls have been in flight at once, ``fail=2`` fails the first two calls for that question, ``storm=2``
    turns the first two away with a rate limit, ``garble=1`` answers once with what cannot be parsed.
    """

    supports_response_schema = False
    supports_function_calling = False
    supports_reasoning = False
    supported_params = frozenset({"max_tokens", "temperature"})

    def __init__(self, retry_after: float | None = 0.02, delay: float = 0.0) -> None:
        self.retry_after, self.delay = retry_after, delay
        self.seen: Counter[str] = Counter()
        self.calls = self.in_flight = self.most_in_flight = self.cancelled = 0
        self.free = threading.Event()
        self.lock = threading.Lock()

    def complete(self, request: Any) -> Response:
        question, orders, count = self.begin(request)
        try:
            if "hang" in orders:
                self.free.wait(orders["hang"])
            while self.most_in_flight < orders.get("meet", 0.0):
                time.sleep(0.001)
            time.sleep(orders.get("sleep", self.delay))
            return self.answer(question, orders, count)
        finally:
            self.end()

    def begin(self, request: Any) -> tuple[str, dict[str, float], int]:
        text = next(message.text for message in reversed(request.messages) if message.role == "user")
        question = text.split("[[ ## question ## ]]\n")[1].split("\n\nRespond with")[0].strip()
        with self.lock:
            self.calls += 1
            self.seen[question] += 1
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            return question, {name: float(value) for name, value in _ORDER.findall(question)}, self.seen[question]

    def end(self) -> None:
        with self.lock:
            self.in_flight -= 1

    def answer(self, question: str, orders: dict[str, float], count: int) -> Response:
        if count <= orders.get("storm", 0):
            raise RateLimitError("slow down", status=429, retry_after=self.retry_after)
        if count <= orders.get("storm", 0) + orders.get("fail", 0):
            raise ServerError("scripted outage", status=503)
        garbled = count <= orders.get("garble", 0)
        text = "nothing of use" if garbled else f"[[ ## answer ## ]]\nanswer to {question}\n\n[[ ## completed ## ]]"
        usage = Usage(input_tokens=10, output_tokens=5, total_tokens=15)
        return Response(
            id=None, model="m", message=Message.assistant([TextPart(text)]), finish_reason="stop", usage=usage
        )

    def close(self) -> None:
        self.free.set()


class AsyncModel:
    """The asynchronous side of a model."""

    def __init__(self, model: Model) -> None:
        self.model = model

    async def complete(self, request: Any) -> Response:
        question, orders, count = self.model.begin(request)
        try:
            until = time.monotonic() + orders.get("hang", 0.0)
            while time.monotonic() < until and not self.model.free.is_set():  # noqa: ASYNC110  # set by a thread
                await asyncio.sleep(0.005)
            while self.model.most_in_flight < orders.get("meet", 0.0):  # noqa: ASYNC110  # as above
                await asyncio.sleep(0.001)
            await asyncio.sleep(orders.get("sleep", self.model.delay))
            return self.model.answer(question, orders, count)
        except asyncio.CancelledError:
            self.model.cancelled += 1
            raise
        finally:
            self.model.end()

    async def aclose(self) -> None:
        pass


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("HOKUSAI_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def make_lm() -> Iterator[Callable[..., Any]]:
    """Return a function that makes such a language model; its model is ``lm.engine``."""
    models: list[Model] = []

    def make(*, asynchronous: bool = True, **options: Any) -> Any:
        model = Model(**options)
        models.append(model)
        extra = {"async_engine": AsyncModel(model)} if asynchronous else {}
        return dspy.LM("scripted/rows", engine=model, cache=False, num_retries=0, **extra)

    yield make
    for model in models:
        model.close()


@pytest.fixture
def make_executor(make_lm: Callable[..., Any]) -> Iterator[MakeExecutor]:
    """Return a function that makes an executor with the signature Ask."""
    made: list[Executor] = []

    def make(**arguments: Any) -> Executor:
        executor = Executor(**{"plugins": [], "lm": make_lm(), **arguments})
        made.append(executor)
        executor.register_signature("Ask", "question -> answer")
        return executor

    yield make
    for executor in made:
        executor.close()
