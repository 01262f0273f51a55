"""The state of a target: how much of its segments MLflow has, and what is being sent. A small file, written atomically.

What is sent next is written down before it is sent: which part of a segment, which of its executions get a trace, the
point of each metric with its time. Sent again after a crash, it is the same, and MLflow keeps one of it. The file goes
when the target has no segments any more; a later segment begins a new one, which finds the run by its tag.
"""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path
from typing import Any, Final

import orjson
from attrs import asdict, define, field

from hokusai_core.plugin_api import atomic_write, private_folder
from hokusai_mlflow.destination import DAILY

__all__ = ["TargetState", "read_offsets", "state_files"]

_FOLDER: Final = "targets"
_VERSION: Final = 1


@define
class TargetState:
    """What is known of one target.

    Args:
        path: its file.
        description: the header of a segment: store, experiment, run.
        run: ``id`` and ``experiment_id`` in MLflow, None until the run is found or made.
        instead_of: id of the host's run that was deleted, where ``run`` replaces it.
        totals: sums over the executions that were delivered.
        signatures: those whose parameters were delivered.
        segments: name -> ``offset`` (what is before is delivered), ``counted`` (executions that ``totals`` holds
            already) and ``parts`` (table -> ``number``, ``start`` and ``traced`` of the part that still grows).
        operations: batches, chains and pipelines that are not over: id -> ``kind``, ``began``, ``traced``.
        pending: what is being sent: ``segment``, ``start``, ``end``, ``traced``, ``at``, ``totals``, ``metrics``.
        owed: stretches of segments whose rows are delivered and whose traces are not: ``segment``, ``start``, ``end``,
            ``traced``.
        ended: whether a tracker said that the run is over.
    """

    path: Path
    description: dict[str, Any]
    run: dict[str, str] | None = None
    instead_of: str | None = None
    totals: dict[str, Any] = field(factory=dict)
    signatures: list[str] = field(factory=list)
    segments: dict[str, dict[str, Any]] = field(factory=dict)
    operations: dict[str, dict[str, Any]] = field(factory=dict)
    pending: dict[str, Any] | None = None
    owed: list[dict[str, Any]] = field(factory=list)
    ended: bool = False

    @property
    def daily(self) -> bool:
        """Whether the run holds the executions of one day, of many processes."""
        return self.description["run_id"] is None and str(self.description["run_key"]).startswith(DAILY)

    @staticmethod
    def make_folder(folder: Path) -> None:
        """Make the folder of the states. ``save`` does not, so that a spool folder that is deleted stays deleted."""
        private_folder(folder / _FOLDER)

    @classmethod
    def load(cls, folder: Path, key: str, description: dict[str, Any]) -> TargetState:
        """Return the state of a target; a new one where there is none, or where it is damaged."""
        path = folder / _FOLDER / f"{key}.json"
        with contextlib.suppress(FileNotFoundError, ValueError, TypeError, AttributeError):
            data = orjson.loads(path.read_bytes())
            if data.pop("version") != _VERSION:
                raise RuntimeError(
                    f"{path} was written by another version of hokusai-mlflow; deliver it with that version "
                    "(`hokusai tracking flush`), or set HOKUSAI_SPOOL_DIR to another folder"
                )
            return cls(path, **data)
        return cls(path, description)

    def save(self) -> None:
        """Replace the file. On a full disk delivery goes on without: it makes room, and a crash meanwhile is unlikely.

        Raises:
            OSError: the file cannot be written for another reason than a full disk.
        """
        data = asdict(self, filter=lambda attribute, _: attribute.name != "path")
        try:
            atomic_write(self.path, [orjson.dumps({"version": _VERSION, **data})])
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise

    def delete(self) -> None:
        """Delete the file."""
        self.path.unlink(missing_ok=True)


def state_files(folder: Path) -> list[Path]:
    """Return the state files of a spool folder."""
    return sorted((folder / _FOLDER).glob("*.json"))


def read_offsets(folder: Path, *, rows: bool = False) -> dict[str, int]:
    """Return segment -> bytes of it that MLflow has. A segment of which nothing is delivered may be missing.

    Args:
        folder: the spool folder.
        rows: whether rows alone count; their traces may follow later.
    """
    found: dict[str, int] = {}
    for path in state_files(folder):
        with contextlib.suppress(FileNotFoundError, ValueError, AttributeError, KeyError):
            state = orjson.loads(path.read_bytes())
            found |= {name: segment["offset"] for name, segment in state["segments"].items()}
            for owed in [] if rows else reversed(state["owed"]):
                found[owed["segment"]] = owed["start"]
    return found
