"""The conformance suite for trackers: subclass ``TrackerConformance`` in the tests of a plugin that offers one.

Example::

    class TestMyTracker(TrackerConformance):
        @pytest.fixture
        def make_tracker(self, tmp_path):
            return lambda: MyTracker(tmp_path / "executions")

        @pytest.fixture
        def read_executions(self, tmp_path):
            return lambda: my_reader(tmp_path / "executions")
"""

from __future__ import annotations

import asyncio
import copy
import json
import os
import secrets
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final

import pytest

from hokusai_core.events import ExecutionFinished
from hokusai_core.protocols import Tracker
from hokusai_core.testing.capabilities import Conformance, error_in_fork
from hokusai_core.testing.event_loops import blocking_calls, run_watched
from hokusai_core.testing.example_events import (
    make_evaluation,
    make_event,
    make_failure,
    make_feedback,
    make_operation,
    make_optimization,
    make_outcome,
)
from hokusai_core.testing.leftovers import leftovers

__all__ = [
    "TrackerConformance",
    "make_evaluation",
    "make_event",
    "make_failure",
    "make_feedback",
    "make_operation",
    "make_optimization",
    "make_outcome",
]

#: Seconds that delivery may take on a busy machine. Each wait ends with what it waits for.
PATIENCE = 300.0

#: What ``record`` may do on the thread of an execution: append to a file.
_RECORDING: Final = frozenset({"open", "flock", "lockf", "fsync", "fdatasync"})

#: Seconds of CPU time that ``record`` may take, of which the median of some calls is compared.
_QUICK: Final = 0.005


class _LaterEvent:
    """An event of a class that a later version of the core may add."""

    execution_id = "later"
    signature = "pack/Greet"
    status = "ok"


