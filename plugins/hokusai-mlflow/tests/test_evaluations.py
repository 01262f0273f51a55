"""Evaluations that reach the tracker, as evaluation runs of MLflow."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hokusai_core import BaseSignature, Executor, InputField, OutputField
from hokusai_core.testing.lm import null_lm
from hokusai_core.testing.trackers import make_evaluation
from hokusai_evaluate import evaluate
from hokusai_mlflow.delivery import mlflow_evaluations

ROWS = [{"text": f"number {number}", "note": f"private {number}", "label": "even"} for number in range(6)]


class Parity(BaseSignature):
    """Say whether the number is even or odd."""

    text: str = InputField()
    note: str = InputField(sensitive=True)
    label: str = OutputField()


def answer(user: str) -> str:
    number = int(user.split("number ")[-1].split()[0])
    return "odd" if number % 2 else "even"


def runs_of(place: Any) -> dict[str, Any]:
    """Return the evaluation runs by the label of their system."""
    return {run.data.params["system"]: run for run in place.runs() if "hokusai.evaluation" in run.data.tags}


def traces_of(place: Any, run: Any) -> list[Any]:
    found = place.client.search_traces(
        locations=[run.info.experiment_id],
        run_id=run.info.run_id,
    )
    return sorted(found, key=lambda trace: int(trace.info.tags["hokusai.row"]))


def test_each_system_is_an_evaluation_run_with_its_data_set_and_rows(place: Any) -> None:
    good, bad = (
        null_lm(answers={"label": "even"}, model="null/good"),
        null_lm(answers={"label": answer}, model="null/bad"),
    )
    with Executor(plugins=[], trackers={"mlflow": place.tracker()}, cache_enabled=False) as executor:
        evaluation = evaluate(executor, Parity, ROWS, metric="accuracy", lm=[good, bad], by="text")
    assert place.deliver()
    runs = runs_of(place)
    assert set(runs) == {"null/good", "null/bad"}
    run = runs["null/bad"]
    assert run.data.tags["mlflow.runType"] == "genai_evaluate"
    assert run.info.status == "FINISHED"
    assert run.data.metrics["accuracy"] == evaluation.systems[1].scores["accuracy"].value == 0.5
    assert run.data.metrics["against null/good/difference"] == -0.5
    (used,) = run.inputs.dataset_inputs
    assert evaluation.digest.startswith(used.dataset.digest)
    assert json.loads(used.dataset.profile) == {"num_rows": 6}
    traces = traces_of(place, run)
    assert [trace.info.tags["hokusai.row"] for trace in traces] == ["1", "2", "3", "4", "5", "6"]
    said = {one.name: one.value for one in traces[1].info.assessments}
    assert said == {"accuracy": 0.0, "label": "even"}
    root = traces[1].data.spans[0]
    assert root.outputs == {"label": "odd"}
    assert root.inputs["text"] == "number 1"
    assert "private" not in str(traces)


def test_a_delivery_that_was_cut_off_is_finished_and_not_repeated(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write: Any = vars(mlflow_evaluations)["write_traces"]
    calls: list[Any] = []

    def failing(*given: Any) -> None:
        calls.append(given)
        write(*given)
        if len(calls) == 2:
            raise ConnectionError("the store went away")

    monkeypatch.setattr(mlflow_evaluations, "write_traces", failing)
    place.tracker().record(make_evaluation())
    assert place.deliver()
    assert len(calls) == 3  # the second system once more
    for run in runs_of(place).values():
        assert run.info.status == "FINISHED"
        traces = traces_of(place, run)
        assert len(traces) == 2
        assert all(len(trace.info.assessments) == 2 for trace in traces)


def test_what_may_not_be_recorded_is_not(place: Any) -> None:
    place.tracker(content="metadata").record(make_evaluation())
    assert place.deliver()
    (run, _) = runs_of(place).values()
    traces = traces_of(place, run)
    assert "Ann" not in str(traces)
    assert "Hello" not in str(traces)
    assert [one.name for trace in traces for one in trace.info.assessments] == ["accuracy", "accuracy"]
