from __future__ import annotations

import os
import random
from collections.abc import Iterator
from typing import Any

import pytest

from hokusai_core import Executor
from hokusai_core.errors import ConfigurationError
from hokusai_core.testing.lm import null_lm
from hokusai_mlflow import MlflowTracker, autolog
from hokusai_mlflow.loading import read_rows


@pytest.fixture
def executor() -> Iterator[Executor]:
    with Executor(lm=_answering(), plugins=[], cache_enabled=False) as made:
        made.register_signature("Greet", "name -> greeting")
        yield made


@pytest.fixture(autouse=True)
def _undone() -> Iterator[None]:
    yield
    autolog(disable=True)


def _answering() -> Any:
    return null_lm(answers={"greeting": "Hello there"})


@pytest.mark.slow
def test_executors_that_were_made_before_and_after_are_tracked(place: Any, executor: Executor) -> None:
    autolog(experiment="Test", tracking_uri=place.uri, writer="none", tags={"team": "sales"})
    first = executor.execute_signature("Greet", {"name": "Ada"})
    with Executor(lm=_answering(), plugins=[]) as other:
        other.register_signature("Greet", "name -> greeting")
        second = other.execute_signature("Greet", {"name": "Bob"})
    autolog(disable=True)
    executor.execute_signature("Greet", {"name": "Cyd"})
    assert place.deliver()
    assert {row["execution_id"] for row in place.rows()} == {first["execution_id"], second["execution_id"]}
    assert len(place.runs()) == 2  # a run for each executor
    assert {run.data.tags["team"] for run in place.runs()} == {"sales"}


def test_a_tracker_of_the_executor_s_own_stays(place: Any) -> None:
    own = place.tracker(experiment="Own")
    with Executor(lm=_answering(), plugins=[], trackers={"mlflow": own}) as executor:
        executor.register_signature("Greet", "name -> greeting")
        autolog(experiment="Test", tracking_uri=place.uri, writer="none")
        executor.execute_signature("Greet", {"name": "Ada"})
        autolog(disable=True)
        executor.execute_signature("Greet", {"name": "Bob"})
    assert place.deliver()
    assert len(place.rows("Own")) == 2
    assert place.runs() == []


def test_its_options_hold_for_executors_that_track_anyway(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", place.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "Default")
    monkeypatch.setenv("HOKUSAI_TRACKING_WRITER", "none")
    with Executor(lm=_answering(), plugins=["mlflow"], trackers=["mlflow"], cache_enabled=False) as executor:
        executor.register_signature("Greet", "name -> greeting")
        autolog()  # says nothing that would need another tracker
        first = executor.execute_signature("Greet", {"name": "Ada"})
        autolog(experiment="Test", content="metadata")
        second = executor.execute_signature("Greet", {"name": "Bob"})
        autolog(disable=True)
        third = executor.execute_signature("Greet", {"name": "Cyd"})
    assert place.deliver()
    assert [(row["execution_id"], row["inputs"]) for row in place.rows()] == [(second["execution_id"], None)]
    (run,) = place.runs("Default")
    assert {row["execution_id"] for row in place.rows("Default")} == {first["execution_id"], third["execution_id"]}
    assert run.info.status == "FINISHED"


def test_a_mistake_is_reported_at_once(place: Any) -> None:
    with pytest.raises(ConfigurationError, match="sampling"):
        autolog(sampling=7)


def test_the_guide_s_snippet_records_what_it_lists(place: Any, host_store: Any, executor: Executor) -> None:
    autolog()
    with host_store.start_run() as run:
        result = executor.execute_signature("Greet", inputs={"name": "Ada"})
        host_store.log_metric("greeting_length", len(result["greeting"]))
        host_store.log_text(result["greeting"], "greeting.txt")
    assert executor.flush(240)
    done = place.client.get_run(run.info.run_id)
    (row,) = read_rows(place.client, run.info.run_id)
    assert done.data.params["Greet.input.name"] == "Ada"
    assert result["greeting"] in row["outputs"]
    assert done.data.metrics["hokusai/latency_p50"] > 0
    assert done.data.metrics["hokusai/output_tokens"] == result.usage.output_tokens
    assert done.data.params["Greet.model"] == result.model
    assert done.data.metrics["greeting_length"] == len(result["greeting"])


def test_the_host_s_own_use_of_mlflow_and_dspy_is_left_alone(place: Any, host_store: Any, executor: Executor) -> None:
    import dspy

    before = {name: value for name, value in os.environ.items() if name.startswith("MLFLOW")}
    uri, callbacks = host_store.get_tracking_uri(), list(dspy.settings.callbacks or [])
    random.seed(4)
    state = random.getstate()
    autolog(writer="none")
    executor.execute_signature("Greet", {"name": "Ada"})
    assert host_store.get_tracking_uri() == uri
    assert {name: value for name, value in os.environ.items() if name.startswith("MLFLOW")} == before
    assert list(dspy.settings.callbacks or []) == callbacks
    assert host_store.active_run() is None
    assert random.getstate() == state


def test_testing_mode_tracks_nothing(place: Any) -> None:
    with Executor(mode="testing", plugins=[], trackers={"mlflow": place.tracker()}) as executor:
        executor.register_signature("Greet", "name -> greeting")
        executor.execute_signature("Greet", {"name": "Ada"})
        assert executor.stats()["trackers"]["mlflow"]["accepted"] == 0
    assert not place.spool.exists()


def test_the_plugin_offers_the_tracker(place: Any) -> None:
    with Executor(plugins=["mlflow"], trackers=["mlflow"]) as executor:
        assert isinstance(executor.plugins.create("tracker", "mlflow"), MlflowTracker)
