from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from hokusai_core import BaseSignature, Executor, InputField, OutputField, read_artifact
from hokusai_core.errors import ConfigurationError, SignatureDefinitionError, TrackingError
from hokusai_core.plugin_api import Artifact
from hokusai_mlflow import Trial, load_signature, log_optimization, log_pyfunc


class Greet(BaseSignature):
    """Greet a person."""

    version = "2.0.0"
    name: str = InputField(description="who is greeted")
    greeting: str = OutputField(description="the greeting")


TRIALS = [
    Trial("baseline", 0.5, 0.5, "Greet a person."),
    Trial("rewrite 1", 0.75, 0.7, "Greet warmly.", ({"name": "Ada", "greeting": "Hello"},)),
    Trial("rewrite 2", None),
]


def test_an_optimization_is_a_run_with_every_candidate(place: Any) -> None:
    winner = Greet.spec.evolve(instructions="Greet warmly.")
    logged = log_optimization(
        "Greet",
        winner=winner,
        trials=TRIALS,
        baseline_score=0.5,
        winner_score=0.7,
        parameters={"optimizer": "rewrites"},
        tracking_uri=place.uri,
    )
    run = place.client.get_run(logged.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["optimizer"] == "rewrites"
    assert (run.data.metrics["baseline_score"], run.data.metrics["winner_score"]) == (0.5, 0.7)
    scores = place.client.get_metric_history(logged.run_id, "candidate_score")
    assert [(score.step, score.value) for score in scores] == [(0, 0.5), (1, 0.75)]
    table = json.loads(Path(place.client.download_artifacts(logged.run_id, "candidates.json")).read_text())
    assert [row[1] for row in table["data"]] == ["baseline", "rewrite 1", "rewrite 2"]
    assert logged.model_uri == "models:/Greet@champion"
    version = place.client.get_model_version_by_alias("Greet", "champion")
    assert version.run_id == logged.run_id
    assert version.tags["hokusai.fingerprint"] == winner.fingerprint


def test_the_champion_runs_as_a_signature(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", place.uri)
    log_optimization("Greet", winner=Greet.spec.evolve(instructions="first"))
    log_optimization("Greet", winner=Greet.spec.evolve(instructions="second").to_dict())
    assert load_signature("models:/Greet@champion")["instructions"] == "second"
    assert load_signature("models:/Greet/1")["instructions"] == "first"
    with Executor(mode="testing", plugins=["mlflow"]) as executor:
        executor.register_signature("Greet", "models:/Greet@champion")
        assert executor.signatures.resolve("Greet").spec.instructions == "second"
        assert "greeting" in executor.execute_signature("Greet", {"name": "Ada"})


def test_the_document_of_an_optimized_signature_is_kept_whole(place: Any) -> None:
    document = {"kind": "optimized-signature", "signature": Greet.spec.to_dict(), "report": {"gain": 0.2}}
    logged = log_optimization("Greet", winner=document, tracking_uri=place.uri)
    path = place.client.download_artifacts(logged.run_id, "signature/optimized-signature.json")
    assert json.loads(Path(path).read_text()) == document
    assert load_signature("models:/Greet@champion", tracking_uri=place.uri) == Greet.spec.to_dict()


REPORT = {
    "optimizer": "copro",
    "metric": {"name": "accuracy", "range": [0.0, 1.0]},
    "model": "openai/small",
    "seed": 3,
    "sizes": {"train": 10, "dev": 5, "test": 20},
    "baseline_score": 0.5,
    "candidate_score": 0.75,
    "improvement": 0.25,
    "interval": [0.1, 0.4],
    "p_value": 0.002,
    "verdict": "promoted",
    "trials": [
        {"label": "baseline", "score": 0.4, "calls": 20, "demos": 0, "instructions": "Greet a person."},
        {"label": "copro 1", "score": 0.6, "calls": 40, "demos": 0, "instructions": "Greet.", "chosen": False},
        {"label": "copro 2", "score": 0.8, "calls": 60, "demos": 2, "instructions": "Greet warmly.", "chosen": True},
    ],
    "calls": 90,
    "cost": None,
}


@pytest.mark.parametrize("form", ["class", "file", "document"])
@pytest.mark.parametrize("promoted", [True, False])
def test_an_optimized_signature_brings_its_report_along(place: Any, tmp_path: Path, form: str, promoted: bool) -> None:
    better = Greet.spec.evolve(name="Greet", instructions="Greet warmly.", version="2.0.1")
    artifact = Artifact(spec=better, base=Greet.spec, base_name="pack/Greet", report=REPORT, promoted=promoted)
    winner: Any = {"class": artifact.signature, "document": artifact.to_dict()}.get(form)
    logged = log_optimization(winner=winner or artifact.write(tmp_path / "better.json"), tracking_uri=place.uri)
    assert logged.model_uri == ("models:/Greet@champion" if promoted else None)
    run = place.client.get_run(logged.run_id)
    assert run.info.run_name == "optimize Greet"
    assert run.data.params.items() >= {"optimizer": "copro", "metric": "accuracy", "examples_test": "20"}.items()
    figures = {"baseline_score": 0.5, "winner_score": 0.75, "improvement": 0.25, "interval_low": 0.1, "calls": 90}
    assert run.data.metrics.items() >= figures.items()
    assert "cost" not in run.data.metrics
    scores = place.client.get_metric_history(logged.run_id, "candidate_score")
    assert [(score.step, score.value) for score in scores] == [(0, 0.4), (1, 0.6), (2, 0.8)]
    held_out = place.client.get_metric_history(logged.run_id, "candidate_held_out_score")
    assert [(score.step, score.value) for score in held_out] == [(0, 0.5), (2, 0.75)]
    path = place.client.download_artifacts(logged.run_id, "signature/optimized-signature.json")
    assert read_artifact(path).spec.fingerprint == better.fingerprint


def test_what_is_not_promoted_is_not_registered(place: Any) -> None:
    logged = log_optimization("Greet", winner=Greet.spec, promote=False, tracking_uri=place.uri)
    assert (logged.model_uri, logged.version) == (None, None)
    assert place.client.search_registered_models() == []


def test_a_model_that_is_not_there_is_named(place: Any) -> None:
    log_optimization("Greet", winner=Greet.spec, tracking_uri=place.uri)
    with pytest.raises(ConfigurationError, match="it has Greet"):
        load_signature("models:/Great@champion", tracking_uri=place.uri)
    with pytest.raises(ConfigurationError, match="aliases champion and the versions 1"):
        load_signature("models:/Greet@loser", tracking_uri=place.uri)
    with pytest.raises(ConfigurationError, match="NAME@ALIAS"):
        load_signature("models:/Greet", tracking_uri=place.uri)


def test_a_registry_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError, match=r"http://me:\*\*\*@127.0.0.1:9 cannot be asked"):
        load_signature("models:/Greet@champion", tracking_uri="http://me:secret@127.0.0.1:9")


def test_a_model_that_holds_no_signature_is_refused(place: Any, tmp_path: Path) -> None:
    client = place.client
    run = client.create_run(client.create_experiment("x", artifact_location=(tmp_path / "artifacts").as_uri()))
    client.create_registered_model("Other")
    for number, text in enumerate(("{", "[]", '{"name": 3}'), 1):
        client.log_text(run.info.run_id, text, f"v{number}/signature.json")
        client.create_model_version("Other", f"{run.info.artifact_uri}/v{number}", run.info.run_id)
        with pytest.raises(SignatureDefinitionError):
            load_signature(f"models:/Other/{number}", tracking_uri=place.uri)


def test_a_pyfunc_export_answers_without_pickle(place: Any, host_store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOKUSAI_MODE", "testing")
    with host_store.start_run(), warnings.catch_warnings():
        warnings.filterwarnings("error", category=UserWarning, module=r"mlflow\.pyfunc")
        uri = log_pyfunc(Greet.spec, name="greet")
    folder = Path(host_store.artifacts.download_artifacts(uri))
    assert not list(folder.rglob("*.pkl"))
    model = host_store.pyfunc.load_model(uri)
    answer, failed = model.predict([{"name": "Ada"}, {"name": " "}])
    assert set(answer) == {"greeting"}
    assert failed["error"].startswith("InputError")
