"""One run a day for the executions of many processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hokusai_core.errors import ConfigurationError
from hokusai_core.testing.trackers import make_event, make_failure
from hokusai_mlflow import destination
from hokusai_mlflow.delivery import mlflow_runs
from hokusai_mlflow.options import make_options

TODAY = f"hokusai {date.today().isoformat()}"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let writers settle on a run at once, where no other writer is about."""
    monkeypatch.setattr(mlflow_runs, "_SETTLE", 0.0)


def test_processes_of_a_day_share_one_run(place: Any) -> None:
    events = [make_event(latency=0.1), make_event(latency=0.4), make_failure()]
    for event in events:  # each in a process of its own, as the command's executions are
        tracker = place.tracker(run="day")
        tracker.record(event)
        tracker.close()
        assert place.deliver()
    (run,) = place.runs()
    assert (run.info.run_name, run.info.status) == (TODAY, "FINISHED")
    assert [row["execution_id"] for row in place.rows()] == [event.execution_id for event in events]
    assert {trace.info.client_request_id for trace in place.traces()} == {event.execution_id for event in events}
    assert run.data.metrics["hokusai/executions"] == 3
    assert run.data.metrics["hokusai/failures"] == 1
    points = place.client.get_metric_history(run.info.run_id, "hokusai/latency_p50")
    assert {point.step: point.value for point in points} == {1: 0.1, 2: 0.4, 3: pytest.approx(events[2].latency)}


def test_a_day_of_several_models_loses_none(place: Any) -> None:
    for model in ("null/one", "null/two"):
        tracker = place.tracker(run="day")
        tracker.record(make_event(model=model))
        tracker.close()
    assert place.deliver()
    (run,) = place.runs()
    assert run.data.params == {}
    assert not [name for name in run.data.tags if name.startswith("hokusai.param")]
    assert sorted(trace.info.tags["hokusai.model"] for trace in place.traces()) == ["null/one", "null/two"]
    assert sorted(row["model"] for row in place.rows()) == ["null/one", "null/two"]


def test_the_death_of_a_process_neither_ends_the_day_nor_repeats_anything(place: Any) -> None:
    killed = place.tracker(run="day")
    killed.record(first := make_event())
    killed._recording.outbox.close()  # as the kernel closes the files of a process that is killed
    assert place.deliver()
    tracker = place.tracker(run="day")
    tracker.record(second := make_event())
    tracker.close()
    assert place.deliver()
    (run,) = place.runs()
    assert run.info.status == "FINISHED"
    assert [row["execution_id"] for row in place.rows()] == [first.execution_id, second.execution_id]


def test_a_new_day_has_a_new_run(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    night = datetime.combine(date(2026, 11, 28), datetime.max.time()).timestamp()
    clock = SimpleNamespace(time=lambda: night, strftime=time.strftime)
    monkeypatch.setattr(destination, "time", clock)
    tracker = place.tracker(run="day")
    tracker.record(make_event())
    clock.time = lambda: night + timedelta(minutes=1).total_seconds()
    tracker.record(make_event())
    tracker.record(make_event())
    tracker.close()
    assert place.deliver()
    counts = {run.info.run_name: run.data.metrics["hokusai/executions"] for run in place.runs()}
    assert counts == {"hokusai 2026-11-28": 1, "hokusai 2026-11-29": 2}


def test_writers_of_two_machines_settle_on_one_run(
    place: Any, place_in: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    other = type(place)(tmp_path / "other" / "spool", place.uri)
    both, searches = threading.Barrier(2), threading.local()
    first_run = mlflow_runs._first_run

    def search(*arguments: Any) -> Any:
        found = first_run(*arguments)
        searches.count = getattr(searches, "count", 0) + 1
        if searches.count <= 2:  # none has made a run yet; then both have
            both.wait(60)
        return first_run(*arguments) if searches.count == 2 else found

    monkeypatch.setattr(mlflow_runs, "_first_run", search)
    delivered = []
    for one in (place, other):
        tracker = one.tracker(run="day")
        tracker.record(make_event())
        tracker.close()
    threads = [threading.Thread(target=lambda one=one: delivered.append(one.deliver())) for one in (place, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert delivered == [True, True]
    (run,) = place.runs()
    assert len(place.rows()) == len(place.traces()) == 2
    assert {trace.info.request_metadata["mlflow.sourceRun"] for trace in place.traces()} == {run.info.run_id}


def test_a_name_goes_before_the_day(place: Any) -> None:
    tracker = place.tracker(run="day", run_name="nightly")
    tracker.record(make_event())
    assert place.deliver()
    assert [run.info.run_name for run in place.runs()] == ["nightly"]


def test_the_environment_chooses_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOKUSAI_TRACKING_RUN", "day")
    monkeypatch.setenv("HOKUSAI_TRACKING_PROMPTS", "off")
    assert (make_options({}).run, make_options({}).prompts) == ("day", False)
    with pytest.raises(ConfigurationError, match="run='week'; expected one of executor, day"):
        make_options({"run": "week"})
    with pytest.raises(ConfigurationError, match="prompts='perhaps'; expected true or false"):
        make_options({"prompts": "perhaps"})
