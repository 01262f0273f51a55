"""Progress: which events are reported, to which callback, and where the lines are written."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from hokusai_core import Executor
from hokusai_core.types import BatchProgress
from tests.warm_python import WarmPython

MakeExecutor = Callable[..., Executor]
ROWS: list[Any] = [*({"question": f"q{n % 6}"} for n in range(10)), {"question": "x fail=9"}, {}]

PROGRAM = textwrap.dedent("""
    import sys
    from hokusai_core import Executor
    from hokusai_core.testing.lm import null_lm
    with Executor(plugins=[], lm=null_lm(delay=0.05)) as executor:
        executor.register_signature("Ask", "question -> answer")
        executor.execute_signature("Ask", {"question": "first"})
        rows = [{"question": f"q{n}"} for n in range(100)]
        progress = {"none": None, "on": True, "off": False}[sys.argv[1]]
        executor.execute_batch("Ask", rows, progress=progress, max_workers=int(sys.argv[2]))
    print("done")
""")


@pytest.fixture
def run(warm_python: WarmPython) -> Callable[..., Any]:
    """Return a function that runs the program without a terminal."""
    return lambda progress, workers=10: warm_python.run(PROGRAM, progress, str(workers))


def on_terminal(progress: str, workers: int) -> str:
    """Run it with a terminal for stderr, and return what was drawn there."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"}
    command = [sys.executable, "-c", PROGRAM, progress, str(workers)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment)
    os.close(theirs)
    drawn = b""
    with contextlib.suppress(OSError):  # the other end was closed
        while piece := os.read(ours, 4096):
            drawn += piece
    os.close(ours)
    assert process.communicate(timeout=60)[0] == b"done\n"
    return drawn.decode()


@pytest.mark.parametrize("workers", [3, 80])
def test_a_callable_hears_of_every_row(make_executor: MakeExecutor, workers: int) -> None:
    heard: list[BatchProgress] = []
    make_executor().execute_batch("Ask", ROWS, progress=heard.append, max_workers=workers)
    assert [progress.done for progress in heard] == list(range(1, 13))
    last = heard[-1]
    assert (last.name, last.total, last.failed, last.cached, last.usage.calls) == ("Ask", 12, 2, 4, 7)
    assert last.usage.total_tokens == 90
    assert last.elapsed > 0
    assert last.rate > 0
    assert last.eta == 0
    assert heard[0].eta is None or heard[0].eta > 0


def test_nobody_knows_the_total_of_a_generator(make_executor: MakeExecutor) -> None:
    heard: list[BatchProgress] = []
    make_executor().execute_batch("Ask", (row for row in ROWS), progress=heard.append)
    assert {(progress.total, progress.eta) for progress in heard} == {(None, None)}
    assert str(heard[-1]).startswith("Ask: 12 rows, 2 failed, 4 cached, ")


def test_a_callable_that_raises_costs_the_batch_nothing(make_executor: MakeExecutor) -> None:
    calls = []

    def broken(progress: BatchProgress) -> None:
        calls.append(progress)
        raise ValueError("out of order")

    with pytest.warns(UserWarning, match="progress callable raised ValueError: out of order"):
        results = make_executor().execute_batch("Ask", ROWS, progress=broken)
    assert len(results) == 12
    assert len(calls) == 1


def test_lines_in_a_log(make_executor: MakeExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    make_executor().execute_batch("Ask", ROWS, progress=True)
    lines = log.getvalue().splitlines()
    assert lines[0].startswith("Ask: 1/12 rows")
    assert lines[-1].startswith("Ask: 12/12 rows, 2 failed, 4 cached, ")
    assert lines[-1].endswith("90 tokens")
    assert "\x1b" not in log.getvalue()


def test_a_log_that_is_gone_costs_the_batch_nothing(
    make_executor: MakeExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", _Closed())
    assert len(make_executor().execute_batch("Ask", ROWS, progress=True)) == 12
    monkeypatch.setattr(sys, "stderr", None)
    assert len(make_executor().execute_batch("Ask", ROWS, progress=True)) == 12


class _Closed(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError("the reader is gone")


def test_a_short_batch_is_quiet_unless_asked(run: Any) -> None:
    assert run("none").stderr == ""
    assert run("off").stderr == ""
    told = run("on")
    assert told.stdout == "done\n"
    assert told.stderr.splitlines()[-1].startswith("Ask: 100/100 rows")


def test_a_bar_on_a_terminal() -> None:
    drawn = on_terminal("on", 10)
    assert "100/100" in drawn
    assert "Ask" in drawn
    assert "tokens" in drawn
    assert on_terminal("off", 10) == ""
    assert on_terminal("none", 50) == ""  # too short to be worth one
    assert "/100" in on_terminal("none", 2)
