from __future__ import annotations

import asyncio
import json
import os
import shutil
import threading
import time
import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from hokusai_core.testing.trackers import make_event
from hokusai_mlflow import TrackingWarning, delivery_wait
from hokusai_mlflow.delivery_wait import wait_for_all
from hokusai_mlflow.spool_status import STATUS
from hokusai_mlflow.writer import locked


def test_flushes_at_the_same_time_are_independent(place: Any) -> None:
    tracker = place.tracker()
    tracker.record(make_event())
    one = tracker._recording.wait(60)
    next(iter(one))  # it has begun to wait
    assert not tracker.flush(0.05)
    assert not asyncio.run(tracker.aflush(0.05))
    assert not one.delivered


def test_what_comes_during_a_flush_is_not_taken_for_delivered(place: Any) -> None:
    tracker = place.tracker()
    tracker.record(make_event())
    wait = tracker._recording.wait(60)
    looks = iter(wait)
    next(looks)
    tracker.record(make_event())
    assert place.deliver()
    tracker.record(make_event())
    assert next(looks, None) is None
    assert wait.delivered
    assert not tracker.flush(0.05)


def test_a_flush_waits_for_the_stores_of_its_tracker_only(place: Any) -> None:
    elsewhere = place.tracker(tracking_uri="http://127.0.0.1:9")
    elsewhere.record(make_event())
    tracker = place.tracker()
    tracker.record(event := make_event())
    wait = tracker._recording.wait(60)
    looks = iter(wait)
    next(looks)
    while not tracker.flush(0):
        assert not place.deliver(timeout=0)  # not all of the folder
    assert [row["execution_id"] for row in place.rows()] == [event.execution_id]
    assert next(looks, None) is None
    assert wait.delivered
    assert not elsewhere.flush(0)


def test_a_writer_that_starts_is_waited_for(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker, clock = place.tracker(), [0.0]
    tracker.record(make_event())
    monkeypatch.setattr(delivery_wait, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(delivery_wait, "_LOOKS", 1)
    wait = tracker._recording._wait(tracker._recording.outbox.positions(), 5, patient=False)
    looks = iter(wait)
    last: float | None = 0.0
    with locked(place.spool):
        for clock[0] in range(0, 20, 4):
            assert next(looks, None) is not None
        (place.spool / STATUS).write_text(json.dumps({"pid": os.getpid()}))
        for clock[0] in (22, 26):
            last = next(looks, None)
    assert last is None
    assert not wait.delivered


def test_a_spool_folder_that_is_deleted_stays_deleted(place: Any) -> None:
    tracker = place.tracker(writer="process", exit_timeout=60)
    tracker._recording.supervisor._started_at = float("inf")  # no writer is to be started here
    tracker.record(make_event())
    shutil.rmtree(place.spool)
    assert not tracker.flush(60)
    tracker._recording.supervisor.ensure_writer()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tracker.close()
    assert not place.spool.exists()


def test_a_spool_folder_that_is_deleted_is_named_and_made_anew(place: Any) -> None:
    tracker = place.tracker()
    tracker.record(make_event())
    shutil.rmtree(place.spool)
    with pytest.warns(TrackingWarning, match="was deleted while"):
        tracker.record(event := make_event())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tracker.record(last := make_event())
    assert place.deliver()
    assert [row["execution_id"] for row in place.rows()] == [event.execution_id, last.execution_id]


def test_the_end_of_the_process_waits_for_all_trackers_at_once() -> None:
    seen = []

    def waiting(name: str, looks: int) -> Iterator[float]:
        for _ in range(looks):
            seen.append(name)
            yield 0.0

    wait_for_all([waiting("a", 3), waiting("b", 1)])  # type: ignore[list-item]  # all that is needed of a wait
    assert seen == ["a", "b", "a", "a"]


def test_the_end_of_a_program_waits_for_a_warning_under_way(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = place.tracker()
    tracker.record(make_event())
    failure = {"error": "refused", "count": 2}
    status = {"pid": os.getpid(), "at": time.time(), "errors": {"http://127.0.0.1:9": failure}}
    (place.spool / STATUS).write_text(json.dumps(status), encoding="utf-8")
    supervisor = tracker._recording.supervisor
    began, go_on = threading.Event(), threading.Event()
    told: list[str] = []

    def warn(message: str, *_arguments: Any, **_options: Any) -> None:
        began.set()
        assert go_on.wait(60)
        told.append(message)

    monkeypatch.setattr(warnings, "warn", warn)
    threads = [threading.Thread(target=supervisor.report) for _ in range(2)]
    threads[0].start()
    assert began.wait(60)
    threads[1].start()
    assert not supervisor.has_warned
    threads[1].join(0.2)
    assert threads[1].is_alive()
    go_on.set()
    for thread in threads:
        thread.join()
    assert supervisor.has_warned
    assert len(told) == 1
