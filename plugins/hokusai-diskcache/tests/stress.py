"""Many processes on one folder: every answer is checked, some processes are killed, and the store must stay right.

    python plugins/hokusai-diskcache/tests/stress.py [--processes 8] [--executions 5000] [--inputs 500] [--kill 4]

Each process executes one signature over and over with inputs drawn at random. Three rounds use the same folder: all
processes run to the end; with another namespace, so that it starts without answers, ``--kill`` of them are killed with
SIGKILL midway; all run again. A call of the language model is needless where another execution of the same input had
been over, and so had stored its answer, before this one began; there must be none.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import signal
import sqlite3
import tempfile
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any


def answer_to(question: str) -> str:
    return f"{int(question) * 7919 % 10_007} to {question} {'and so on ' * (int(question) % 40)}".strip()


def work(folder: Path, log: Path, go: Path, executions: int, inputs: int, namespace: str, seed: int) -> None:
    """Execute, check every answer, and log every execution that called the language model."""
    from hokusai_core import Executor
    from hokusai_core.testing.lm import null_lm
    from hokusai_diskcache import DiskCache

    model = null_lm(answers={"answer": lambda prompt: answer_to(prompt.split("Q")[1])})
    draw = random.Random(seed)
    tiers: dict[str, int] = {}
    with log.open("a", buffering=1) as file:
        # A memory cache too small to help: the store has to answer.
        cache = DiskCache(folder)
        with Executor(lm=model, plugins=[], cache=cache, cache_entries=20, namespace=namespace) as executor:
            executor.register_signature("Ask", "question -> answer")
            executor.explain("Ask", {"question": "?"})  # everything is imported now
            file.write(json.dumps({"ready": seed}) + "\n")
            while not go.exists():  # all begin at once, when the store is still empty
                time.sleep(0.005)
            for turn in range(executions):
                number = draw.randrange(inputs)
                since = time.monotonic()
                result = executor.execute_signature("Ask", {"question": f"Q{number}Q"})
                if result["answer"] != answer_to(str(number)):
                    file.write(json.dumps({"wrong": [number, result["answer"]]}) + "\n")
                if result.cached is None:
                    file.write(json.dumps({"call": [namespace, number, since, time.monotonic()]}) + "\n")
                tiers[str(result.cached)] = tiers.get(str(result.cached), 0) + 1
                if turn % max(1, executions // 20) == 0:
                    file.write(json.dumps({"turn": turn}) + "\n")
            stats = executor.stats()["cache"]["persistent"]
        file.write(json.dumps({"done": tiers, "failures": stats["failures"], "last_error": stats["last_error"]}) + "\n")


def start(
    folder: Path, logs: Path, options: argparse.Namespace, namespace: str, first_seed: int
) -> list[ForkServerProcess]:
    context = multiprocessing.get_context("forkserver")  # each of its own, and none has to import everything anew
    context.set_forkserver_preload(["dspy", "hokusai_core.dspy_bridge", "hokusai_core.testing.lm", "hokusai_diskcache"])
    go = logs.parent / f"go-{namespace}-{first_seed}"
    ready = len(records(logs, "ready")) + options.processes
    processes = [
        context.Process(
            target=work,
            args=(folder, logs / f"{namespace}-{seed}.jsonl", go, options.executions, options.inputs, namespace, seed),
        )
        for seed in range(first_seed, first_seed + options.processes)
    ]
    for process in processes:
        process.start()
    while len(records(logs, "ready")) < ready:
        if any(process.exitcode is not None for process in processes):
            go.touch()  # so that the others end as well
            raise SystemExit(f"a process did not start: {ended(processes)}")
        time.sleep(0.02)
    go.touch()
    return processes


def ended(processes: list[ForkServerProcess]) -> list[int | None]:
    """Wait for the end of processes and return their exit codes."""
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def records(logs: Path, kind: str) -> list[Any]:
    found = []
    for log in sorted(logs.iterdir()):
        for line in log.read_text().splitlines():
            if line.endswith("}") and kind in (record := json.loads(line)):
                found.append(record[kind])
    return found


def count_needless(calls: list[tuple[str, int, float, float]]) -> int:
    """Count the executions that called although an answer had been stored before they began."""
    over: dict[tuple[str, int], float] = {}
    for namespace, number, _, end in calls:
        over[namespace, number] = min(end, over.get((namespace, number), end))
    return sum(since > over[namespace, number] for namespace, number, since, _ in calls)


def run(options: argparse.Namespace, folder: Path, logs: Path) -> dict[str, Any]:
    """Run the three rounds and return what came of them."""
    codes = ended(start(folder, logs, options, "whole", 0))
    if any(codes):
        raise SystemExit(f"a process failed: {codes}")
    before = len(records(logs, "turn"))
    killed = start(folder, logs, options, "killed", 100)
    deadline = time.monotonic() + 120
    while len(records(logs, "turn")) < before + 4 * options.processes and time.monotonic() < deadline:
        time.sleep(0.02)  # until they are under way
    for process in killed[: options.kill]:
        process.kill()
    codes += ended(killed[options.kill :])
    lost = ended(killed[: options.kill])
    codes += ended(start(folder, logs, options, "killed", 200))
    with sqlite3.connect(folder / "store" / "cache.db") as connection:
        ((integrity,),) = connection.execute("PRAGMA integrity_check").fetchall()
        ((rows,),) = connection.execute("SELECT count(*) FROM Cache").fetchall()
    calls = [tuple(call) for call in records(logs, "call")]
    tiers: dict[str, int] = {}
    for counted in records(logs, "done"):
        for tier, count in counted.items():
            tiers[tier] = tiers.get(tier, 0) + count
    return {
        "exit_codes": sorted(set(codes)),
        "killed": lost.count(-signal.SIGKILL),
        "wrong_answers": len(records(logs, "wrong")),
        "calls_of_the_whole_round": sum(call[0] == "whole" for call in calls),
        "calls_of_the_killed_rounds": sum(call[0] == "killed" for call in calls),
        "needless_calls": count_needless(calls),
        "store_failures": sum(records(logs, "failures")),
        "last_errors": sorted({str(error) for error in records(logs, "last_error") if error}),
        "tiers": tiers,
        "integrity": integrity,
        "entries": rows,
        "moved_aside": [path.name for path in folder.glob("store-corrupt-*")],
    }


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--executions", type=int, default=5000)
    parser.add_argument("--inputs", type=int, default=500)
    parser.add_argument("--kill", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hokusai-stress-") as place:
        logs = Path(place, "logs")
        logs.mkdir()
        since = time.monotonic()
        found = run(options, Path(place, "answers"), logs)
        print(json.dumps({**found, "seconds": round(time.monotonic() - since, 1)}, indent=2))


if __name__ == "__main__":
    main()
