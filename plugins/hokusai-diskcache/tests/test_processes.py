"""Eight processes share a folder, and four of them are killed. The full size is a program: ``stress.py``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_processes_share_a_store_and_survive_kills() -> None:
    arguments = ("--processes", "8", "--executions", "500", "--inputs", "60", "--kill", "4")
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("stress.py")), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["exit_codes"] == [0], done.stderr
    assert found["killed"] == 4
    assert found["wrong_answers"] == 0
    assert found["integrity"] == "ok"
    assert found["moved_aside"] == []
    assert found["entries"] == 120
    # Where a write gave up waiting for others, its answer was not stored, and is asked for again.
    assert found["needless_calls"] <= found["store_failures"]
    assert 60 <= found["calls_of_the_whole_round"] <= 60 * 8
