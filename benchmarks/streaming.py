"""How long a piece of a stream takes from the engine to the reader, and what a stream costs beside a whole answer.

The engine yields an answer of several texts, a token at a time, and notes when it does. The delay of the first delta is
the time from the first token whose text is certain (the first word behind its header, key or tag) to its event. Exit
code 1 where its median is above the budget.

    python benchmarks/streaming.py
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import dspy
from dspy.lm15 import Message, Response, StreamDeltaEvent, StreamEndEvent, StreamStartEvent, TextDelta, TextPart, Usage

from hokusai_core import Executor

#: Milliseconds that the first delta takes at most, as a median.
BUDGET = 5.0
WORDS = " ".join(f"word{number}" for number in range(200))
#: The answer in the format of each adapter.
ANSWERS = {
    "chat": f"[[ ## answer ## ]]\n{WORDS}\n\n[[ ## summary ## ]]\n{WORDS[:60]}\n\n[[ ## completed ## ]]",
    "json": json.dumps({"answer": WORDS, "summary": WORDS[:60]}),
    "xml": f"<answer>\n{WORDS}\n</answer>\n<summary>\n{WORDS[:60]}\n</summary>",
}


class Engine:
    """Streams the answer, and notes when the first certain token was given out.

    Args:
        form: name of the adapter whose format the answer has.
        delay: seconds between two tokens.
    """

    supports_function_calling = supports_reasoning = supports_response_schema = False
    supported_params: frozenset[str] = frozenset()
    free = True

    def __init__(self, form: str, delay: float) -> None:
        self.form, self.delay, self.given = form, delay, 0.0
        self.tokens = re.findall(r"\s*\S+", ANSWERS[form])
        #: The token with the first word of the first output.
        self.first = next(at for at, token in enumerate(self.tokens) if "word0" in token)
        count = len(self.tokens)
        self.usage = Usage(input_tokens=10, output_tokens=count, total_tokens=10 + count)

    def complete(self, request: Any) -> Response:
        """Answer as a whole."""
        message = Message(role="assistant", parts=(TextPart(ANSWERS[self.form]),))
        return Response(id=None, model=request.model, message=message, finish_reason="stop", usage=self.usage)

    def stream(self, request: Any) -> Iterator[Any]:
        """Answer a token at a time."""
        yield StreamStartEvent(id=None, model=request.model)
        for number, token in enumerate(self.tokens):
            if self.delay:
                time.sleep(self.delay)
            yield self.event(number, token)
        yield StreamEndEvent(finish_reason="stop", usage=self.usage)

    def event(self, number: int, token: str) -> Any:
        """Return the event of a token."""
        if number == self.first:
            self.given = time.perf_counter()
        return StreamDeltaEvent(TextDelta(token))

    def close(self) -> None:
        """Do nothing."""


class AsyncEngine:
    """The asynchronous side of an ``Engine``."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def complete(self, request: Any) -> Response:
        """Answer as a whole."""
        return self.engine.complete(request)

    async def stream(self, request: Any) -> AsyncIterator[Any]:
        """Answer a token at a time."""
        yield StreamStartEvent(id=None, model=request.model)
        for number, token in enumerate(self.engine.tokens):
            if self.engine.delay:
                await asyncio.sleep(self.engine.delay)
            yield self.engine.event(number, token)
        yield StreamEndEvent(finish_reason="stop", usage=self.engine.usage)

    async def aclose(self) -> None:
        """Do nothing."""


def executor_with(engine: Engine, *, asynchronous: bool) -> Executor:
    """Return an executor over ``engine``."""
    other = AsyncEngine(engine) if asynchronous else None
    lm = dspy.LM("null/stream", engine=engine, async_engine=other, cache=False, num_retries=0)
    executor = Executor(lm=lm, plugins=[], cache_enabled=False, adapter=engine.form)
    executor.register_signature("Answer", "question -> answer, summary")
    return executor


def first_deltas(repeat: int, delay: float, *, asynchronous: bool, awaited: bool, form: str = "chat") -> list[float]:
    """Return the delay of the first delta of each stream, in milliseconds."""
    engine = Engine(form, delay)
    delays = []

    def note(event: Any) -> bool:
        if event.kind == "delta":
            delays.append((time.perf_counter() - engine.given) * 1000)
        return bool(event.kind == "delta")

    with executor_with(engine, asynchronous=asynchronous) as executor:

        async def read() -> None:
            async with executor.astream_signature("Answer", {"question": "?"}) as events:
                async for event in events:
                    if note(event):
                        return

        for _ in range(repeat + 1):
            if awaited:
                asyncio.run(read())
                continue
            with executor.stream_signature("Answer", {"question": "?"}) as events:
                for event in events:
                    if note(event):
                        break
    return delays[1:]  # the first call imports


def cpu(repeat: int, form: str, work: Callable[[Executor], object]) -> float:
    """Return the CPU time of ``work`` in milliseconds, the best of several rounds."""
    best = float("inf")
    with executor_with(Engine(form, 0.0), asynchronous=True) as executor:
        for _ in range(5):
            began = time.process_time()
            for _ in range(repeat):
                work(executor)
            best = min(best, (time.process_time() - began) / repeat * 1000)
    return best


def main() -> int:
    """Print the tables; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeat", type=int, default=100, help="streams of each kind [default: 100]")
    parser.add_argument("--delay", type=float, default=0.002, help="seconds between tokens [default: 0.002]")
    options = parser.parse_args()
    worst = 0.0
    print(f"{'first delta after its token, ms':<44}{'median':>8}{'95 %':>8}")
    ways: list[tuple[str, dict[str, Any]]] = [
        (f"chat, {engine} engine, {reader}", {"asynchronous": asynchronous, "awaited": awaited, "form": "chat"})
        for asynchronous, engine in ((True, "asynchronous"), (False, "blocking"))
        for awaited, reader in ((False, "read by blocking"), (True, "awaited"))
    ]
    ways += [
        (f"{form}, asynchronous engine, awaited", {"asynchronous": True, "awaited": True, "form": form})
        for form in ("json", "xml")
    ]
    for label, way in ways:
        delays = first_deltas(options.repeat, options.delay, **way)
        median, high = statistics.median(delays), statistics.quantiles(delays, n=20)[-1]
        worst = max(worst, median)
        print(f"{label:<44}{median:>8.2f}{high:>8.2f}")
    print(f"\n{'CPU of an answer, ms':<44}{'tokens':>8}{'whole':>8}{'stream':>8}{'a token':>9}")
    for form in ANSWERS:
        whole = cpu(50, form, lambda executor: executor.execute_signature("Answer", {"question": "?"}))
        streamed = cpu(50, form, lambda executor: list(executor.stream_signature("Answer", {"question": "?"})))
        count = len(Engine(form, 0.0).tokens)
        print(f"{form:<44}{count:>8}{whole:>8.2f}{streamed:>8.2f}{(streamed - whole) / count:>9.4f}")
    if worst > BUDGET:
        print(f"over budget: the first delta takes more than {BUDGET:g} ms")
    return int(worst > BUDGET)


if __name__ == "__main__":
    sys.exit(main())
