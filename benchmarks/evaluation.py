"""What an evaluation costs beside the batch that it runs and beside ``dspy.Evaluate``, on a model that answers at once.

All sides run in the same process on the same null language model, in turns, so that whatever else the machine does
hits all of them. A figure is CPU time a row. "batch" is ``execute_batch`` on the same inputs; "evaluate" reads the
rows, runs them, scores them, and makes the report with its intervals. Neither has a journal, a cache or a tracker; with
``--journal`` both have a journal on disk.

    python benchmarks/evaluation.py [--rows 10000] [--rounds 5] [--journal]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import dspy

from hokusai_core import Executor
from hokusai_core.testing.lm import null_lm
from hokusai_evaluate import evaluate

GOALS = {"batch": 1.1, "dspy.Evaluate": 0.5}


def seconds(work: Callable[[], Any]) -> float:
    """Return the CPU seconds that ``work`` takes, on all threads of this process."""
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--journal", action="store_true", help="keep what is done on disk, on both sides")
    options = parser.parse_args()
    lm = null_lm(answers={"answer": "Paris"})
    rows = [
        {"question": f"What is the capital of country {number}?", "answer": "Paris" if number % 2 else "Rome"}
        for number in range(options.rows)
    ]
    inputs = [{"question": row["question"]} for row in rows]
    examples = [dspy.Example(**row).with_inputs("question") for row in rows]
    executor = Executor(lm=lm, plugins=[], cache_enabled=False, max_workers=options.workers)
    executor.register_signature("Ask", "question -> answer")
    predict = dspy.Predict("question -> answer")

    def peer() -> None:
        with contextlib.redirect_stderr(io.StringIO()), dspy.context(lm=lm):
            metric = dspy.evaluate.answer_exact_match
            dspy.Evaluate(devset=examples, metric=metric, num_threads=options.workers, display_progress=False)(predict)

    folder, numbers = tempfile.TemporaryDirectory(), itertools.count()

    def journal() -> str | None:
        return f"{folder.name}/{next(numbers)}" if options.journal else None

    sides: dict[str, Callable[[], Any]] = {
        "batch": lambda: executor.execute_batch("Ask", inputs, progress=False, journal=journal()),
        "evaluate": lambda: evaluate(executor, "Ask", rows, metric="accuracy", journal=journal()),
        "dspy.Evaluate": peer,
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(options.rounds + 1):
        for name, side in sides.items():
            taken = seconds(side)
            if number:  # the first round warms up
                times[name].append(taken)
    executor.close()
    folder.cleanup()
    print(f"{options.rows} rows, {options.rounds} rounds, {options.workers} workers; CPU time a row")
    for name, values in times.items():
        print(f"  {name:14} {statistics.median(values) / options.rows * 1e6:8.1f} us")
    for name, goal in GOALS.items():
        ratio = statistics.median(ours / theirs for ours, theirs in zip(times["evaluate"], times[name], strict=True))
        print(f"  evaluate / {name:14} {ratio:5.2f}   (goal {goal:g}: {'met' if ratio <= goal else 'MISSED'})")


if __name__ == "__main__":
    main()
