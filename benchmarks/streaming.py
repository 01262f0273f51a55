"""How long a piece of a stream takes from the engine to the reader, and what a stream costs beside a whole answer.

The engine yields an answer of several texts, a token at a time, and notes when it does. The delay of the first delta is
the time from the first token whose text is certain (the first word behind its header) to its event. Exit code 1 where
its median is above the budget.

    python benchmarks/streaming.py
"""

from __future__ import annotations

import argparse
import asyncio
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
ANSWER = f"[[ ## answer ## ]]\n{WORDS}\n\n[[ ## summary ## ]]\n{WORDS[:60]}\n\n[[ ## completed ## ]]"
TOKENS = re.findall(r"\s*\S+", ANSWER)
#: The first word behind the header of the first output.
FIRST = next(at for at, token in enumerate(TOKENS) if "word0" in token)


class Engine:
    """Streams the answer, and notes when the first certain token was given out.

    Args:
        delay: seconds between two tokens.
    """

    supports_function_calling = supports_reasoning = supports_response_schema = False
    supported_params: frozenset[str] = frozenset()
    free = True

    def __init__(self, delay: float) -> None:
        self.delay, self.given = delay, 0.0
        self.usage = Usage(input_tokens=10, output_tokens=len(TOKENS), total_tokens=10 + len(TOKENS))

    def complete(self, request: Any) -> Response:
        """Answer as a whole."""
        message = Message(role="assistant", parts=(TextPart(ANSWER),))
        return Response(id=None, model=request.model, message=message, finish_reason="stop", usage=self.usage)

    def stream(self, request: Any) -> Iterator[Any]:
        """Answer a token at a time."""
        yield StreamStartEvent(id=None, model=request.model)
        for number, token in enumerate(TOKENS):
            if self.delay:
                time.sleep(self.delay)
            yield self.event(number, token)
        yield StreamEndEvent(finish_reason="stop", usage=self.usage)

    def event(self, number: int, token: str) -> Any:
        """Return the event of a token."""
        if number == FIRST:
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
        for number, token in enumerate(TOKENS):
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
    executor = Executor(lm=lm, plugins=[], cache_enabled=False)
    executor.register_signature("Answer", "question -> answer, summary")
    return executor


def first_deltas(repeat: int, delay: float, *, asynchronous: bool, awaited: bool) -> list[float]:
    """Return the delay of the first delta of each stream, in milliseconds."""
    engine = Engine(delay)
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


def cpu(repeat: int, work: Callable[[Executor], object]) -> float:
    """Return the CPU time of ``work`` in milliseconds, the best of several rounds."""
    best = float("inf")
    with executor_with(Engine(0.0), asynchronous=True) as executor:
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
    for asynchronous, engine in ((True, "asynchronous engine"), (False, "blocking engine")):
        for awaited, reader in ((False, "read by blocking"), (True, "awaited")):
            delays = first_deltas(options.repeat, options.delay, asynchronous=asynchronous, awaited=awaited)
            median, high = statistics.median(delays), statistics.quantiles(delays, n=20)[-1]
            worst = max(worst, median)
            print(f"{f'{engine}, {reader}':<44}{median:>8.2f}{high:>8.2f}")
    whole = cpu(50, lambda executor: executor.execute_signature("Answer", {"question": "?"}))
    streamed = cpu(50, lambda executor: list(executor.stream_signature("Answer", {"question": "?"})))
    print(f"\n{f'CPU of an answer of {len(TOKENS)} tokens, ms':<44}{'whole':>8}{'stream':>8}{'a token':>9}")
    print(f"{'':<44}{whole:>8.2f}{streamed:>8.2f}{(streamed - whole) / len(TOKENS):>9.4f}")
    if worst > BUDGET:
        print(f"over budget: the first delta takes more than {BUDGET:g} ms")
    return int(worst > BUDGET)


if __name__ == "__main__":
    sys.exit(main())
