"""What starting costs: the command and the imports, beside an empty Python and ``import dspy``.

Every line is a process of its own; they are run interleaved, after a first run that writes the byte code. Shown is the
best of ``--repeat`` runs in milliseconds, and what it is of ``import dspy``; then the median of the processor time,
which other processes disturb less. Exit code 1 where a budget is exceeded.

    python benchmarks/startup.py
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Collection
from typing import NamedTuple

REFERENCE = "python -c 'import dspy'"
#: What is run, and its budget in milliseconds where it has one.
RUNS: dict[str, tuple[list[str], float | None]] = {
    "python -c pass": (["-c", "pass"], None),
    "python -c 'import hokusai'": (["-c", "import hokusai"], 60),
    "python -c 'import hokusai_core'": (["-c", "import hokusai_core"], 100),
    "hokusai --help": (["-m", "hokusai", "--help"], 120),
    "hokusai list": (["-m", "hokusai", "list"], 250),
    "hokusai plugins": (["-m", "hokusai", "plugins"], None),
    "hokusai doctor": (["-m", "hokusai", "doctor"], None),
    REFERENCE: (["-c", "import dspy"], None),
}
#: ``hokusai list`` takes at most this part of what importing DSPy takes.
SHARE = 1 / 5


class Taken(NamedTuple):
    """Milliseconds of one process."""

    elapsed: float
    processor: float


def measure(names: Collection[str], repeat: int) -> dict[str, list[Taken]]:
    """Return what each run of these took."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    found: dict[str, list[Taken]] = defaultdict(list)
    for turn in range(repeat + 1):
        for name in names:
            if name == REFERENCE and turn > 5:
                continue  # a second each; its best is found soon
            arguments = RUNS[name][0]
            used, started = processor_seconds(), time.perf_counter()
            subprocess.run([sys.executable, *arguments], capture_output=True, env=environment, check=False)
            taken = Taken((time.perf_counter() - started) * 1000, (processor_seconds() - used) * 1000)
            if turn:
                found[name].append(taken)
    return found


def processor_seconds() -> float:
    """Return the processor time of the processes that this one has started, as far as they have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Print the table; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeat", type=int, default=15, help="runs of each [default: 15]")
    parser.add_argument("--only", choices=RUNS, action="append", help="only this line; may be repeated")
    options = parser.parse_args()
    found = measure(options.only or RUNS, options.repeat)
    best = {name: min(taken.elapsed for taken in every) for name, every in found.items()}
    exceeded = []
    print(f"{'':<34}{'ms':>7}  {'of import dspy':>14}  {'budget':>7}  {'processor ms':>12}")
    for name, every in found.items():
        budget = RUNS[name][1]
        share = f"{best[name] / best[REFERENCE]:.2f}" if REFERENCE in best else ""
        processor = statistics.median(taken.processor for taken in every)
        limit = f"{budget:.0f}" if budget else ""
        print(f"{name:<34}{best[name]:>7.1f}  {share:>14}  {limit:>7}  {processor:>12.1f}")
        if budget and best[name] > budget:
            exceeded.append(name)
    if not options.only and best["hokusai list"] > SHARE * best[REFERENCE]:
        exceeded.append(f"hokusai list, beside {REFERENCE}")
    if exceeded:
        print(f"over budget: {', '.join(exceeded)}")
    return 1 if exceeded else 0


if __name__ == "__main__":
    sys.exit(main())
