"""Optimizations that reach the tracker, as runs of MLflow."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from hokusai_core import BaseSignature, Executor, InputField, OutputField
from hokusai_core.errors import ConfigurationError
from hokusai_core.plugin_api import Artifact
from hokusai_core.testing.trackers import make_event, make_optimization
from hokusai_mlflow import TrackingOptions, load_signature
from hokusai_mlflow.delivery import mlflow_optimizations
from hokusai_mlflow.options import make_options


class Greet(BaseSignature):
    """Greet a person."""

    name: str = InputField(description="who is greeted")
    greeting: str = OutputField(description="the greeting")


def document(instructions: str = "Greet warmly.", *, promoted: bool = True) -> dict[str, Any]:
    report = {
        "optimizer": "copro",
        "metric": {"name": "accuracy"},
        "baseline_score": 0.5,
        "candidate_score": 0.75,
        "improvement": 0.25,
        "interval": [0.1, 0.4],
        "trials": [
            {"label": "baseline", "score": 0.4, "instructions": "Greet a person."},
            {"label": "rewrite 1", "score": 0.7, "instructions": instructions, "chosen": True},
        ],
    }
    better = Greet.spec.evolve(instructions=instructions)
    artifact = Artifact(spec=better, base=Greet.spec, base_name="pack/Greet", report=report, promoted=promoted)
    return artifact.to_dict()


def optimization(place: Any) -> Any:
    """Return the one run that is an optimization."""
    (found,) = [run for run in place.runs() if "hokusai.optimization" in run.data.tags]
    return found


def test_an_optimization_is_a_run_below_that_of_the_tracker(place: Any) -> None:
    tracker = place.tracker()
    tracker.record(event := make_optimization(promoted=True, document=document()))
    assert place.deliver()
    run = optimization(place)
    (parent,) = [one for one in place.runs() if one.info.run_id == run.data.tags["mlflow.parentRunId"]]
    assert parent.data.tags["hokusai.run"]
    assert run.info.run_name == "optimize Greet"
    assert run.info.status == "FINISHED"
    assert run.info.start_time == int(event.started_at * 1000)
    assert run.data.params | {"optimizer": "copro", "metric": "accuracy"} == run.data.params
    assert (run.data.metrics["baseline_score"], run.data.metrics["winner_score"]) == (0.5, 0.75)
    scores = place.client.get_metric_history(run.info.run_id, "candidate_score")
    assert [(score.step, score.value) for score in scores] == [(0, 0.4), (1, 0.7)]
    path = place.client.download_artifacts(run.info.run_id, "candidates.json")
    rows = json.loads(Path(path).read_text())
    assert [row[rows["columns"].index("instructions")] for row in rows["data"]] == ["Greet a person.", "Greet warmly."]
    path = place.client.download_artifacts(run.info.run_id, "signature/optimized-signature.json")
    assert json.loads(Path(path).read_text()) == event.document
    assert not place.client.search_registered_models()  # no alias was chosen
    assert place.rows() == []


def test_what_was_promoted_is_registered_where_an_alias_is_chosen(place: Any) -> None:
    tracker = place.tracker(registry_alias="champion")
    tracker.record(make_optimization(promoted=True, document=document("first")))
    tracker.record(make_optimization(promoted=False, document=document("second", promoted=False)))
    assert place.deliver()
    assert load_signature("models:/Greet@champion", tracking_uri=place.uri)["instructions"] == "first"
    assert len(place.client.search_model_versions("name = 'Greet'")) == 1


@pytest.mark.parametrize("alias", ["", "v2", "7", "latest", "a b", "a/b", 3])
def test_an_alias_that_mlflow_refuses_is_refused_at_once(alias: Any) -> None:
    with pytest.raises(ConfigurationError, match="registry_alias="):
        make_options({"registry_alias": alias})


@pytest.mark.parametrize(
    "options",
    [{"content": "metadata"}, {"content": "outputs"}, {"redact": lambda _kind, values: values}],
    ids=["metadata", "outputs", "redacted"],
)
def test_what_may_quote_examples_follows_the_content_options(
    place: Any, tmp_path: Path, options: Mapping[str, Any]
) -> None:
    canary = secrets.token_hex(8)
    tracker = place.tracker(**options)
    tracker.record(make_optimization(promoted=True, document=document(canary)))
    assert place.deliver()
    assert [file for file in tmp_path.rglob("*") if file.is_file() and canary.encode() in file.read_bytes()] == []
    run = optimization(place)
    assert run.data.metrics["winner_score"] == 0.55
    assert [file.path for file in place.client.list_artifacts(run.info.run_id)] == ["candidates.json"]


def test_inside_a_run_of_the_host_it_belongs_to_that(place: Any, host_store: Any) -> None:
    tracker = place.tracker(tracking_uri=None, experiment=None, writer="process")
    with host_store.start_run() as host:
        tracker.record(make_optimization())
    assert tracker.flush(240)
    (run,) = [one for one in place.runs("Host") if "hokusai.optimization" in one.data.tags]
    assert run.data.tags["mlflow.parentRunId"] == host.info.run_id
    assert run.info.status == "FINISHED"
    tracker.close()


@pytest.mark.parametrize("step", ["write_optimization", "register_winner"])
def test_a_delivery_that_is_cut_off_is_finished_and_not_repeated(
    place: Any, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    write: Callable[..., Any] = getattr(mlflow_optimizations, step)

    died = threading.Event()

    def write_and_die(*arguments: Any, **options: Any) -> None:
        write(*arguments, **options)
        died.set()
        raise ConnectionError("the cable was pulled")

    tracker = place.tracker(registry_alias="champion")
    tracker.record(make_event())
    tracker.record(make_optimization(promoted=True, document=document()))
    with monkeypatch.context() as patch:
        patch.setattr(mlflow_optimizations, step, write_and_die)
        while not died.is_set():
            assert not place.deliver(timeout=1)
        assert optimization(place).info.status == "RUNNING"
    assert place.deliver()
    run = optimization(place)
    assert run.info.status == "FINISHED"
    assert len(place.client.get_metric_history(run.info.run_id, "candidate_score")) == 2
    path = place.client.download_artifacts(run.info.run_id, "candidates.json")
    assert len(json.loads(Path(path).read_text())["data"]) == 2
    assert len(place.client.search_model_versions("name = 'Greet'")) == 1
    assert len(place.rows()) == 1


def test_an_executor_tells_its_trackers(place: Any) -> None:
    tracker = place.tracker()
    with Executor(mode="testing", plugins=["mlflow"], trackers={"mlflow": tracker}) as executor:
        executor.optimization_finished(make_optimization())
    assert place.deliver()
    assert optimization(place).data.metrics["calls"] == 120
    assert TrackingOptions().registry_alias is None
