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
import json
import os
import secrets
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest

from hokusai_core.events import (
    REDACTED,
    EvaluationFinished,
    ExecutionFinished,
    FeedbackGiven,
    OperationFinished,
    OptimizationFinished,
    OutcomeRecorded,
)
from hokusai_core.protocols import Tracker
from hokusai_core.results import Attempt, StageTiming, Usage

__all__ = [
    "TrackerConformance",
    "make_evaluation",
    "make_event",
    "make_feedback",
    "make_operation",
    "make_optimization",
    "make_outcome",
]

#: Seconds that delivery may take on a busy machine. Each wait ends with what it waits for.
PATIENCE = 300.0


def make_event(**changes: Any) -> ExecutionFinished:
    """Return the event of an execution that succeeded just now, except for what ``changes`` says."""
    usage = Usage(12, 5, 1)
    values: dict[str, Any] = {
        "execution_id": secrets.token_hex(16),
        "signature": "pack/Greet",
        "signature_version": "1.2.0",
        "fingerprint": "0123456789abcdef" * 2,
        "status": "ok",
        "inputs": {"name": "Ada", "password": REDACTED},
        "outputs": {"greeting": "Hello Ada"},
        "model": "null/model",
        "model_parameters": {"temperature": 0.5, "max_tokens": 100},
        "usage": usage,
        "cost": 0.001,
        "latency": 0.25,
        "cached": None,
        "attempts": (Attempt(1, "ok", 0.2, "null/model", usage, 0.001),),
        "stages": (StageTiming("bind", 0.0, 0.01), StageTiming("language_model", 0.01, 0.2)),
        "started_at": time.time(),
    }
    return ExecutionFinished(**values | changes)


def make_failure(**changes: Any) -> ExecutionFinished:
    """Return the event of an execution whose second attempt failed, too."""
    attempts = tuple(
        Attempt(number, "failed", 0.1, "null/model", Usage(12, 0, 1), error="LanguageModelError: no answer")
        for number in (1, 2)
    )
    values: dict[str, Any] = {
        "status": "failed",
        "outputs": {},
        "attempts": attempts,
        "error_type": "LanguageModelError",
        "error": "no answer",
    }
    return make_event(**values | changes)


def make_feedback(execution_id: str, **changes: Any) -> FeedbackGiven:
    """Return the event of a rating with a correction."""
    values: dict[str, Any] = {
        "execution_id": execution_id,
        "signature": "pack/Greet",
        "rating": 2,
        "corrections": {"greeting": "Good morning, Ada"},
        "comment": "too familiar",
        "source": "reviewer",
        "given_at": time.time(),
    }
    return FeedbackGiven(**values | changes)


def make_outcome(execution_id: str, **changes: Any) -> OutcomeRecorded:
    """Return the event of an outcome."""
    values: dict[str, Any] = {
        "execution_id": execution_id,
        "signature": "pack/Greet",
        "name": "reply_rate",
        "value": 0.4,
        "higher_is_better": True,
        "source": "mail server",
        "recorded_at": time.time(),
    }
    return OutcomeRecorded(**values | changes)


def make_operation(operation_id: str, **changes: Any) -> OperationFinished:
    """Return the event of a batch of two executions."""
    values: dict[str, Any] = {
        "operation_id": operation_id,
        "kind": "batch",
        "name": "pack/Greet",
        "status": "ok",
        "executions": 2,
        "failures": 0,
        "usage": Usage(24, 10, 2),
        "cost": 0.002,
        "latency": 0.5,
        "started_at": time.time(),
    }
    return OperationFinished(**values | changes)


