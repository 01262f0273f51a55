"""Batches beside the other ways of running many rows: ``dspy.Parallel``, ``asyncio.gather`` and langchain-core.

All run the same DSPy signature on the same language model, which takes 50 ms, in this process, in turns, so that
whatever else the machine does hits each of them. A ratio above 1 means that Hokusai is faster.

    python benchmarks/batch.py [--rounds 5] [--only window wide overhead memory duplicates]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import io
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import dspy
import psutil
from langchain_core.runnables import RunnableLambda

from hokusai_core import Executor
from hokusai_core.testing.lm import null_lm

DELAY = 0.05
Way = Callable[[list[dict[str, str]], int], Any]


class Ways:
    """The way of each library to run rows, with so many at once."""

    def __init__(self, delay: float) -> None:
        self.lm = null_lm(delay=delay)
        self.executor = Executor(lm=self.lm, plugins=[])
        self.executor.register_signature("Ask", "question -> answer")
        self.predict = dspy.Predict("question -> answer")
        self.chain: Any = RunnableLambda(lambda row: self.predict(**row), afunc=self._acall)

    def hokusai(self, rows: list[dict[str, str]], workers: int) -> Any:
        return self.executor.execute_batch("Ask", rows, max_workers=workers, progress=False)

    def hokusai_awaited(self, rows: list[dict[str, str]], workers: int) -> Any:
        return asyncio.run(self.executor.aexecute_batch("Ask", rows, max_workers=workers, progress=False))

    def dspy_parallel(self, rows: list[dict[str, str]], workers: int) -> Any:
        parallel = dspy.Parallel(num_threads=workers, disable_progress_bar=True, timeout=0)
        with contextlib.redirect_stdout(io.StringIO()):
            return parallel([(self.predict, row) for row in rows])

    def gather(self, rows: list[dict[str, str]], workers: int) -> Any:
        async def main() -> Any:
            gate = asyncio.Semaphore(workers)

            async def one(row: dict[str, str]) -> Any:
                async with gate:
                    return await self.predict.acall(**row)

            return await asyncio.gather(*map(one, rows))

        return asyncio.run(main())

    def langchain(self, rows: list[dict[str, str]], workers: int) -> Any:
        return self.chain.batch(rows, {"max_concurrency": workers})

    def langchain_awaited(self, rows: list[dict[str, str]], workers: int) -> Any:
        return asyncio.run(self.chain.abatch(rows, {"max_concurrency": workers}))

    async def _acall(self, row: dict[str, str]) -> Any:
        return await self.predict.acall(**row)


def compare(ways: dict[str, Way], lm: Any, count: int, workers: int, rounds: int) -> dict[str, float]:
    """Return the median seconds of each way; each round runs all of them on new rows."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    with dspy.context(lm=lm, trace=None, disable_history=True):
        for number in range(rounds + 1):
            for name, way in ways.items():
                rows = [{"question": f"{name} {number} {row}"} for row in range(count)]
                gc.collect()
                started = time.perf_counter()
                answers = list(way(rows, workers))
                if number:  # the first round warms everything up
                    seconds[name].append(time.perf_counter() - started)
                if len(answers) != count or not all(answer["answer"] for answer in answers):
                    raise SystemExit(f"{name}: an answer is missing")
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def table(title: str, seconds: dict[str, float], ideal: float | None, per: int | None = None) -> None:
    """Print seconds, the part above the ideal, and each time over Hokusai's best."""
    print(f"\n{title}" + (f"; ideal {ideal:.3f} s" if ideal else ""))
    best = min(taken for name, taken in seconds.items() if name.startswith("hokusai"))
    for name, taken in seconds.items():
        shown = f"{taken / per * 1e6:9.0f} us a row" if per else f"{taken:9.3f} s"
        above = f"{(taken / ideal - 1) * 100:8.1f} %" if ideal else ""
        print(f"  {name:28}{shown}{above}{taken / best:9.2f}x")


