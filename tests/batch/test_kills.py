"""Batches that are killed, and interrupted, and go on."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

PROGRAM = textwrap.dedent("""
    import json, os, sys
    import dspy
    from hokusai_core import Executor
    from hokusai_core.dspy_bridge.null_lm import NullEngine

    folder, rows, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

    class Counting(NullEngine):
        def begin(self, request):  # what is begun is paid, whatever becomes of it
            calls = os.open(f"{folder}/calls", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(calls, b".")
            os.close(calls)
            return super().begin(request)

    def echo(user):
        return "answer to " + user.split("[[ ## question ## ]]\\n")[1].split("\\n")[0]

    lm = dspy.LM("null/model", engine=Counting(answers={"answer": echo}, delay=float(sys.argv[4])), cache=False)
    with Executor(plugins=[], lm=lm, cache_enabled=False) as executor:
        executor.register_signature("Ask", "question -> answer")
        print("ready", flush=True)
        results = executor.execute_batch(
            "Ask", [{"question": f"q{n}"} for n in range(rows)], journal=f"{folder}/journal", max_workers=workers
        )
        results.to_jsonl(f"{folder}/out.jsonl")
    print("done", flush=True)
""")


def start(folder: Path, rows: int, workers: int, delay: float, program: str = PROGRAM) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, str(folder), str(rows), str(workers), str(delay)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def finished(folder: Path) -> int:
    journal = folder / "journal"
    return journal.read_bytes().count(b'"ok":true') if journal.exists() else 0


@pytest.mark.parametrize("seed", [1, 2])
def test_a_batch_that_is_killed_again_and_again(tmp_path: Path, seed: int) -> None:
    rows, workers, kills = 80, 4, 4
    moments = random.Random(seed)
    for _ in range(kills):
        process = start(tmp_path, rows, workers, 0.01)
        until = finished(tmp_path) + moments.randint(0, 12)
        while process.poll() is None and finished(tmp_path) < until:
            time.sleep(0.002)
        process.kill()
        process.communicate()
    process = start(tmp_path, rows, workers, 0.0)
    assert process.communicate(timeout=60)[0] == "done\n"
    records = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [record["index"] for record in records] == list(range(rows))
    for record in records:
        assert record["outputs"]["answer"] == f"answer to {record['inputs']['question']}"
    assert (tmp_path / "calls").stat().st_size <= rows + workers * kills


def test_ctrl_c_finishes_what_is_under_way_and_says_how_to_go_on(tmp_path: Path) -> None:
    process = start(tmp_path, 400, 4, 0.05)
    while finished(tmp_path) < 10:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "finishing the rows under way" in told
    assert "BatchInterrupted" in told
    assert "journal" in told
    assert "to go on with the rest" in told
    calls = (tmp_path / "calls").stat().st_size
    assert finished(tmp_path) == calls < 400  # every call that was paid is in the journal
    process = start(tmp_path, 400, 32, 0.0)
    process.communicate(timeout=60)
    assert (tmp_path / "calls").stat().st_size == 400


LEAVING = (
    PROGRAM.partition("    results = ")[0]
    + """
    import threading, time

    def tell():
        while lm.engine.in_flight < workers:
            time.sleep(0.01)
        print("under way", flush=True)

    threading.Thread(target=tell).start()
    try:
        executor.execute_batch("Ask", [{"question": f"q{n}"} for n in range(rows)], max_workers=workers)
    except KeyboardInterrupt as error:
        print(type(error).__name__, [(one.index, one.inputs, str(one.error)) for one in error.result.failed])
"""
)


@pytest.mark.parametrize("workers", [4, 80])
def test_a_second_ctrl_c_leaves_what_is_under_way(tmp_path: Path, workers: int) -> None:
    process = start(tmp_path, 100, workers, 30.0, LEAVING)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "under way\n"
    process.send_signal(signal.SIGINT)
    assert "press Ctrl-C again" in process.stderr.readline()
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    told, _ = process.communicate(timeout=20)
    left = [(n, {"question": f"q{n}"}, f"row {n}: the batch was stopped before it was over") for n in range(workers)]
    assert told == f"BatchInterrupted {left}\n"


ITERATING = (
    PROGRAM.partition("    results = ")[0]
    + """
    endless = ({"question": f"q{n}"} for n in range(10**9))
    try:
        for row in executor.iter_batch("Ask", endless, journal=f"{folder}/journal", max_workers=workers):
            pass
    except KeyboardInterrupt as error:
        print(type(error).__name__, error)
print("done", flush=True)
"""
)


@pytest.mark.parametrize("workers", [4, 80])
def test_ctrl_c_ends_an_endless_batch(tmp_path: Path, workers: int) -> None:
    command = [sys.executable, "-c", ITERATING, str(tmp_path), "0", str(workers), "0.02"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while finished(tmp_path) < 50:
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    # The signal may also come between two rows, where the program's own loop is interrupted.
    assert "BatchInterrupted" in out or "KeyboardInterrupt" in out
    assert out.endswith("done\n")
    assert finished(tmp_path) == (tmp_path / "calls").stat().st_size
