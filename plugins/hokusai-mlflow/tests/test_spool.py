from __future__ import annotations

import resource
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path
from typing import Any

import pytest

from hokusai_core.testing.trackers import make_event
from hokusai_mlflow import TrackingWarning
from hokusai_mlflow.spool import SegmentAppender, parse_line, segment_files


def _segment(place: Any) -> Path:
    (entry,) = segment_files(place.spool)
    return Path(entry.path)


def test_each_line_carries_its_checksum(tmp_path: Path) -> None:
    spool = SegmentAppender(tmp_path)
    spool.append(b'{"k":"e"}', 1, b'{"k":"c"}')
    spool.append(b'{"k":"f"}', 1, b'{"k":"c"}')
    spool.close()
    (entry,) = segment_files(tmp_path)
    lines = Path(entry.path).read_bytes().splitlines()
    assert [parse_line(line) for line in lines] == [b'{"k":"c"}', b'{"k":"e"}', b'{"k":"f"}']
    assert parse_line(lines[0].replace(b"c", b"d")) is None


def test_a_torn_or_damaged_line_spoils_no_other(place: Any) -> None:
    tracker = place.tracker()
    events = [make_event() for _ in range(3)]
    for event in events:
        tracker.record(event)
    tracker._state._spool.close()
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
    assert len(list(segment_files(place.spool))) == 1
    tracker.close()
    assert place.deliver()
    assert list(segment_files(place.spool)) == []


def test_a_spool_that_is_full_refuses_and_says_so(place: Any) -> None:
    tracker = place.tracker(spool_size=2**16)
    tracker.record(first := make_event())
    courier = tracker._state._courier
    courier.stop()
    courier._thread.join()
    courier.full = True  # what the thread finds once a second
    with pytest.warns(TrackingWarning, match="takes no more executions"):
        tracker.record(make_event())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tracker.record(make_event())
    assert tracker.status()["refused"] == 2
    courier.full = False
    tracker.record(last := make_event())
    assert place.deliver()
    assert [row["execution_id"] for row in place.rows()] == [first.execution_id, last.execution_id]
    assert place.runs()[0].data.metrics["hokusai/executions_refused"] == 2
    courier.full = True
    tracker.record(make_event())
    tracker.close()  # the last occasion to say so
    assert place.deliver()
    assert place.runs()[0].data.metrics["hokusai/executions_refused"] == 3


def test_the_thread_finds_that_the_spool_is_full(place: Any) -> None:
    tracker = place.tracker(spool_size=2**16, max_value_size=100_000)
    tracker.record(make_event(inputs={"name": "x" * 70_000}))
    place.wait_until(lambda: tracker._state._courier.full)
    with pytest.warns(TrackingWarning):
        tracker.record(make_event())
    assert place.deliver()
    place.wait_until(lambda: not tracker._state._courier.full)
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
