from __future__ import annotations

import contextvars
import json
import threading
from typing import Any

import pytest

from hokusai_core.testing.trackers import make_event
from hokusai_mlflow import TrackingWarning
from hokusai_mlflow.loading import read_rows


def _rows(place: Any, run: Any) -> list[str]:
    return [row["execution_id"] for row in read_rows(place.client, run.info.run_id)]


def test_everything_is_there_when_the_block_has_ended(place: Any, host_store: Any) -> None:
    tracker = place.tracker(writer="process", tracking_uri=None, experiment=None)
    with host_store.start_run() as run:
        events = [make_event(), make_event()]
        for event in events:
            tracker.record(event)
        host_store.log_metric("mine", 1.0)
    done = place.client.get_run(run.info.run_id)
    assert done.info.status == "FINISHED"
    assert _rows(place, run) == [event.execution_id for event in events]
    assert done.data.metrics["hokusai/executions"] == 2
    assert done.data.metrics["mine"] == 1
    assert done.data.params["Greet.input.name"] == "Ada"
    assert done.data.params["Greet.model"] == "null/model"
    assert done.data.metrics["hokusai/latency_p50"] == 0.25
    assert done.data.metrics["hokusai/input_tokens"] == 24
    traces = place.traces("Host")
    assert {trace.info.request_metadata["mlflow.sourceRun"] for trace in traces} == {run.info.run_id}
    assert len(traces) == 2
    # The next block does not wait for the first one's.
    with host_store.start_run() as second:
        tracker.record(other := make_event())
    assert _rows(place, second) == [other.execution_id]
    assert tracker.flush(60)
    tracker.close()
    # A run of the executor's own would hold nothing.
    assert len(place.runs("Host")) == 2


def test_outside_of_a_block_it_goes_to_a_run_of_its_own(place: Any, host_store: Any) -> None:
    tracker = place.tracker(tracking_uri=None, experiment=None)
    tracker.record(before := make_event())
    with host_store.start_run() as run:
        tracker.record(inside := make_event())
        host_store.tracking.fluent.run_id_to_system_metrics_monitor.clear()  # nobody delivers here: do not wait
    tracker.record(after := make_event())
    assert place.deliver()
    assert _rows(place, run) == [inside.execution_id]
    own = [found for found in place.runs("Host") if found.info.run_id != run.info.run_id]
    assert [_rows(place, found) for found in own] == [[before.execution_id, after.execution_id]]


def test_nothing_is_attributed_to_the_run_of_another_thread(place: Any, host_store: Any) -> None:
    tracker = place.tracker(tracking_uri=None, experiment=None)
    runs: dict[str, Any] = {}
    barrier = threading.Barrier(2)

    def work(name: str) -> None:
        with host_store.start_run() as run:
            runs[name] = run
            barrier.wait()  # both runs are active
            tracker.record(make_event(execution_id=name * 32))
            barrier.wait()
            host_store.tracking.fluent.run_id_to_system_metrics_monitor.pop(run.info.run_id)

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert place.deliver()
    for name in "ab":
        assert _rows(place, runs[name]) == [name * 32]
    linked = {t.info.client_request_id: t.info.request_metadata["mlflow.sourceRun"] for t in place.traces("Host")}
    assert linked == {name * 32: runs[name].info.run_id for name in "ab"}


def test_work_that_is_handed_to_other_threads_belongs_to_the_block(place: Any, host_store: Any) -> None:
    tracker = place.tracker(tracking_uri=None, experiment=None)
    with host_store.start_run() as run:
        with tracker.anchor():
            context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(tracker.record, event := make_event()))
        thread.start()
        thread.join()
        host_store.tracking.fluent.run_id_to_system_metrics_monitor.clear()
    assert place.deliver()
    assert _rows(place, run) == [event.execution_id]


def test_what_was_registered_for_the_end_of_the_run_is_finished_first(place: Any, host_store: Any) -> None:
    class Monitor:
        finished = 0

        def finish(self) -> None:
            self.finished += 1

    tracker, monitor = place.tracker(tracking_uri=None, experiment=None, run_timeout=0), Monitor()
    run = host_store.start_run()
    host_store.tracking.fluent.run_id_to_system_metrics_monitor[run.info.run_id] = monitor
    tracker.record(make_event())
    tracker.record(make_event())
    with pytest.warns(TrackingWarning, match="has ended before everything"):
        host_store.end_run()
    assert monitor.finished == 1
    assert run.info.run_id not in host_store.tracking.fluent.run_id_to_system_metrics_monitor


def test_a_parameter_of_the_host_keeps_its_value(place: Any, host_store: Any) -> None:
    tracker = place.tracker(tracking_uri=None, experiment=None)
    with host_store.start_run() as run:
        host_store.log_param("Greet.model", "mine")
        host_store.log_dict({}, "notes.json")
        host_store.log_table({"a": [1]}, "mine.json")
        tracker.record(make_event())
        host_store.tracking.fluent.run_id_to_system_metrics_monitor.clear()
    assert place.deliver()
    done = place.client.get_run(run.info.run_id)
    assert done.data.params["Greet.model"] == "mine"
    assert done.data.params["Greet.version"] == "1.2.0"
    assert done.data.tags["hokusai.param.Greet.model"] == "null/model"
    listed = {entry["path"] for entry in json.loads(done.data.tags["mlflow.loggedArtifacts"])}
    assert "mine.json" in listed
    assert len(listed) == 2


def test_a_deleted_run_of_the_host_loses_nothing(place: Any, host_store: Any) -> None:
    tracker = place.tracker(tracking_uri=None, experiment=None)
    with host_store.start_run() as run:
        tracker.record(event := make_event())
        host_store.tracking.fluent.run_id_to_system_metrics_monitor.clear()
    host_store.delete_run(run.info.run_id)
    assert place.deliver()
    (own,) = place.runs("Host")
    assert own.data.tags["hokusai.instead_of"] == run.info.run_id
    assert _rows(place, own) == [event.execution_id]


def test_an_mlflow_without_a_place_to_wait_is_named(
    place: Any, host_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(host_store.tracking.fluent, "run_id_to_system_metrics_monitor")
    tracker = place.tracker(tracking_uri=None, experiment=None)
    run = host_store.start_run()
    with pytest.warns(TrackingWarning, match="shortly after the block"):
        tracker.record(event := make_event())
    monkeypatch.undo()
    host_store.end_run()
    tracker.flush(0)
    monkeypatch.setenv("XDG_DATA_HOME", str(place.spool.parent / "data"))
    assert place.deliver()
    assert _rows(place, run) == [event.execution_id]
