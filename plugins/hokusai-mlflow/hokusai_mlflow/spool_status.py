"""What trackers and the writer of a spool folder tell each other through files in it.

The writer holds a lock while it runs and writes ``status.json``. A tracker that waits for delivery leaves a sign, so
that the writer hurries.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from hokusai_core.plugin_api import OutboxFolder, is_locked, parse_line
from hokusai_mlflow.legacy_spool import has_legacy_spool
from hokusai_mlflow.target_state import read_offsets

__all__ = [
    "LOCK",
    "SECRET_URIS",
    "SILENT",
    "STATUS",
    "WAITING",
    "is_alive",
    "is_waited_for",
    "read_status",
    "silence",
    "something_waits",
    "spool_status",
    "writer_is_running",
]

#: Held by the writer of a spool folder.
LOCK: Final = "writer.lock"
STATUS: Final = "status.json"
#: Ending of the sign of a tracker that waits; its name begins with the id of its process.
WAITING: Final = ".waiting"
#: Environment variable that brings the writer the addresses whose credentials are on no disk.
SECRET_URIS: Final = "HOKUSAI_TRACKING_SECRET_URIS"  # noqa: S105  # a name
#: Seconds without an answer that are worth a word.
SILENT: Final = 15.0
_COUNTERS: Final = ("delivered", "traces_sampled_away", "rejected", "refused", "damaged")


def spool_status(folder: Path, writer: Mapping[str, Any]) -> dict[str, Any]:
    """Return JSON-able figures about a spool folder.

    Args:
        folder: the spool folder.
        writer: what the writer last said about itself.

    Returns:
        ``backlog`` (executions that MLflow does not have yet), ``lag`` (seconds since the oldest of them began, 0 where
        nothing waits), ``delivered``, ``traces_sampled_away``, ``rejected`` (traces, feedback and optimizations that
        MLflow will never take), ``refused`` (executions that went untracked because the spool or the disk was full),
        ``damaged`` (lines that could not be read), ``last_error``, ``notes`` (what MLflow cannot do there),
        ``spool_bytes``, ``spool_folder``.
    """
    offsets = read_offsets(folder, rows=True)
    backlog, oldest = 0, None
    outbox = OutboxFolder(folder)
    sizes = outbox.sizes()
    for name in sizes:
        count, first = _unread(outbox, name, offsets.get(name, 0))
        backlog += count
        oldest = min((at for at in (oldest, first) if at is not None), default=None)
    counters = writer.get("counters") or {}
    return {
        "backlog": backlog,
        "lag": 0.0 if oldest is None else max(0.0, time.time() - oldest),
        **{name: counters.get(name, 0) for name in _COUNTERS},
        "last_error": _last_error(writer),
        "notes": list(writer.get("notes") or ()),
        "spool_bytes": sum(sizes.values()),
        "spool_folder": str(folder),
    }


def something_waits(folder: Path) -> bool:
    """Return whether a spool folder holds anything that MLflow does not have."""
    offsets = read_offsets(folder)
    sizes = OutboxFolder(folder).sizes()
    return any(size > offsets.get(name, 0) for name, size in sizes.items()) or has_legacy_spool(folder)


def is_waited_for(folder: Path) -> bool:
    """Return whether something waits for delivery; what was left by processes that are dead is removed."""
    found = False
    for sign in folder.glob(f"*{WAITING}"):
        if is_alive(int(sign.name.partition("-")[0])):
            found = True
        else:
            sign.unlink(missing_ok=True)
    return found


def writer_is_running(folder: Path) -> bool:
    """Return whether a writer process serves the spool folder."""
    return is_locked(folder / LOCK)


def read_status(folder: Path) -> dict[str, Any]:
    """Return what the writer last said about itself, empty where it never did."""
    try:
        status = orjson.loads((folder / STATUS).read_bytes())
    except (FileNotFoundError, NotADirectoryError, orjson.JSONDecodeError):
        return {}
    return status if isinstance(status, dict) else {}


def silence(status: Mapping[str, Any]) -> float:
    """Return for how many seconds the writer has been waiting for an answer of ``status["contact"]``."""
    if not status.get("contact") or not is_alive(status.get("pid")):
        return 0.0
    return max(0.0, time.time() - float(status["at"]))


def is_alive(pid: int | None) -> bool:
    """Return whether a process of that id runs."""
    if pid is None:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _last_error(writer: Mapping[str, Any]) -> Any:
    silent = silence(writer)
    if silent > SILENT:
        return {"uri": writer["contact"], "error": f"no answer for {silent:.0f} s", "at": time.time() - silent}
    return writer.get("last_error")


def _unread(outbox: OutboxFolder, name: str, offset: int) -> tuple[int, float | None]:
    """Return how many executions of a segment are not delivered yet, and when the first of them began."""
    count, first = 0, None
    for line in outbox.lines(name, offset):
        if b'"k":"e"' in line[:20]:
            count += 1
            if first is None:
                record = parse_line(line)
                first = orjson.loads(record)["t0"] if record else None
    return count, first