def make_optimization(**changes: Any) -> OptimizationFinished:
    """Return the event of an optimization that was compared and not promoted, without a document."""
    values: dict[str, Any] = {
        "optimization_id": secrets.token_hex(16),
        "signature": "pack/Greet",
        "signature_version": "1.2.0",
        "fingerprint": "0123456789abcdef" * 2,
        "promoted": False,
        "figures": {
            "optimizer": "copro",
            "metric": {"name": "accuracy"},
            "baseline_score": 0.5,
            "candidate_score": 0.55,
            "interval": [-0.05, 0.15],
            "trials": [
                {"label": "baseline", "score": 0.4, "demos": 0},
                {"label": "rewrite 1", "score": 0.6, "demos": 2, "chosen": True},
            ],
            "calls": 120,
        },
        "document": None,
        "usage": Usage(2400, 600, 120),
        "cost": 0.1,
        "latency": 60.0,
        "started_at": time.time() - 60,
    }
    return OptimizationFinished(**values | changes)


def make_evaluation(**changes: Any) -> EvaluationFinished:
    """Return the event of an evaluation of two systems on two rows."""
    score = {"value": 0.5, "low": 0.1, "high": 0.9, "rows": 2}
    system = {
        "label": "null/model",
        "name": "pack/Greet",
        "fingerprint": "0123456789abcdef" * 2,
        "model": "null/model",
        "against": False,
        "scores": {"accuracy": score},
        "slices": {},
        "failures": {},
        "unanswered": {},
        "cost": 0.002,
        "latency_p50": 0.1,
        "latency_p95": 0.2,
    }
    other = {**system, "label": "null/other", "model": "null/other"}
    labels = (system["label"], other["label"])
    rows = [
        {
            "number": number,
            "inputs": {"name": "Ann"},
            "expected": {"greeting": "Hello"},
            "outputs": {label: {"greeting": text} for label in labels},
            "errors": {},
            "scores": dict.fromkeys(labels, score),
        }
        for number, (text, score) in enumerate((("Hello", 1.0), ("Bye", 0.0)), 1)
    ]
    values: dict[str, Any] = {
        "evaluation_id": secrets.token_hex(16),
        "target": "pack/Greet",
        "digest": "fedcba9876543210" * 2,
        "metric": "accuracy",
        "figures": {"metrics": ["accuracy"], "rows": 2, "seed": 0, "systems": [system, other], "comparisons": []},
        "rows": rows,
        "cost": 0.004,
        "latency": 2.0,
        "started_at": time.time() - 2,
    }
    return EvaluationFinished(**values | changes)


class TrackerConformance:
    """Tests that every tracker passes.

    The fixture ``make_tracker`` returns a function that makes one on the same store. The fixture ``read_executions``
    returns a function that reads what was delivered: mappings with at least ``execution_id``, ``signature`` and
    ``status``.
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

    def test_many_threads_record_at_once(self, tracker: Tracker, read_executions: Any) -> None:
        """Nothing is lost or mixed between threads."""
        batches = [[make_event() for _ in range(25)] for _ in range(8)]

        def record(batch: list[ExecutionFinished]) -> None:
            for event in batch:
                tracker.record(event)

        threads = [threading.Thread(target=record, args=(batch,)) for batch in batches]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert tracker.flush(PATIENCE)
        wanted = Counter(event.execution_id for batch in batches for event in batch)
        assert Counter(row["execution_id"] for row in read_executions()) == wanted

    def test_what_a_killed_process_recorded_is_delivered(self, make_tracker: Any, read_executions: Any) -> None:
        """What ``record`` accepted survives the death of its process."""
        events = [make_event() for _ in range(20)]
        child = os.fork()
        if child == 0:
            tracker = make_tracker()
            for event in events:
                tracker.record(event)
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
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
        before, inside, after = make_event(), make_event(), make_event()
        tracker.record(before)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                tracker.record(inside)
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
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

    def test_closing_delivers_and_can_be_repeated(self, make_tracker: Any, read_executions: Any) -> None:
        """Closing twice is harmless."""
        tracker = make_tracker()
        tracker.record(event := make_event())
        tracker.flush(PATIENCE)
        tracker.close()
        tracker.close()
        assert [row["execution_id"] for row in read_executions()] == [event.execution_id]
