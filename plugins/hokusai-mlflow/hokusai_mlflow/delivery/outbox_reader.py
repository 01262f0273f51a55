"""Reads the records of a segment, which are JSON."""

from __future__ import annotations

import contextlib
from typing import Any, Final

import orjson
from attrs import frozen

from hokusai_core.plugin_api import OutboxFolder
from hokusai_mlflow.destination import default_uri

__all__ = ["CHUNK", "Chunk", "is_waiting", "read_chunk", "read_header"]

#: Bytes that are read at a time.
CHUNK: Final = 4 * 2**20


@frozen
class Chunk:
    """A stretch of a segment.

    Args:
        start: where it begins.
        end: where it ends, after a line break.
        records: offset and record of each line that is whole.
        damaged: how many lines are not.
    """

    start: int
    end: int
    records: list[tuple[int, dict[str, Any]]]
    damaged: int = 0


def read_chunk(outbox: OutboxFolder, name: str, start: int, *, end: int | None = None) -> Chunk:
    """Return the next records of a segment.

    Args:
        outbox: where the segment is.
        name: the segment.
        start: where to begin.
        end: where to end; None for as far as there are whole lines.
    """
    part = outbox.read(name, start, end=end, limit=CHUNK)
    records = [(offset, orjson.loads(record)) for offset, record in part.records]
    return Chunk(part.start, part.end, records, part.damaged)


def read_header(outbox: OutboxFolder, name: str) -> dict[str, Any]:
    """Return what the first line of a segment says of its destination; of a damaged one, a destination for such."""
    with contextlib.suppress(OSError, ValueError):
        part = outbox.read(name, 0, limit=4096)
        if part.records and part.records[0][0] == 0:
            header: dict[str, Any] = orjson.loads(part.records[0][1])
            return header
    return {
        "uri": default_uri(),
        "experiment": {"name": "Hokusai"},
        "run_id": None,
        "run_key": "name:recovered",
        "run_name": "recovered",
        "tags": {},
        "source": {},
        "sampling": 1.0,
        "rate": 1.0,
    }


def is_waiting(outbox: OutboxFolder, execution_id: str, offsets: dict[str, int]) -> bool:
    """Return whether an execution is in what is not delivered yet."""
    wanted = b'"id":%s' % orjson.dumps(execution_id)
    return any(
        wanted in line and b'{"k":"e"' in line[:20]
        for name, size in outbox.sizes().items()
        if size > offsets.get(name, 0)
        for line in outbox.lines(name, offsets.get(name, 0))
    )
