"""Delivers feedback as assessments of the execution's trace."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson
from mlflow.entities import Assessment, AssessmentSource, Expectation, Feedback
from mlflow.exceptions import MlflowException
from mlflow.tracing.client import TracingClient

from hokusai_mlflow.delivery.mlflow_runs import Target
from hokusai_mlflow.delivery.mlflow_traces import deliver_traces
from hokusai_mlflow.delivery.table import EXECUTIONS, trace_id_of
from hokusai_mlflow.loading import read_part

__all__ = ["deliver_feedback"]

_MISSING: Final = ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND")


def deliver_feedback(target: Target, feedback: Mapping[str, Any]) -> None:
    """Attach feedback to the trace of its execution, which is made where it was sampled away.

    Args:
        target: the run that the tracker records in.
        feedback: what the spool holds of it.
    """
    client = TracingClient(target.uri)
    trace_id = trace_id_of(feedback["id"])
    try:
        info = client.get_trace_info(trace_id)
    except MlflowException as error:
        if error.error_code not in _MISSING:
            raise
        _make_trace(target, feedback)
        info = client.get_trace_info(trace_id)
    present = {assessment.assessment_id for assessment in info.assessments}
    for assessment in _assessments(feedback):
        if assessment.assessment_id not in present:  # a delivery that was cut off halfway is finished, not repeated
            client.log_assessment(trace_id, assessment)


def _assessments(feedback: Mapping[str, Any]) -> Iterator[Assessment]:
    source = AssessmentSource(source_type="HUMAN", source_id=feedback["source"] or "unknown")
    at = int(feedback["t0"] * 1000)
    common: dict[str, Any] = {"source": source, "create_time_ms": at, "last_update_time_ms": at}
    rating = Feedback(name="rating", value=feedback["rating"], rationale=feedback.get("text"), **common)
    rating.assessment_id = _identifier(feedback, "rating")
    yield rating
    for field, value in (feedback.get("fix") or {}).items():
        expectation = Expectation(name=f"corrected_{field}", value=value, **common)
        expectation.assessment_id = _identifier(feedback, field)
        yield expectation


def _identifier(feedback: Mapping[str, Any], name: str) -> str:
    text = orjson.dumps([feedback["id"], feedback["t0"], feedback["source"], feedback["rating"], name])
    return f"a-{hashlib.sha256(text).hexdigest()[:32]}"


def _make_trace(target: Target, feedback: Mapping[str, Any]) -> None:
    row = _row(target, feedback["id"])
    # Without a row the execution was recorded elsewhere or not at all; what was said about it is kept all the same.
    deliver_traces(target, [_bare(feedback) if row is None else _record(row)])


def _bare(feedback: Mapping[str, Any]) -> dict[str, Any]:
    """Return as much of a record as feedback tells of its execution."""
    return {
        "k": "e",
        "id": feedback["id"],
        "sig": feedback["sig"],
        "ver": "",
        "fp": "",
        "st": "ok",
        "t0": feedback["t0"],
        "lat": 0.0,
        "m": "",
        "mp": {},
        "u": (0, 0, 0),
        "cost": None,
        "hit": None,
        "sg": (),
        "tags": {"hokusai.known_from": "feedback"},
    }


def _row(target: Target, execution_id: str) -> dict[str, Any] | None:
    parts = sorted((part.path for part in target.client.list_artifacts(target.run_id, EXECUTIONS)), reverse=True)
    for path in parts:
        for row in read_part(target.client, target.run_id, path):
            if row["execution_id"] == execution_id:
                return row
    return None


def _record(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the spool held of an execution, as far as its row tells."""
    import datetime

    def nested(name: str) -> Any:
        return orjson.loads(row[name]) if row[name] else {}

    return {
        "k": "e",
        "id": row["execution_id"],
        "sig": row["signature"],
        "ver": row["signature_version"],
        "fp": row["fingerprint"],
        "st": row["status"],
        "t0": datetime.datetime.fromisoformat(row["started_at"]).timestamp(),
        "lat": row["latency"],
        "m": row["model"],
        "mp": nested("model_parameters"),
        "u": (row["input_tokens"], row["output_tokens"], row["attempts"]),
        "cost": row["cost"],
        "hit": row["cached"],
        "sg": (),
        "in": nested("inputs"),
        "out": nested("outputs"),
        "et": row["error_type"],
        "err": row["error"],
        "par": row["parent_id"],
        "tags": nested("tags"),
        "cut": nested("cut"),
    }
