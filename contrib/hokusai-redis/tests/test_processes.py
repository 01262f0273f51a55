"""Processes share calls: each input is asked for once, with processes killed and the server started again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "executions", "inputs", "kill"),
    [(3, 240, 40, 1), pytest.param(8, 5000, 500, 3, marks=pytest.mark.soak)],
)
def test_processes_call_once_for_each_input(processes: int, executions: int, inputs: int, kill: int) -> None:
    counts = {"processes": processes, "executions": executions, "inputs": inputs, "kill": kill}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("stress.py")), *(f"--{name}={n}" for name, n in counts.items())],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    killed, restarted = (round_ := json.loads(done.stdout))["killed"], round_["restarted"]
    for found in (killed, restarted):
        assert (found["failed_processes"], found["errors"], found["wrong_answers"]) == ([], [], 0)
        assert found["from_server"] > 0
    assert killed["killed"] == kill
    assert killed["calls"] <= inputs + kill
    assert killed["warnings"] == []
    # A server that starts again costs calls, a warning in each process, and nothing else.
    assert restarted["executions"] == executions // processes * processes
    assert restarted["warnings_of_a_process"] <= 1
