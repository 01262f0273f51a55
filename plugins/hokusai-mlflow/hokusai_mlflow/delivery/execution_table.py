"""The executions table: columns, rows, and the parts that it is stored in.

A table is a folder of JSON artifacts in pandas' ``split`` form, which MLflow's user interface shows as tables and
``mlflow.artifacts`` and ``mlflow.load_table`` load. A part is written again while it grows and never after it is full,
so that the cost of a row does not depend on how many there are.
"""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

__all__ = [
    "COLUMNS",
    "EXECUTIONS",
    "OPERATIONS",
    "OPERATION_COLUMNS",
    "PART_BYTES",
    "PART_ROWS",
    "operation_of",
    "operation_row_of",
    "part_name",
    "part_of",
    "record_of",
    "row_of",
    "trace_id_of",
]

#: Artifact folders that hold the parts of the two tables: of executions; of batches, chains and pipelines.
EXECUTIONS: Final = "executions"
OPERATIONS: Final = "operations"
PART_ROWS: Final = 1000
PART_BYTES: Final = 2 * 2**20
_HEXADECIMAL: Final = re.compile(r"(?!0{32})[0-9a-f]{32}")

#: What people look for comes first: the user interface shows the first few, and the rest where one scrolls.
COLUMNS: Final = (
    "signature",
    "model",
    "inputs",
    "outputs",
    "latency",
    "input_tokens",
    "output_tokens",
    "cost",
    "status",
    "cached",
    "started_at",
    "execution_id",
    "signature_version",
    "fingerprint",
    "model_parameters",
    "attempts",
    "attempt_errors",
    "error_type",
    "error",
    "tags",
    "parent_id",
    "step",
    "trace_id",
    "cut",
)
OPERATION_COLUMNS: Final = (
    "kind",
    "name",
    "inputs",
    "outputs",
    "latency",
    "input_tokens",
    "output_tokens",
    "cost",
    "status",
    "executions",
    "failures",
    "started_at",
    "operation_id",
    "error_type",
    "error",
    "tags",
    "trace_id",
    "cut",
)


def row_of(record: Mapping[str, Any], trace_id: str | None) -> bytes:
    """Return the row of an execution as JSON.

    Args:
        record: what the spool holds of it.
        trace_id: its trace, None where it was sampled away.
    """
    attempts = record.get("at", ())
    usage = record["u"]
    return orjson.dumps(
        (
            record["sig"],
            record["m"],
            _text(record.get("in")),
            _text(record.get("out")),
            round(record["lat"], 6),
            usage[0],
            usage[1],
            record["cost"],
            record["st"],
            record["hit"],
            _iso(record["t0"]),
            record["id"],
            record["ver"],
            record["fp"],
            _text(record["mp"]),
            len(attempts),
            _text([attempt[6] for attempt in attempts if attempt[6]]),
            record.get("et"),
            record.get("err"),
            _text(record.get("tags")),
            record.get("par"),
            record.get("step"),
            trace_id,
            _text(record.get("cut")),
        )
    )


def operation_row_of(record: Mapping[str, Any], trace_id: str | None) -> bytes:
    """Return the row of a batch, chain or pipeline as JSON."""
    usage = record["u"]
    return orjson.dumps(
        (
            record["kind"],
            record["sig"],
            _text(record.get("in")),
            _text(record.get("out")),
            round(record["lat"], 6),
            usage[0],
            usage[1],
            record["cost"],
            record["st"],
            record["n"],
            record["bad"],
            _iso(record["t0"]),
            record["id"],
            record["et"],
            record["err"],
            _text(record.get("tags")),
            trace_id,
            _text(record.get("cut")),
        )
    )


def record_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of an execution, as far as its row tells."""
    return {
        "k": "e",
        "id": row["execution_id"],
        "sig": row["signature"],
        "ver": row["signature_version"],
        "fp": row["fingerprint"],
        "st": row["status"],
        "t0": _seconds(row),
        "lat": row["latency"],
        "m": row["model"],
        "mp": _nested(row, "model_parameters"),
        "u": (row["input_tokens"], row["output_tokens"], row["attempts"]),
        "cost": row["cost"],
        "hit": row["cached"],
        "sg": (),
        "in": _nested(row, "inputs"),
        "out": _nested(row, "outputs"),
        "et": row["error_type"],
        "err": row["error"],
        "par": row["parent_id"],
        "step": row["step"],
        "tags": _nested(row, "tags"),
        "cut": _nested(row, "cut"),
    }


def operation_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a batch, chain or pipeline, as far as its row tells."""
    return {
        "k": "o",
        "id": row["operation_id"],
        "kind": row["kind"],
        "sig": row["name"],
        "st": row["status"],
        "n": row["executions"],
        "bad": row["failures"],
        "u": (row["input_tokens"], row["output_tokens"], 0),
        "cost": row["cost"],
        "lat": row["latency"],
        "t0": _seconds(row),
        "et": row["error_type"],
        "err": row["error"],
        "in": _nested(row, "inputs"),
        "out": _nested(row, "outputs"),
        "tags": _nested(row, "tags"),
    }


def _nested(row: Mapping[str, Any], column: str) -> Any:
    return orjson.loads(row[column]) if row[column] else {}


def _seconds(row: Mapping[str, Any]) -> float:
    return datetime.datetime.fromisoformat(row["started_at"]).timestamp()


def trace_id_of(execution_id: str) -> str:
    """Return the id of an execution's trace: MLflow wants 32 hexadecimal digits, as execution ids have."""
    if _HEXADECIMAL.fullmatch(execution_id):
        return f"tr-{execution_id}"
    return f"tr-{hashlib.sha256(execution_id.encode()).hexdigest()[:32]}"


def part_name(segment: str, number: int) -> str:
    """Return the file name of a part; its rows come from one segment, so nothing else writes it."""
    return f"part-{segment.partition('-')[2].partition('.')[0]}-{number:03d}.json"


def part_of(table: str, rows: Iterable[bytes]) -> bytes:
    """Return the artifact that holds ``rows`` of ``table``."""
    columns = COLUMNS if table == EXECUTIONS else OPERATION_COLUMNS
    return b'{"columns":%s,"data":[%s]}' % (orjson.dumps(columns), b",\n".join(rows))


def _text(value: Any) -> str | None:
    """Return nested values as JSON text: a cell of the user interface shows nothing else."""
    return orjson.dumps(value).decode() if value else None


def _iso(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.UTC).isoformat(timespec="microseconds")
