"""What a call through the bridge and a whole execution cost beside raw DSPy, on a model that answers at once.

Both sides run in the same process on the same null language model, in turns, so that whatever else the machine does
hits both. A ratio below 1 means that Hokusai is faster. "bridge" is the call of the model alone; "execution" is
everything that ``Executor.execute_signature`` does: it binds and validates inputs, calls with a deadline (which takes a
thread where the call blocks) or without one, validates outputs, counts. A hit of the memory cache is compared with one
of DSPy's own memory cache; its disk cache is off.

    python benchmarks/overhead.py [--rounds 15] [--calls 200]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import dspy

from hokusai_core import Executor
from hokusai_core.base_signature import BaseSignature
from hokusai_core.dspy_bridge import ModelCall, to_dspy
from hokusai_core.signatures.spec import FieldSpec, SignatureSpec
from hokusai_core.testing.lm import null_lm

PLAIN = SignatureSpec("Answer", "Answer the question.", (FieldSpec("question", "input"), FieldSpec("answer", "output")))
PLAIN_INPUTS: dict[str, Any] = {"question": "How many strings does a violin have?"}

TYPED = SignatureSpec(
    "Triage",
    "Sort a support ticket and say how sure you are.",
    (
        FieldSpec("ticket", "input", str, "The ticket as the customer wrote it"),
        FieldSpec("products", "input", list[str], "Names of our products"),
        FieldSpec("age", "input", int, "Days since it was written"),
        FieldSpec("summary", "output", str, "One sentence"),
        FieldSpec("affected", "output", list[str], "Products that the ticket is about"),
        FieldSpec("urgency", "output", Literal["low", "normal", "high"], "How soon the team has to act"),
        FieldSpec("confidence", "output", float, "From 0 to 1"),
        FieldSpec("refund", "output", bool, "Whether the customer asks for money back"),
    ),
)
TYPED_INPUTS: dict[str, Any] = {
    "ticket": "It broke again. I want my money back.",
    "products": ["Lamp", "Desk"],
    "age": 3,
}


def seconds(work: Callable[[], Any], times: int) -> float:
    """Return the seconds that ``work`` takes, averaged over ``times``."""
    started = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - started) / times


def paired(raw: Callable[[], float], ours: Callable[[], float], rounds: int) -> tuple[float, float, float]:
    """Return the median of both and of their ratio; who goes first alternates."""
    results: list[tuple[float, float]] = []
    raw(), ours()
    for number in range(rounds):
        gc.collect()
        if number % 2:
            mine = ours()
            results.append((raw(), mine))
        else:
            results.append((raw(), ours()))
    return (
        statistics.median(first for first, _ in results),
        statistics.median(second for _, second in results),
        statistics.median(second / first for first, second in results),
    )


def compare_calls(spec: SignatureSpec, inputs: dict[str, Any], rounds: int, calls: int) -> tuple[float, float, float]:
    """Compare single calls, one after the other."""
    lm = null_lm()
    predict, call = dspy.Predict(to_dspy(spec)), ModelCall(spec, lm)
    with dspy.context(lm=lm, trace=None, disable_history=True):
        return paired(
            lambda: seconds(lambda: predict(**inputs), calls),
            lambda: seconds(lambda: call.prepare(inputs).run(), calls),
            rounds,
        )


def compare_gather(spec: SignatureSpec, inputs: dict[str, Any], rows: int, rounds: int) -> tuple[float, float, float]:
    """Compare ``rows`` concurrent calls of a model that takes 50 ms."""
    lm = null_lm(delay=0.05)
    predict, call = dspy.Predict(to_dspy(spec)), ModelCall(spec, lm)

    async def gather(work: Callable[[], Awaitable[Any]]) -> float:
        started = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(rows)))
        return time.perf_counter() - started

    with dspy.context(lm=lm, trace=None, disable_history=True):
        return paired(
            lambda: asyncio.run(gather(lambda: predict.acall(**inputs))),
            lambda: asyncio.run(gather(lambda: call.prepare(inputs).arun())),
            rounds,
        )


def executor_of(spec: SignatureSpec, lm: Any, **settings: Any) -> Executor:
    """Return an executor that knows nothing but ``spec``."""
    executor = Executor(lm=lm, plugins=[], **settings)
    executor.register_signature(spec.name, BaseSignature.from_spec(spec))
    return executor


def compare_executions(
    spec: SignatureSpec, inputs: dict[str, Any], rounds: int, calls: int, timeout: float | None
) -> tuple[float, float, float]:
    """Compare whole executions without a cache, one after the other."""
    lm = null_lm()
    predict = dspy.Predict(to_dspy(spec))
    host = dspy.context(lm=lm, trace=None, disable_history=True)
    with executor_of(spec, lm, cache_enabled=False, timeout=timeout) as executor, host:
        execute = executor.execute_signature
        return paired(
            lambda: seconds(lambda: predict(**inputs), calls),
            lambda: seconds(lambda: execute(spec.name, inputs), calls),
            rounds,
        )


def compare_awaited(spec: SignatureSpec, inputs: dict[str, Any], rounds: int, calls: int) -> tuple[float, float, float]:
    """Compare whole executions without a cache on an event loop, one after the other, with the default timeout."""
    lm = null_lm()
    predict = dspy.Predict(to_dspy(spec))

    async def awaited(work: Callable[[], Awaitable[Any]]) -> float:
        started = time.perf_counter()
        for _ in range(calls):
            await work()
        return (time.perf_counter() - started) / calls

    with executor_of(spec, lm, cache_enabled=False) as executor, dspy.context(lm=lm, trace=None, disable_history=True):
        return paired(
            lambda: asyncio.run(awaited(lambda: predict.acall(**inputs))),
            lambda: asyncio.run(awaited(lambda: executor.aexecute_signature(spec.name, inputs))),
            rounds,
        )


def compare_hits(spec: SignatureSpec, inputs: dict[str, Any], rounds: int, calls: int) -> tuple[float, float, float]:
    """Compare hits of the memory caches: DSPy's, which sits inside the language model, and that of an executor."""
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=True)
    lm = null_lm()
    lm.cache = True
    predict = dspy.Predict(to_dspy(spec))
    with executor_of(spec, lm) as executor, dspy.context(lm=lm, trace=None, disable_history=True):
        execute = executor.execute_signature
        predict(**inputs), execute(spec.name, inputs)
        before = lm.engine.calls
        compared = paired(
            lambda: seconds(lambda: predict(**inputs), calls),
            lambda: seconds(lambda: execute(spec.name, inputs), 10 * calls),
            rounds,
        )
    if lm.engine.calls != before:
        raise SystemExit("a cache was missed: there is nothing to compare")
    return compared


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="rounds of each pair")
    parser.add_argument("--calls", type=int, default=200, help="calls of a round")
    options = parser.parse_args()
    # One full garbage collection walks all that importing DSPy has made and takes as long as the 50 ms below; which of
    # the two sides it hits is chance. The objects made from here on are collected as ever.
    gc.collect()
    gc.freeze()
    rows: list[tuple[str, float, float, float]] = [
        ("bridge, 1 input, 1 output", *compare_calls(PLAIN, PLAIN_INPUTS, options.rounds, options.calls)),
        ("bridge, 3 inputs, 5 typed outputs", *compare_calls(TYPED, TYPED_INPUTS, options.rounds, options.calls)),
    ]
    for label, spec, inputs in (("1 -> 1", PLAIN, PLAIN_INPUTS), ("3 -> 5", TYPED, TYPED_INPUTS)):
        for told, timeout in (("default timeout", 300.0), ("timeout=None", None)):
            compared = compare_executions(spec, inputs, options.rounds, options.calls, timeout)
            rows.append((f"execution, {label}, {told}", *compared))
        rows.append((f"execution, {label}, awaited", *compare_awaited(spec, inputs, options.rounds, options.calls)))
        rows.append((f"memory-cache hit, {label}", *compare_hits(spec, inputs, options.rounds, options.calls)))
    for count in (500, 1000):
        rounds = max(5, options.rounds // 2)
        rows.append((f"bridge, {count} at once, 50 ms, 1 -> 1", *compare_gather(PLAIN, PLAIN_INPUTS, count, rounds)))
        rows.append((f"bridge, {count} at once, 50 ms, 3 -> 5", *compare_gather(TYPED, TYPED_INPUTS, count, rounds)))
    print(f"{'':38}{'raw DSPy':>12}{'Hokusai':>12}{'ratio':>8}{'speed-up':>10}")
    for name, raw, ours, ratio in rows:
        print(f"{name:38}{raw * 1e6:>9.0f} us{ours * 1e6:>9.1f} us{ratio:>8.3f}{1 / ratio:>9.1f}x")


if __name__ == "__main__":
    main()
