"""``hokusai budget``, and the flags that give commands a budget."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from hokusai_core import Budget, Usage
from hokusai_core.call_records import CallEstimate, CostBound

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def estimate(cents: int) -> CallEstimate:
    return CallEstimate("m", 1, 1, lambda: CostBound(cents * 10**10))


def dead_process(file: Path, cents: int) -> None:
    child = os.fork()
    if child == 0:
        Budget(cost=1, file=file).reserve(estimate(cents))
        os._exit(0)
    os.waitpid(child, 0)


def test_what_is_spent_reserved_and_lost_is_shown_and_given_back(hokusai: Command, tmp_path: Path) -> None:
    file = tmp_path / "team.budget"
    budget = Budget(cost=1, file=file)
    budget.reserve(estimate(30)).charge(Usage(1_000, 200, 1), 0.25)
    under_way = budget.reserve(estimate(20))
    dead_process(file, 40)
    shown = hokusai("budget", "show", "team.budget")
    assert shown.returncode == 0, shown.stderr
    lines = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    assert "spent $0.6500 of $1.0000" in lines
    assert "of dead processes $0.4000, 1 calls" in lines
    assert "reserved $0.2000 by calls under way" in lines
    assert "tokens 1,000 + 200" in lines
    assert any(line.startswith(f"{os.getpid()} 1 $0.2000") and line.endswith("under way") for line in lines)
    found = json.loads(hokusai("budget", "show", "team.budget", "--json").stdout)
    assert (found["spent"], found["reserved"], found["dead"]["cost"]) == (0.65, 0.2, 0.4)
    released = hokusai("budget", "release", "team.budget")
    assert released.stdout == "released $0.4000 of 1 calls\n"
    assert hokusai("budget", "release", "team.budget").stdout == "released $0.0000 of 0 calls\n"
    assert budget.spent_cost == 0.25
    under_way.charge(Usage(1, 1, 1), 0.1)
    assert budget.spent_cost == 0.35


def test_a_process_without_a_proof_is_released_by_a_flag(hokusai: Command, tmp_path: Path) -> None:
    file = tmp_path / "team.budget"
    dead_process(file, 40)
    for lock in (tmp_path / "team.budget.processes").iterdir():
        lock.unlink()
    assert "unproved" in hokusai("budget", "show", "team.budget").stdout
    assert "--unproved does so" in hokusai("budget", "release", "team.budget").stdout
    done = hokusai("budget", "release", "team.budget", "--unproved", "--json")
    assert json.loads(done.stdout) == {"schema_version": 1, "calls": 1, "cost": 0.4}


def test_a_file_that_is_none_is_named(hokusai: Command, tmp_path: Path) -> None:
    missing = hokusai("budget", "show", "none.budget")
    assert missing.returncode == 1
    assert "none.budget: No such file or directory" in missing.stderr
    assert not (tmp_path / "none.budget").exists()
    (tmp_path / "notes.txt").write_text("hello")
    wrong = hokusai("budget", "release", "notes.txt")
    assert wrong.returncode == 1
    assert "notes.txt is no budget file, or was damaged" in wrong.stderr


def test_a_file_without_a_ceiling_is_refused(hokusai: Command) -> None:
    done = hokusai("run", "ClassifyText", "-i", "text=a", "-i", "categories=b", "--budget-file", "team.budget")
    assert done.returncode != 0
    assert "max_cost" in done.stderr
