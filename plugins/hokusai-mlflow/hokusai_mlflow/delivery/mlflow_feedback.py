"""Writes feedback as assessments of the execution's trace."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import orjson
from mlflow.entities import Assessment, AssessmentSource, Expectation, Feedback
from mlflow.exceptions import MlflowException
from mlflow.tracing.client import TracingClient

from hokusai_mlflow.delivery.execution_table import EXECUTIONS, record_of, trace_id_of
from hokusai_mlflow.delivery.mlflow_runs import Target
from hokusai_mlflow.delivery.mlflow_traces import span_id_of, write_traces
from hokusai_mlflow.delivery.record_batch import TracePart
from hokusai_mlflow.loading import read_part

__all__ = ["write_feedback"]

_MISSING: Final = ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND")


def write_feedback(target: Target, feedback: Mapping[str, Any], waits: Callable[[str], bool]) -> bool:
    """Attach feedback to the trace of its execution, which is made where it was sampled away.

    Args:
        target: the run that the tracker records in.
        feedback: what the outbox holds of it, or of an outcome.
        waits: returns whether an execution of that id is not delivered yet.

    Returns:
        False where the execution has to be delivered first.
    """
    client = TracingClient(target.uri)
    trace_id, span_id = trace_id_of(feedback["id"]), None
    info = _trace_info(client, trace_id)
    if info is None:
        if waits(feedback["id"]):
            return False
        row = _row(target, feedback["id"])
        if row is not None and row["trace_id"] not in (None, trace_id):  # a step, which is in the trace of its chain
            trace_id, span_id = row["trace_id"], span_id_of(row["trace_id"], feedback["id"])
        else:
            # Without a row the execution was recorded elsewhere or not at all; the feedback is kept anyway.
            write_traces(target, [TracePart("trace", _bare(feedback) if row is None else record_of(row))])
        info = client.get_trace_info(trace_id)
    present = {assessment.assessment_id for assessment in info.assessments}
    for assessment in _assessments(feedback):
        if assessment.assessment_id not in present:  # a delivery that was cut off halfway is finished, not repeated
            assessment.span_id = span_id
            client.log_assessment(trace_id, assessment)
    return True


def _trace_info(client: TracingClient, trace_id: str) -> Any:
    try:
        return client.get_trace_info(trace_id)
    except MlflowException as error:
        if error.error_code not in _MISSING:
            raise
        return None


def _assessments(feedback: Mapping[str, Any]) -> Iterator[Assessment]:
    is_outcome = "name" in feedback
    source = AssessmentSource(source_type="CODE" if is_outcome else "HUMAN", source_id=feedback["source"] or "unknown")
    at = int(feedback["t0"] * 1000)
    common: dict[str, Any] = {"source": source, "create_time_ms": at, "last_update_time_ms": at}
    if is_outcome:
        direction = {"better": "higher" if feedback["higher"] else "lower"}
        outcome = Feedback(name=feedback["name"], value=feedback["value"], metadata=direction, **common)
        outcome.assessment_id = _identifier(feedback, feedback["name"])
        yield outcome
        return
    rating = Feedback(name="rating", value=feedback["rating"], rationale=feedback.get("text"), **common)
    rating.assessment_id = _identifier(feedback, "rating")
    yield rating
    for field, value in (feedback.get("fix") or {}).items():
        expectation = Expectation(name=f"corrected_{field}", value=value, **common)
        expectation.assessment_id = _identifier(feedback, field)
        yield expectation


def _identifier(feedback: Mapping[str, Any], name: str) -> str:
    text = orjson.dumps([feedback["id"], feedback["t0"], feedback["source"], feedback.get("rating"), name])
    return f"a-{hashlib.sha256(text).hexdigest()[:32]}"


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
