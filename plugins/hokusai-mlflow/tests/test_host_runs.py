"""Executions inside of the host's own runs, and what is deleted under them."""

from __future__ import annotations

import contextvars
import json
import threading
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from hokusai_core.testing.trackers import make_event, make_feedback
from hokusai_mlflow.loading import read_rows


def _rows(place: Any, run: Any) -> list[str]:
    return [row["execution_id"] for row in read_rows(place.client, run.info.run_id)]


def test_what_is_executed_inside_of_a_run_belongs_to_it(place: Any, host_store: Any) -> None:
    tracker = place.tracker(writer="process", tracking_uri=None, experiment=None)
    with host_store.start_run() as run:
        events = [make_event(), make_event()]
        for event in events:
            tracker.record(event)
        host_store.log_metric("mine", 1.0)
        assert tracker.flush(240)  # inside of the run or after it
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
    with host_store.start_run() as second:
        tracker.record(other := make_event())
    tracker.close()
    assert _rows(place, second) == [other.execution_id]
    assert {one.info.status for one in place.runs("Host")} == {"FINISHED"}
    assert len(place.runs("Host")) == 2  # a run of the executor's own would hold nothing


def test_nothing_is_left_in_mlflow_when_a_run_ends(place: Any, host_store: Any) -> None:
    before = dict(vars(host_store.tracking.fluent))
    tracker = place.tracker(tracking_uri=None, experiment=None)
    with host_store.start_run():
        tracker.record(make_event())
    after = vars(host_store.tracking.fluent)
    assert {name for name in before if after[name] is not before[name]} == set()
    assert host_store.tracking.fluent.run_id_to_system_metrics_monitor == {}


def test_outside_of_a_run_it_goes_to_one_of_its_own(place: Any, host_store: Any) -> None:
    tracker = place.tracker(tracking_uri=None, experiment=None)
    tracker.record(before := make_event())
    with host_store.start_run() as run:
        tracker.record(inside := make_event())
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


def test_work_that_is_handed_to_other_threads_belongs_to_the_run(place: Any, host_store: Any) -> None:
    tracker = place.tracker(tracking_uri=None, experiment=None)
    with host_store.start_run() as run:
        with tracker.anchor():
            context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(tracker.record, event := make_event()))
        thread.start()
        thread.join()
    assert place.deliver()
    assert _rows(place, run) == [event.execution_id]


def test_a_parameter_of_the_host_keeps_its_value(place: Any, host_store: Any) -> None:
    tracker = place.tracker(tracking_uri=None, experiment=None)
    with host_store.start_run() as run:
        host_store.log_param("Greet.model", "mine")
        host_store.log_dict({}, "notes.json")
        host_store.log_table({"a": [1]}, "mine.json")
        tracker.record(make_event())
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
    host_store.delete_run(run.info.run_id)
    assert place.deliver()
    (own,) = place.runs("Host")
    assert own.data.tags["hokusai.instead_of"] == run.info.run_id
    assert _rows(place, own) == [event.execution_id]


def test_a_run_that_is_deleted_between_two_deliveries_is_replaced_by_one(place: Any, host_store: Any) -> None:
    tracker = place.tracker(tracking_uri=None, experiment=None)
    run = host_store.start_run()
    tracker.record(make_event())
    assert place.deliver()
    place.client.delete_run(run.info.run_id)
    later = [make_event(), make_event()]
    for event in later:
        tracker.record(event)
        assert place.deliver()
    with pytest.raises(MlflowException, match="deleted"):
        host_store.end_run()
    (own,) = place.runs("Host")
    assert _rows(place, own) == [event.execution_id for event in later]
    assert own.data.metrics["hokusai/executions"] == 2


def test_a_deleted_experiment_is_revived(place: Any, host_store: Any) -> None:
    gone = host_store.set_experiment("gone")
    tracker = place.tracker(tracking_uri=None, experiment=None)
    tracker.record(first := make_event())
    assert place.deliver()
    place.client.delete_experiment(gone.experiment_id)
    tracker.record(second := make_event())
    assert place.deliver()
    (run,) = place.runs("gone")
    assert _rows(place, run) == [first.execution_id, second.execution_id]
    assert run.data.metrics["hokusai/executions"] == 2


def test_an_experiment_that_was_deleted_before_anything_was_delivered_is_revived(place: Any, host_store: Any) -> None:
    gone = host_store.set_experiment("gone")
    tracker = place.tracker(tracking_uri=None, experiment=None)
    with host_store.start_run() as run:
        tracker.record(inside := make_event())
    tracker.record(outside := make_event())
    place.client.delete_experiment(gone.experiment_id)
    assert place.deliver()
    assert _rows(place, run) == [inside.execution_id]
    assert sorted(row["execution_id"] for row in place.rows("gone")) == sorted(
        [inside.execution_id, outside.execution_id]
    )


def test_what_one_run_cannot_take_holds_up_no_other(place: Any, tmp_path: Any) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file is where the artifacts of this experiment would go")
    place.client.create_experiment("Blocked", artifact_location=(blocked / "artifacts").as_uri())
    broken = place.tracker(experiment="Blocked")
    broken.record(stuck := make_event())
    tracker = place.tracker()
    tracker.record(event := make_event())
    assert not place.deliver(timeout=3)
    assert [row["execution_id"] for row in place.rows()] == [event.execution_id]
    assert tracker.flush(0)
    assert not broken.flush(0)
    assert "Not a directory" in broken.status()["last_error"]["error"]
    tracker.record(later := make_event())
    assert not place.deliver(timeout=1)
    assert [row["execution_id"] for row in place.rows()] == [event.execution_id, later.execution_id]
    blocked.unlink()
    assert place.deliver()
    assert [row["execution_id"] for row in place.rows("Blocked")] == [stuck.execution_id]


def test_feedback_waits_for_an_execution_that_another_tracker_recorded(place: Any) -> None:
    one, other = place.tracker(), place.tracker()
    other.record(make_feedback((event := make_event()).execution_id))
    one.record(event)
    assert place.deliver()
    (trace,) = place.traces()
    assert trace.info.tags["hokusai.version"] == "1.2.0"  # that of the execution, not one made for the feedback
    assert {assessment.name for assessment in trace.info.assessments} == {"rating", "corrected_greeting"}
