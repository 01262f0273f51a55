"""BatchFiles: the batches of a server on disk, one folder each.

::

    <id>/batch.json      what was asked for, and how far it is
    <id>/rows.jsonl      the rows, until the batch is over
    <id>/journal         the journal of the executor, until the batch is over
    <id>/results.jsonl   the outcome of every row, in their order

Folders and files are readable by their user alone. Rows of a signature with sensitive fields are never written: such a
batch does not survive the end of the server.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from attrs import asdict, define, field
from pydantic_core import from_json

from hokusai_core.plugin_api import atomic_write, private_folder
from hokusai_serve.json_text import json_bytes

__all__ = ["BatchFiles", "BatchRecord", "BatchState"]

BatchState = Literal["queued", "running", "finished", "failed", "lost"]
_RECORD: Final = "batch.json"
_FORMAT: Final = 1


@define(eq=False)
class BatchRecord:
    """One batch.

    Args:
        id: random id.
        signature: qualified name of the signature.
        rows: how many rows there are.
        options: options of each execution.
        state: ``queued``, ``running``, ``finished``, ``failed`` (see ``error``), or ``lost`` where the server ended and
            the rows could not be kept.
        done: rows that are over.
        failed: those of them that failed.
        created_at: seconds since the epoch.
        finished_at: seconds since the epoch, None until then.
        error: why it failed.
    """

    id: str
    signature: str
    rows: int
    options: dict[str, Any]
    state: BatchState = "queued"
    done: int = 0
    failed: int = 0
    created_at: float = field(factory=time.time)
    finished_at: float | None = None
    error: str | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more happens with it."""
        return self.state in ("finished", "failed", "lost")

    def to_dict(self) -> dict[str, Any]:
        """Return what clients see."""
        return {name: value for name, value in asdict(self).items() if name != "options"}


class BatchFiles:
    """Reads and writes the folder of a server.

    Args:
        folder: the folder; made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = private_folder(folder)

    def read(self) -> list[BatchRecord]:
        """Return every batch that is there, the oldest first; a folder that is none is left alone."""
        found = []
        for path in self._folder.glob(f"*/{_RECORD}"):
            try:
                data = json.loads(path.read_text(encoding="utf-8"))
                if data.pop("format") == _FORMAT:
                    found.append(BatchRecord(**data))
            except (OSError, ValueError, TypeError, KeyError):
                continue
        return sorted(found, key=lambda record: record.created_at)

    def write(self, record: BatchRecord) -> None:
        """Write the record of a batch."""
        data = {"format": _FORMAT, **asdict(record)}
        atomic_write(self._in(record, _RECORD), [json.dumps(data).encode()])

    def write_rows(self, record: BatchRecord, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write the rows of a batch."""
        atomic_write(self._in(record, "rows.jsonl"), (json_bytes(row) + b"\n" for row in rows))

    def read_rows(self, record: BatchRecord) -> list[Any] | None:
        """Return the rows of a batch, None where they were not kept."""
        try:
            lines = self._path(record, "rows.jsonl").read_bytes().splitlines()
        except FileNotFoundError:
            return None
        return [from_json(line) for line in lines]

    def journal(self, record: BatchRecord) -> Path:
        """Return the path of the journal."""
        return self._in(record, "journal")

    def results(self, record: BatchRecord) -> Path:
        """Return the path of the results."""
        return self._in(record, "results.jsonl")

    def forget_work(self, record: BatchRecord) -> None:
        """Remove what is needed only until a batch is over."""
        for name in ("rows.jsonl", "journal"):
            self._path(record, name).unlink(missing_ok=True)

    def remove(self, record: BatchRecord) -> None:
        """Remove everything of a batch."""
        shutil.rmtree(self._folder / record.id, ignore_errors=True)

    def _in(self, record: BatchRecord, name: str) -> Path:
        return private_folder(self._folder / record.id) / name

    def _path(self, record: BatchRecord, name: str) -> Path:
        return self._folder / record.id / name
