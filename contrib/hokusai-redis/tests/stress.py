"""Many processes share one server: at most one call for each input, and those of processes that were killed.

    python contrib/hokusai-redis/tests/stress.py [--processes 8] [--executions 5000] [--inputs 500] [--kill 3]

Two rounds, each with a server that starts empty. All processes of a round together make ``--executions`` executions
with inputs drawn at random. In the first round ``--kill`` processes are killed with SIGKILL while calls are made. In
the second the server is stopped for ``--down`` seconds and started again, empty, when a third is done: no execution may
fail then, and every answer has to be right.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import tempfile
import time
import warnings
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from hokusai_redis.testing import RedisProcess


def answer_to(number: int) -> str:
    return f"{number * 7919 % 10_007} to {number}"


def work(url: str, folder: Path, executions: int, inputs: int, seed: int, lease: float) -> None:
    """Execute, check every answer, and log every call of the model and every execution."""
    from hokusai_core import Executor
    from hokusai_core.testing.lm import null_lm
    from hokusai_redis import RedisCache

    log = os.open(folder / f"{seed}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(**record: Any) -> None:
        os.write(log, json.dumps(record).encode() + b"\n")

    def call(prompt: str) -> str:
        number = int(prompt.split("Q")[1])
        write(call=number)
        return answer_to(number)

    draw = random.Random(seed)
    warned = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # A memory cache too small to help: the server has to answer.
        with Executor(
            lm=null_lm(answers={"answer": call}, delay=0.02),
            plugins=[],
            cache=RedisCache(url, lease=lease),
            cache_entries=5,
        ) as executor:
            executor.register_signature("Ask", "question -> answer")
            executor.explain("Ask", {"question": "?"})  # everything is imported now
            write(ready=seed)
            while not (folder / "go").exists():
                time.sleep(0.002)
            for _ in range(executions):
                number = draw.randrange(inputs)
                try:
                    result = executor.execute_signature("Ask", {"question": f"Q{number}Q"})
                except Exception as error:
                    write(error=repr(error))
                    continue
                write(done=result.cached)
                if result["answer"] != answer_to(number):
                    write(wrong=[number, result["answer"]])
        warned = [str(one.message) for one in caught]
    write(warned=warned)


def records(folder: Path, kind: str) -> list[Any]:
    found = []
    for log in sorted(folder.glob("*.jsonl")):
        for line in log.read_text().splitlines():
            if line.endswith("}") and kind in (record := json.loads(line)):
                found.append(record[kind])
    return found


def run(options: argparse.Namespace, server: RedisProcess, folder: Path, kill: int, *, restart: bool) -> dict[str, Any]:
    """Run a round and return what came of it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["dspy", "hokusai_core.dspy_bridge", "hokusai_core.testing.lm", "hokusai_redis.cache"]
    )
    share = options.executions // options.processes
    arguments = [(server.url, folder, share, options.inputs, seed, options.lease) for seed in range(options.processes)]
    processes: list[ForkServerProcess] = [context.Process(target=work, args=one) for one in arguments]
    for process in processes:
        process.start()
    while len(records(folder, "ready")) < options.processes:
        if any(process.exitcode is not None for process in processes):
            raise SystemExit("a process did not start")
        time.sleep(0.02)
    since = time.monotonic()
    (folder / "go").touch()
    for killed in processes[:kill]:
        before = len(records(folder, "call"))
        while len(records(folder, "call")) == before and killed.exitcode is None:
            time.sleep(0.001)
        killed.kill()
    if restart:
        while len(records(folder, "done")) < options.executions / 3:
            time.sleep(0.01)
        server.stop()
        time.sleep(options.down)
        server.start()
    for process in processes:
        process.join()
    seconds = time.monotonic() - since
    codes = [process.exitcode for process in processes]
    done = records(folder, "done")
    return {
        "executions": len(done),
        "calls": len(records(folder, "call")),
        "inputs": options.inputs,
        "killed": codes.count(-signal.SIGKILL),
        "failed_processes": [code for code in codes if code not in (0, -signal.SIGKILL)],
        "errors": records(folder, "error")[:5],
        "wrong_answers": len(records(folder, "wrong")),
        "warnings": sorted({one for warned in records(folder, "warned") for one in warned}),
        "warnings_of_a_process": max((len(warned) for warned in records(folder, "warned")), default=0),
        "from_server": done.count("redis"),
        "seconds": round(seconds, 1),
    }


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--executions", type=int, default=5000)
    parser.add_argument("--inputs", type=int, default=500)
    parser.add_argument("--kill", type=int, default=3)
    parser.add_argument("--lease", type=float, default=1.0)
    parser.add_argument("--down", type=float, default=1.0)
    options = parser.parse_args()
    found = {}
    for name, kill, restart in (("killed", options.kill, False), ("restarted", 0, True)):
        server = RedisProcess().start()
        try:
            with tempfile.TemporaryDirectory(prefix="hokusai-redis-stress-") as place:
                found[name] = run(options, server, Path(place), kill, restart=restart)
        finally:
            server.close()
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