def window(rounds: int) -> None:
    """640 rows on 32 workers."""
    ways = Ways(DELAY)
    chosen: dict[str, Way] = {
        "hokusai execute_batch": ways.hokusai,
        "hokusai aexecute_batch": ways.hokusai_awaited,
        "dspy.Parallel": ways.dspy_parallel,
        "gather over Predict.acall": ways.gather,
        "langchain-core batch": ways.langchain,
        "langchain-core abatch": ways.langchain_awaited,
    }
    table("640 rows x 32 workers, 50 ms", compare(chosen, ways.lm, 640, 32, rounds), 640 / 32 * DELAY)


def wide(rounds: int) -> None:
    """500 and 1,000 rows, all at once."""
    for count in (500, 1_000):
        ways = Ways(DELAY)
        chosen: dict[str, Way] = {
            "hokusai execute_batch": ways.hokusai,
            "hokusai aexecute_batch": ways.hokusai_awaited,
            "gather over Predict.acall": ways.gather,
            "langchain-core abatch": ways.langchain_awaited,
            "langchain-core batch": ways.langchain,
            "dspy.Parallel": ways.dspy_parallel,
        }
        table(f"{count} rows at once, 50 ms", compare(chosen, ways.lm, count, count, rounds), None)


def overhead(rounds: int) -> None:
    """What a row costs where the model answers at once."""
    ways = Ways(0.0)
    chosen: dict[str, Way] = {
        "hokusai execute_batch, 8": ways.hokusai,
        "hokusai aexecute_batch, 8": ways.hokusai_awaited,
        "gather over Predict.acall, 8": ways.gather,
        "langchain-core batch, 8": ways.langchain,
        "dspy.Parallel, 8": ways.dspy_parallel,
    }
    table("1,000 rows x 8 workers, no delay", compare(chosen, ways.lm, 1_000, 8, rounds), None, per=1_000)


def duplicates(_: int) -> None:
    """1,000 rows with 100 distinct inputs."""
    print("\n1,000 rows with 100 distinct inputs, 32 workers")
    rows = [{"question": f"q{number % 100}"} for number in range(1_000)]
    ways = Ways(0.005)
    chosen: dict[str, Way] = {
        "hokusai": ways.hokusai, "dspy.Parallel": ways.dspy_parallel, "gather": ways.gather,
        "langchain-core": ways.langchain,
    }  # fmt: skip
    for name, way in chosen.items():
        ways.lm.engine.calls = 0
        with dspy.context(lm=ways.lm, trace=None, disable_history=True):
            way(rows, 32)
        print(f"  {name:28}{ways.lm.engine.calls:9} calls")


def memory(_: int) -> None:
    """Peak memory of 1,000 and 100,000 rows, each in a process of its own."""
    print("\npeak memory through iter_batch, 8 workers, no delay")
    for count in (1_000, 100_000):
        command = [sys.executable, __file__, "--measure-memory", str(count)]
        print(
            f"  {count:>7,} rows  {subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()}"
        )


def measure_memory(count: int) -> None:
    """Run so many rows and print what the process has needed at most beyond its start."""
    ways = Ways(0.0)
    process = psutil.Process()
    before = process.memory_info().rss
    peak = before
    done = 0
    source = ({"question": f"row {number} " + "x" * 200} for number in range(count))
    for done, _row in enumerate(ways.executor.iter_batch("Ask", source, progress=False), 1):
        if done % 100 == 0:
            peak = max(peak, process.memory_info().rss)
    print(f"{peak / 2**20:6.0f} MB at most, {before / 2**20:6.0f} MB before the first of {done:,} rows")


SECTIONS: dict[str, Callable[[int], None]] = {
    "window": window, "wide": wide, "overhead": overhead, "duplicates": duplicates, "memory": memory,
}  # fmt: skip


def main() -> None:
    """Run the sections."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds that are measured")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="sections")
    parser.add_argument("--measure-memory", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure_memory:
        measure_memory(options.measure_memory)
        return
    gc.collect()
    gc.freeze()  # what importing DSPy has made; else one full collection takes as long as the 50 ms
    for name in options.only:
        SECTIONS[name](options.rounds)


if __name__ == "__main__":
    main()
