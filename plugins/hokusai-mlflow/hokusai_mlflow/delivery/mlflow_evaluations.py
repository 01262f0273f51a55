"""Writes evaluations as evaluation runs of MLflow. Writing one twice is safe: a delivery may be cut off halfway.

Each system becomes a run, since MLflow compares runs. A row becomes a trace of each run: its root span has inputs and
outputs, an expectation each expected output, an assessment the score.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import orjson
from attrs import evolve
from mlflow.entities import (
    Assessment,
    AssessmentSource,
    Dataset,
    DatasetInput,
    Expectation,
    Feedback,
    InputTag,
    Metric,
    Param,
    Run,
)
from mlflow.utils.mlflow_tags import (
    MLFLOW_DATASET_CONTEXT,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_TYPE,
    MLFLOW_RUN_TYPE_GENAI_EVALUATE,
)

from hokusai_mlflow.delivery.mlflow_runs import Target, quoted
from hokusai_mlflow.delivery.mlflow_traces import write_traces
from hokusai_mlflow.delivery.record_batch import TracePart

__all__ = ["write_evaluation_runs"]

_TAG: Final = "hokusai.evaluation"
#: Traces that are sent at a time.
_LUMP: Final = 50
#: Characters that MLflow takes of the digest of a data set.
_DIGEST: Final = 36
#: What the name of a metric must not hold.
_UNFIT: Final = re.compile(r"[^\w\-. /]")
_FIGURES: Final = ("cost", "input_tokens", "output_tokens", "latency_p50", "latency_p95", "round_deviation")
_SETTINGS: Final = ("rows", "by", "repeat", "seed", "confidence")


def write_evaluation_runs(target: Target, record: Mapping[str, Any], touch: Callable[[], None]) -> None:
    """Write an evaluation: a run for each system, with the data set, the figures, and a trace for each row.

    Args:
        target: the run that the tracker records in; those of the evaluation are below it.
        record: what the outbox holds of it.
        touch: called before each longer exchange with the store.
    """
    for number, system in enumerate(record["fig"]["systems"]):
        touch()
        run = _run_of(target, record, system, f"{record['id']}:{number}")
        if run.info.status == "FINISHED":
            continue
        _write_figures(target, run.info.run_id, record, system)
        _write_rows(evolve(target, run_id=run.info.run_id), record, system, number, touch)
        target.client.set_terminated(run.info.run_id, end_time=int((record["t0"] + record["lat"]) * 1000))


def _run_of(target: Target, record: Mapping[str, Any], system: Mapping[str, Any], key: str) -> Run:
    """Return the run of a system, which a delivery that was cut off halfway may have made already."""
    found = target.client.search_runs([target.experiment_id], f"tags.`{_TAG}` = '{quoted(key)}'", max_results=1)
    if found:
        return found[0]
    name = str(record["sig"]).rpartition("/")[2]
    return target.client.create_run(
        target.experiment_id,
        start_time=int(record["t0"] * 1000),
        tags={
            **target.source,
            _TAG: key,
            MLFLOW_RUN_TYPE: MLFLOW_RUN_TYPE_GENAI_EVALUATE,
            MLFLOW_PARENT_RUN_ID: target.run_id,
            "hokusai.signature": record["sig"],
            "hokusai.model": system["model"],
        },
        run_name=f"evaluate {name}: {system['label']}",
    )


def _write_figures(target: Target, run_id: str, record: Mapping[str, Any], system: Mapping[str, Any]) -> None:
    figures = record["fig"]
    metrics = [Metric(name, value, 0, 0) for name, value in _metrics(figures, system) if value is not None]
    settings = {name: figures.get(name) for name in _SETTINGS}
    parameters = {
        "signature": record["sig"],
        "system": system["label"],
        "model": system["model"],
        "fingerprint": system["fingerprint"],
        "metric": record["metric"],
        "rows_with_traces": len(record["rows"]),
        **{name: value for name, value in settings.items() if value is not None},
    }
    target.client.log_batch(run_id, metrics, [Param(name, str(value)) for name, value in parameters.items()])
    dataset = Dataset(
        name=f"{str(record['sig']).rpartition('/')[2]} rows",
        digest=record["data"][:_DIGEST],
        source_type="hokusai",
        source=json.dumps({"digest": record["data"]}),
        profile=json.dumps({"num_rows": figures.get("rows")}),
    )
    target.client.log_inputs(run_id, [DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, "eval")])])


def _metrics(figures: Mapping[str, Any], system: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    for name, score in system["scores"].items():
        yield _fit(name), score["value"]
        yield _fit(f"{name}/low"), score["low"]
        yield _fit(f"{name}/high"), score["high"]
    for value, score in system["slices"].items():
        yield _fit(f"slice/{value}"), score["value"]
    for name in _FIGURES:
        yield name, system.get(name)
    yield "failures", sum(system["failures"].values())
    yield "unanswered", sum(system["unanswered"].values())
    for pair in figures["comparisons"]:
        if pair["label"] == system["label"]:
            for name in ("difference", "low", "high", "p_value"):
                yield _fit(f"against {pair['against']}/{name}"), pair[name]


def _fit(name: str) -> str:
    return _UNFIT.sub("_", name)[:250]


def _write_rows(
    target: Target, record: Mapping[str, Any], system: Mapping[str, Any], number: int, touch: Callable[[], None]
) -> None:
    rows: Sequence[Mapping[str, Any]] = record["rows"]
    for start in range(0, len(rows), _LUMP):
        touch()
        parts, assessments = [], {}
        for row in rows[start : start + _LUMP]:
            identifier = hashlib.sha256(f"{record['id']}:{number}:{row['no']}".encode()).hexdigest()[:32]
            parts.append(TracePart("trace", _execution(record, system, row, identifier)))
            assessments[identifier] = list(_assessments(record, system["label"], row, identifier))
        write_traces(target, parts, assessments)


def _execution(
    record: Mapping[str, Any], system: Mapping[str, Any], row: Mapping[str, Any], identifier: str
) -> dict[str, Any]:
    """Return the record of the execution that a row stands for. Its tokens are in the trace of the execution itself."""
    label = system["label"]
    error = row["err"].get(label)
    kind, _, message = (error or "").partition(": ")
    return {
        "k": "e",
        "id": identifier,
        "sig": system["name"],
        "ver": "",
        "fp": system["fingerprint"],
        "st": "ok" if error is None else "failed",
        "t0": record["t0"],
        "lat": 0.0,
        "m": system["model"],
        "mp": {},
        "u": (0, 0, 0),
        "cost": None,
        "hit": None,
        "sg": (),
        "in": row.get("in", {}),
        "out": row.get("out", {}).get(label, {}),
        "et": kind or None,
        "err": message or None,
        "cut": row.get("cut"),
        "tags": {"hokusai.evaluation": record["id"], "hokusai.row": str(row["no"])},
    }


def _assessments(
    record: Mapping[str, Any], label: str, row: Mapping[str, Any], identifier: str
) -> Iterator[Assessment]:
    source = AssessmentSource(source_type="CODE", source_id=record["metric"])
    at = int((record["t0"] + record["lat"]) * 1000)
    common: dict[str, Any] = {"create_time_ms": at, "last_update_time_ms": at}
    score = row["sc"].get(label)
    found: list[Assessment] = [] if score is None else [Feedback(record["metric"], score, source=source, **common)]
    people = AssessmentSource(source_type="HUMAN", source_id="data set")
    found += [Expectation(name, value, source=people, **common) for name, value in row.get("exp", {}).items()]
    for one in found:
        text = orjson.dumps([identifier, one.name])
        one.assessment_id = f"a-{hashlib.sha256(text).hexdigest()[:32]}"
        yield one