class TrackerConformance(Conformance):
    """Tests that every tracker passes.

    The fixture ``make_tracker`` returns a function that makes one on the same store. The fixture ``read_executions``
    returns a function that reads what was delivered: mappings with at least ``execution_id``, ``signature`` and
    ``status``. The fixture ``outage`` lets what it delivers to be out of reach; without it, the test of that is
    skipped.
    """

    @pytest.fixture
    def make_tracker(self) -> Callable[[], Tracker]:
        """Return what makes a tracker; each call in one test uses the same, initially empty, store."""
        raise NotImplementedError("give a fixture make_tracker")

    @pytest.fixture
    def read_executions(self) -> Callable[[], Iterable[Mapping[str, Any]]]:
        """Return what reads the delivered executions from the store."""
        raise NotImplementedError("give a fixture read_executions")

    @pytest.fixture
    def tracker(self, make_tracker: Callable[[], Tracker]) -> Iterable[Tracker]:
        """Yield one tracker and close it."""
        tracker = make_tracker()
        yield tracker
        tracker.close()

    def test_it_is_a_tracker(self, tracker: Tracker) -> None:
        """It has every method."""
        assert isinstance(tracker, Tracker)

    def test_what_was_recorded_is_delivered_once(self, tracker: Tracker, read_executions: Any) -> None:
        """Successes, failures and cache hits arrive, once each, and asking twice changes nothing."""
        events = [make_event(), make_failure(), make_event(cached="memory", cost=0.0, attempts=())]
        for event in events:
            tracker.record(event)
        assert tracker.flush(PATIENCE)
        assert tracker.flush(PATIENCE)
        delivered = list(read_executions())
        assert Counter(row["execution_id"] for row in delivered) == Counter(event.execution_id for event in events)
        assert {row["execution_id"]: row["status"] for row in delivered} == {e.execution_id: e.status for e in events}
        assert {row["signature"] for row in delivered} == {"pack/Greet"}

    def test_nothing_to_flush_is_a_success(self, tracker: Tracker) -> None:
        """An unused tracker has delivered everything."""
        assert tracker.flush(0.0)

    def test_an_event_loop_can_flush(self, tracker: Tracker, read_executions: Any) -> None:
        """The asynchronous twin does the same."""
        event = make_event()
        tracker.record(event)
        assert asyncio.run(tracker.aflush(PATIENCE))
        assert [row["execution_id"] for row in read_executions()] == [event.execution_id]

    def test_other_events_are_accepted(self, tracker: Tracker, read_executions: Any) -> None:
        """Operations, feedback and optimizations do no harm, and are no executions."""
        operation_id = secrets.token_hex(16)
        events = [make_event(parent_id=operation_id, parent_kind="batch") for _ in range(2)]
        for event in events:
            tracker.record(event)
        tracker.record(make_operation(operation_id))
        tracker.record(make_feedback(events[0].execution_id))
        tracker.record(make_outcome(events[0].execution_id))
        tracker.record(make_optimization())
        tracker.record(make_evaluation())
        assert tracker.flush(PATIENCE)
        # A batch is no execution of its own.
        assert {row["execution_id"] for row in read_executions()} == {event.execution_id for event in events}

    @pytest.mark.parametrize(
        "value",
        [
            "\ud800 lone",
            "nul\x00byte",
            "line\nbreak\u2028",
            "🗝" * 5000,
            2**80,
            float("nan"),
            {"deep": [{"er": [None]}]},
            b"x",
        ],
        ids=["surrogate", "nul", "breaks", "long", "large", "nan", "nested", "bytes"],
    )
    def test_odd_content_is_accepted(self, tracker: Tracker, read_executions: Any, value: Any) -> None:
        """No value of a user can keep an execution from being recorded."""
        event = make_event(inputs={"name": value}, outputs={"greeting": value})
        tracker.record(event)
        assert tracker.flush(PATIENCE)
        assert [row["execution_id"] for row in read_executions()] == [event.execution_id]

    def test_events_of_later_versions_are_ignored(self, tracker: Tracker, read_executions: Any) -> None:
        """They are no error and no execution, and what comes after them arrives."""
        tracker.record(_LaterEvent())  # type: ignore[arg-type]  # that is the point
        event = make_event()
        tracker.record(event)
        assert tracker.flush(PATIENCE)
        assert [row["execution_id"] for row in read_executions()] == [event.execution_id]

    def test_recording_is_quick(self, tracker: Tracker) -> None:
        """It runs on the thread of the execution, which may be that of an event loop: no network, no sleep."""
        tracker.record(make_event())
        times = []
        for event in [make_event() for _ in range(20)]:
            started = time.thread_time()
            with blocking_calls() as calls:
                tracker.record(event)
            times.append(time.thread_time() - started)
            assert set(calls) <= _RECORDING | self.calls_on_loop, f"record() makes blocking calls: {set(calls)}"
        assert sorted(times)[10] < _QUICK, f"record() takes {sorted(times)[10] * 1000:.1f} ms"

    def test_recording_changes_nothing(self, tracker: Tracker) -> None:
        """Other observers get the same event, with all that it holds."""
        event = make_event(inputs={"name": ["Ada", {"of": "Lovelace"}]}, outputs={"greeting": {"text": "Hello"}})
        before = copy.deepcopy(event)
        tracker.record(event)
        assert event == before

    def test_nothing_is_printed(self, tracker: Tracker, capfd: pytest.CaptureFixture[str]) -> None:
        """Standard output and error belong to the host."""
        tracker.record(make_event())
        tracker.flush(PATIENCE)
        assert tuple(capfd.readouterr()) == ("", "")

    def test_an_event_loop_goes_on(self, tracker: Tracker) -> None:
        """While it waits for the delivery."""
        self.require("asynchronous")
        tracker.record(make_event())

        async def flush() -> None:
            assert await tracker.aflush(PATIENCE) is True

        run_watched(flush, warm_up=False, allowed=self.calls_on_loop)

    def test_an_outage_stops_no_execution(
        self, tracker: Tracker, read_executions: Any, outage: Callable[[], AbstractContextManager[object]]
    ) -> None:
        """While nothing can be delivered, ``record`` accepts and ``flush`` gives up in time; later all arrives once."""
        events = [make_event() for _ in range(3)]
        tracker.record(events[0])
        assert tracker.flush(PATIENCE)
        with outage():
            for event in events[1:]:
                tracker.record(event)
            started = time.monotonic()
            assert tracker.flush(0.2) is False
            assert time.monotonic() - started < 1.0
            status = tracker.status()
            assert status["backlog"] > 0
            assert status["last_error"]
        assert tracker.flush(PATIENCE)
        assert Counter(row["execution_id"] for row in read_executions()) == Counter(e.execution_id for e in events)

    def test_two_objects_share_the_store(self, make_tracker: Any, read_executions: Any) -> None:
        """As two executors of one process, or two processes, do."""
        trackers = [make_tracker(), make_tracker()]
        events = [make_event() for _ in range(6)]
        for number, event in enumerate(events):
            trackers[number % 2].record(event)
        for tracker in trackers:
            assert tracker.flush(PATIENCE)
            tracker.close()
        assert Counter(row["execution_id"] for row in read_executions()) == Counter(e.execution_id for e in events)

    def test_many_threads_record_at_once(self, tracker: Tracker, read_executions: Any) -> None:
        """Nothing is lost or mixed between threads."""
        batches = [[make_event() for _ in range(25)] for _ in range(8)]

        failures: list[Exception] = []

        def record(batch: list[ExecutionFinished]) -> None:
            try:
                for event in batch:
                    tracker.record(event)
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=record, args=(batch,)) for batch in batches]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert tracker.flush(PATIENCE)
        wanted = Counter(event.execution_id for batch in batches for event in batch)
        assert Counter(row["execution_id"] for row in read_executions()) == wanted

    def test_what_a_killed_process_recorded_is_delivered(self, make_tracker: Any, read_executions: Any) -> None:
        """What ``record`` accepted survives the death of its process."""
        self.require("durable")
        events = [make_event() for _ in range(20)]

        def record_and_die() -> None:
            tracker = make_tracker()
            for event in events:
                tracker.record(event)
            os.kill(os.getpid(), signal.SIGKILL)

        assert "killed" in str(error_in_fork(record_and_die))
        successor = make_tracker()
        try:
            successor.record(last := make_event())
            assert successor.flush(PATIENCE)
        finally:
            successor.close()
        wanted = Counter(event.execution_id for event in (*events, last))
        assert Counter(row["execution_id"] for row in read_executions()) == wanted

    def test_a_forked_process_records_with_the_tracker_of_its_parent(
        self, tracker: Tracker, read_executions: Any
    ) -> None:
        """A tracker works on both sides of a fork."""
        self.require_fork(tracker)
        before, inside, after = make_event(), make_event(), make_event()
        tracker.record(before)
        assert error_in_fork(lambda: tracker.record(inside)) is None
        tracker.record(after)
        assert tracker.flush(PATIENCE)
        wanted = {event.execution_id for event in (before, inside, after)}
        assert Counter(row["execution_id"] for row in read_executions()) == Counter(wanted)

    def test_executions_can_be_searched(self, tracker: Tracker) -> None:
        """What was recorded is found by time and signature, where the tracker has a method ``search``."""
        search = getattr(tracker, "search", None)
        if search is None:
            pytest.skip("this tracker has no search(), which is optional")
        old = make_event(started_at=1_000.0)
        late = make_event(signature="pack/Other", started_at=2_000.0)
        for event in (late, old):
            tracker.record(event)
        assert tracker.flush(PATIENCE)
        found = list(search())
        assert [one.execution_id for one in found] == [old.execution_id, late.execution_id]
        assert (found[0].inputs, found[0].outputs) == (dict(old.inputs), dict(old.outputs))
        assert (found[0].latency, found[0].cost, found[0].model) == (old.latency, old.cost, old.model)
        assert [one.execution_id for one in search(since=1_500.0)] == [late.execution_id]
        for name in ("pack/Other", "Other"):
            assert [one.execution_id for one in search(signature=name)] == [late.execution_id]

    def test_the_status_is_plain_data(self, tracker: Tracker) -> None:
        """The status can be printed as JSON and counts what was accepted."""
        tracker.record(make_event())
        status = json.loads(json.dumps(dict(tracker.status())))
        assert status["accepted"] == 1
        assert {"delivered", "backlog", "last_error"} <= status.keys()

    def test_a_search_shows_what_was_recorded(self, tracker: Tracker) -> None:
        """Values that the caller changes after that stay as they were."""
        search = getattr(tracker, "search", None)
        if search is None:
            pytest.skip("this tracker has no search(), which is optional")
        names = ["Ada"]
        tracker.record(make_event(inputs={"name": names}))
        names.append("Bob")
        assert tracker.flush(PATIENCE)
        assert [one.inputs for one in search()] == [{"name": ["Ada"]}]

    def test_closing_releases_everything(self, make_tracker: Any) -> None:
        """No file and no thread is left."""
        with leftovers() as left:
            for _ in range(3):
                tracker = make_tracker()
                tracker.record(make_event())
                tracker.flush(PATIENCE)
                tracker.close()
        assert left() == []

    def test_closing_delivers_and_can_be_repeated(self, make_tracker: Any, read_executions: Any) -> None:
        """What was accepted before is delivered, by this object or by the next one; closing twice is harmless."""
        tracker = make_tracker()
        tracker.record(event := make_event())
        tracker.close()
        tracker.close()
        successor = make_tracker()
        assert successor.flush(PATIENCE)
        successor.close()
        assert [row["execution_id"] for row in read_executions()] == [event.execution_id]
