"""What waits in a spool folder; read by trackers and by ``hokusai tracking status``, never written."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import orjson

from hokusai_mlflow.courier import SILENT, silence
from hokusai_mlflow.delivery.ledger import DUE
from hokusai_mlflow.spool import SEGMENTS, parse_line, segment_files, spool_bytes

__all__ = ["ACKNOWLEDGED", "LEDGER", "something_waits", "spool_status"]

#: Subfolder in which the writer acknowledges flushes.
ACKNOWLEDGED: Final = "acknowledged"
LEDGER: Final = "ledger.db"
#: Figure -> counter of the ledger.
_COUNTERS: Final = {
    "traces_sampled_away": "sampled_away",
    "traces_rejected": "traces_rejected",
    "refused": "refused",
    "damaged": "damaged",
}


def spool_status(folder: Path, writer: Mapping[str, Any]) -> dict[str, Any]:
    """Return JSON-able figures about a spool folder.

    Args:
        folder: the spool folder.
        writer: what the writer last said about itself.

    Returns:
        ``backlog`` (executions that MLflow's tables do not hold yet), ``traces_waiting``, ``lag`` (seconds since the
        oldest of them began, 0 where nothing waits), ``delivered``, ``traces_sampled_away``, ``last_error``,
        ``spool_bytes``, ``refused`` (executions that went untracked because the spool or the disk was full),
        ``traces_rejected`` (that MLflow will never take), ``damaged`` (lines that could not be read).
    """
    ledger = _ledger_figures(folder / LEDGER)
    offsets: Mapping[str, int] = ledger.pop("offsets")
    unread, oldest = 0, ledger.pop("oldest")
    for entry in segment_files(folder):
        count, first = _unread(entry.path, offsets.get(entry.name, 0))
        unread += count
        oldest = min((at for at in (oldest, first) if at is not None), default=None)
    return {
        **ledger,
        "backlog": ledger["backlog"] + unread,
        "lag": 0.0 if oldest is None else max(0.0, time.time() - oldest),
        "last_error": _last_error(writer),
        "spool_bytes": spool_bytes(folder, folder / SEGMENTS),
        "spool_folder": str(folder),
    }


def something_waits(folder: Path) -> bool:
    """Return whether a spool folder holds anything that MLflow does not have."""
    offsets: dict[str, int] = {}
    if (folder / LEDGER).exists():
        try:
            with _read_only(folder / LEDGER) as ledger:
                if ledger.execute(f"SELECT 1 FROM ({DUE}) LIMIT 1").fetchone():  # noqa: S608  # our own constant
                    return True
                offsets = dict(ledger.execute("SELECT name, offset FROM segments"))
        except sqlite3.Error:
            return True  # the writer finds out what is the matter
    for entry in segment_files(folder):
        with contextlib.suppress(FileNotFoundError):  # delivered and deleted meanwhile
            if entry.stat().st_size > offsets.get(entry.name, 0):
                return True
    return False


def _read_only(ledger: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True, timeout=5))


def _last_error(writer: Mapping[str, Any]) -> Any:
    silent = silence(writer)
    if silent > SILENT:
        return {"uri": writer["contact"], "error": f"no answer for {silent:.0f} s", "at": time.time() - silent}
    return writer.get("last_error")


def _ledger_figures(path: Path) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "backlog": 0,
        "traces_waiting": 0,
        "delivered": 0,
        **dict.fromkeys(_COUNTERS, 0),
    }
    figures.update(offsets={}, oldest=None)
    if not path.exists():
        return figures
    try:
        with _read_only(path) as ledger:
            figures["offsets"] = dict(ledger.execute("SELECT name, offset FROM segments"))
            counters = dict(ledger.execute("SELECT name, value FROM counters"))
            waiting, oldest = ledger.execute("SELECT count(*), min(began) FROM waiting").fetchone()
            traces, oldest_trace = ledger.execute("SELECT count(*), min(began) FROM traces").fetchone()
            figures.update(backlog=waiting, traces_waiting=traces, delivered=counters.get("executions", 0) - waiting)
            figures["oldest"] = min((at for at in (oldest, oldest_trace) if at is not None), default=None)
            for name, counter in _COUNTERS.items():
                figures[name] = counters.get(counter, 0)
    except sqlite3.Error as error:
        figures["ledger_error"] = f"{type(error).__name__}: {error}"
    return figures


def _unread(path: str, offset: int) -> tuple[int, float | None]:
    """Return how many executions of a segment are not in the ledger yet, and when the first of them began."""
    count, first = 0, None
    try:
        with open(path, "rb") as segment:
            segment.seek(offset)
            for line in segment:
                if b'"k":"e"' in line[:20] and line.endswith(b"\n"):
                    count += 1
                    if first is None:
                        record = parse_line(line.rstrip(b"\n"))
                        first = orjson.loads(record)["t0"] if record else None
    except FileNotFoundError:
        return 0, None  # delivered and deleted meanwhile
    return count, first
