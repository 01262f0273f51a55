from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from hokusai_mlflow.spool_status import writer_is_running

PROGRAM = textwrap.dedent(
    """
    import sys, time
    from hokusai_core.testing.trackers import make_event
    from hokusai_mlflow import MlflowTracker
    tracker = MlflowTracker(spool_folder=sys.argv[1], tracking_uri=sys.argv[2], experiment="Test", exit_timeout=240)
    tracker.record(make_event(execution_id=sys.argv[3]))
    print("recorded", "mlflow" in sys.modules, flush=True)
    time.sleep(float(sys.argv[4]))
    """
)


def _start(place: Any, execution_id: str, stay: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, str(place.spool), place.uri, execution_id, str(stay)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_program_delivers_at_its_end_and_after_a_sigterm(place: Any) -> None:
    ended = _start(place, "a" * 32, 0)
    output, _ = ended.communicate()
    assert (ended.returncode, output) == (0, "recorded False\n")  # mlflow was never imported there
    assert [row["execution_id"] for row in place.rows()] == ["a" * 32]
    assert [run.info.status for run in place.runs()] == ["FINISHED"]
    place.wait_until(lambda: not writer_is_running(place.spool))

    terminated = _start(place, "b" * 32, 60)
    assert terminated.stdout is not None
    terminated.stdout.readline()
    place.wait_until(lambda: writer_is_running(place.spool))  # it is started a moment after the first record
    terminated.send_signal(signal.SIGTERM)
    terminated.communicate()
    assert terminated.returncode == -signal.SIGTERM
    place.wait_until(lambda: not writer_is_running(place.spool))
    assert {row["execution_id"] for row in place.rows()} == {"a" * 32, "b" * 32}
    assert {run.info.status for run in place.runs()} == {"FINISHED", "KILLED"}
