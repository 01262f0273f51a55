"""Reads segments, and removes those that are delivered and have no owner any more."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson
from attrs import frozen

from hokusai_core.plugin_api import is_locked, parse_line
from hokusai_mlflow.destination import default_uri
from hokusai_mlflow.outbox import outbox_folder, segment_files, unfinished_files

__all__ = [
    "CHUNK",
    "Chunk",
    "is_finished",
    "is_waiting",
    "read_chunk",
    "read_header",
    "read_records",
    "remove_unfinished",
    "segment_path",
]

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


def segment_path(folder: Path, name: str) -> Path:
    """Return the path of a segment."""
    return outbox_folder(folder) / name


def read_chunk(path: Path, start: int, *, end: int | None = None, limit: int = CHUNK) -> Chunk:
    """Return the next records of a segment.

    Args:
        path: the segment.
        start: where to begin.
        end: where to end; None for as far as there are whole lines.
        limit: bytes to read at most, where a single record is not larger.
    """
    try:
        with open(path, "rb") as segment:
            segment.seek(start)
            data = segment.read(limit if end is None else end - start)
            while end is None and data and b"\n" not in data and (more := segment.read(limit)):
                data += more
    except FileNotFoundError:
        return Chunk(start, start, [])
    whole = data.rfind(b"\n") + 1
    found, damaged = read_records(data[:whole], start)
    return Chunk(start, start + whole, found, damaged)


def read_records(data: bytes, start: int) -> tuple[list[tuple[int, dict[str, Any]]], int]:
    """Return offset and record of each line, and how many lines are damaged."""
    found, damaged, offset = [], 0, start
    for line in data.split(b"\n")[:-1]:
        if line:  # an empty one follows a torn one
            text = parse_line(line)
            if text is None:
                damaged += 1
            else:
                found.append((offset, orjson.loads(text)))
        offset += len(line) + 1
    return found, damaged


def read_header(path: Path) -> dict[str, Any]:
    """Return what the first line of a segment says of its destination; of a damaged one, a destination for such."""
    with contextlib.suppress(OSError, ValueError), open(path, "rb") as segment:
        text = parse_line(segment.readline().rstrip(b"\n"))
        if text is not None:
            header: dict[str, Any] = orjson.loads(text)
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


def is_finished(path: Path, offset: int) -> bool:
    """Return whether a segment is read up to ``offset`` and nothing will follow; a torn last line does not count."""
    if is_locked(path):
        return False
    # Read after the lock was found free: nothing can follow.
    return not any(_lines(path, offset))


def _lines(path: Path, offset: int) -> Iterator[bytes]:
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as segment:
        segment.seek(offset)
        for line in segment:
            if line.endswith(b"\n"):
                yield line


def remove_unfinished(folder: Path) -> None:
    """Remove segments whose making was cut off by the death of their process."""
    for path in unfinished_files(folder):
        if not is_locked(path):
            path.unlink(missing_ok=True)


def is_waiting(folder: Path, execution_id: str, offsets: dict[str, int]) -> bool:
    """Return whether an execution is in what is not delivered yet."""
    wanted = b'"id":%s' % orjson.dumps(execution_id)
    for entry in segment_files(folder):
        offset = offsets.get(entry.name, 0)
        with contextlib.suppress(FileNotFoundError):
            if os.stat(entry.path).st_size > offset and any(
                wanted in line and b'{"k":"e"' in line[:20] for line in _lines(Path(entry.path), offset)
            ):
                return True
    return False
