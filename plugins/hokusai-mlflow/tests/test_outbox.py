from __future__ import annotations

import resource
import subprocess
import sys
import textwrap
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

from hokusai_core.plugin_api import Outbox, OutboxFolder, is_locked, read_log
from hokusai_core.testing.capabilities import settled
from hokusai_core.testing.trackers import make_event
from hokusai_mlflow import TrackingWarning
from hokusai_mlflow.destination import Destination


def _segment(place: Any) -> Path:
    (entry,) = OutboxFolder(place.spool).segments()
    return Path(entry.path)


HERE = Destination("0" * 16, b'{"k":"d"}', "sqlite:///here.db")
THERE = Destination("1" * 16, b'{"k":"d"}', "sqlite:///there.db", run_id="host")


def _lines(path: str) -> list[bytes | None]:
    return [line.payload for line in read_log(path)]


def test_a_segment_belongs_to_one_destination_and_describes_it(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.append(HERE, b'{"k":"e"}')
    outbox.append(THERE, b'{"k":"f"}')
    outbox.append(HERE, b'{"k":"o"}')
    here, there = OutboxFolder(tmp_path).segments()
    assert _lines(here.path) == [b'{"k":"d"}', b'{"k":"e"}', b'{"k":"o"}']
    assert _lines(there.path) == [b'{"k":"d"}', b'{"k":"f"}']
    assert outbox.positions() == {one.name: Path(one.path).stat().st_size for one in (here, there)}
    outbox.close()
    Path(here.path).unlink()  # as the writer does with what it has delivered
    assert outbox.positions().keys() == {there.name}


def test_a_full_segment_is_released_after_its_successor_is_there(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, limit=8 * 100)
    for _ in range(4):
        outbox.append(HERE, b'{"k":"e","in":"%s"}' % (b"x" * 60))
    segments = OutboxFolder(tmp_path).segments()
    assert len(segments) == 4
    assert [is_locked(one.path) for one in segments] == [False, False, False, True]
    outbox.close()


def test_segments_of_runs_that_ended_are_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox, now = Outbox(tmp_path), time.monotonic()
    outbox.append(HERE, b"{}")
    for number in range(40):  # a service that opens a run for each request
        outbox.append(Destination(f"{number:016x}", b"{}", "", run_id=str(number)), b"{}")

    def locked() -> int:
        return [is_locked(one.path) for one in OutboxFolder(tmp_path).segments()].count(True)

    # A thread of another test may start a process, which holds every lock until it runs its program.
    assert settled(lambda: locked() == 1 + 32, patience=60)
    monkeypatch.setattr(time, "monotonic", lambda: now + 100)
    assert outbox.look()
    monkeypatch.undo()
    assert settled(lambda: locked() == 1, patience=60)
    outbox.close()


def test_a_torn_or_damaged_line_spoils_no_other(place: Any) -> None:
    tracker = place.tracker()
    events = [make_event() for _ in range(3)]
    for event in events:
        tracker.record(event)
    tracker._recording.outbox.close()
    lines = _segment(place).read_bytes().split(b"\n")
    lines[2] = lines[2][:50] + b"X" + lines[2][51:]  # the context, the first execution, then this one
    _segment(place).write_bytes(b"\n".join(lines) + b'0badc0de {"k":"e","torn')
    assert place.deliver()
    assert [row["execution_id"] for row in place.rows()] == [events[0].execution_id, events[2].execution_id]
    assert tracker.status()["damaged"] >= 1


def test_segments_go_once_they_are_read_and_their_tracker_is_gone(place: Any) -> None:
    tracker = place.tracker()
    tracker.record(make_event())
    assert place.deliver()
    assert len(list(OutboxFolder(place.spool).segments())) == 1
    tracker.close()
    assert place.deliver()
    assert list(OutboxFolder(place.spool).segments()) == []


def test_a_spool_that_is_full_refuses_and_says_so(place: Any) -> None:
    tracker = place.tracker(spool_size=2**16)
    tracker.record(first := make_event())
    supervisor = tracker._recording.supervisor
    supervisor.stop()
    assert supervisor._thread is not None
    supervisor._thread.join()
    supervisor.full = True  # what the thread finds once a second
    with pytest.warns(TrackingWarning, match="takes no more executions"):
        tracker.record(make_event())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tracker.record(make_event())
    assert tracker.status()["refused"] == 2
    supervisor.full = False
    tracker.record(last := make_event())
    assert place.deliver()
    assert [row["execution_id"] for row in place.rows()] == [first.execution_id, last.execution_id]
    assert place.runs()[0].data.metrics["hokusai/executions_refused"] == 2
    supervisor.full = True
    tracker.record(make_event())
    tracker.close()  # the last occasion to say so
    assert place.deliver()
    assert place.runs()[0].data.metrics["hokusai/executions_refused"] == 3


def test_the_thread_finds_that_the_spool_is_full(place: Any) -> None:
    tracker = place.tracker(spool_size=2**16, max_value_size=100_000)
    tracker.record(make_event(inputs={"name": "x" * 70_000}))
    place.wait_until(lambda: tracker._recording.supervisor.full)
    with pytest.warns(TrackingWarning):
        tracker.record(make_event())
    assert place.deliver()
    place.wait_until(lambda: not tracker._recording.supervisor.full)
    tracker.record(last := make_event())
    assert place.deliver()
    assert place.rows()[-1]["execution_id"] == last.execution_id


def test_executions_go_on_when_the_disk_is_full(place: Any) -> None:
    program = textwrap.dedent(
        """
        import resource, sys, warnings
        from hokusai_core.testing.trackers import make_event
        from hokusai_mlflow import MlflowTracker
        tracker = MlflowTracker(spool_folder=sys.argv[1], tracking_uri=sys.argv[2], experiment="Test", writer="none")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for number in range(200):
                tracker.record(make_event())
        status = tracker.status()
        print(status["accepted"], status["refused"], len(caught))
        """
    )

    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    done = subprocess.run(  # one thread, and the limit has to be the child's alone
        [sys.executable, "-c", program, str(place.spool), place.uri],
        preexec_fn=small_disk,
        capture_output=True,
        text=True,
        check=True,
    )
    accepted, refused, warned = map(int, done.stdout.split())
    assert accepted + refused == 200
    assert accepted > 10
    assert refused > 10
    assert warned == 1
    assert place.deliver()
    assert len(place.rows()) == accepted


def test_a_spool_folder_that_cannot_be_made_costs_no_execution(place: Any) -> None:
    place.spool.write_text("a file is in its place")
    tracker = place.tracker(spool_folder=place.spool / "spool", writer="process")
    with pytest.warns(TrackingWarning, match="Not a directory"):
        tracker.record(make_event())
    tracker.record(make_event())
    status = tracker.status()
    assert (status["accepted"], status["refused"], status["backlog"]) == (0, 2, 0)
    assert tracker.flush(1)  # nothing was accepted
    tracker.close()
