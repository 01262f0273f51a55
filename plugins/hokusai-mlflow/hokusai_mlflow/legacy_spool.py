"""Takes over a spool folder of version 0.1, which had segments in ``segments`` and a database ``ledger.db``.

What the ledger and the old segments hold and MLflow does not becomes new segments, once: they are written aside, then a
marker is set, and only then they are moved to their place and the old files are deleted. A takeover that is cut off
before the marker begins anew; one that is cut off after it is completed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import orjson
from attrs import define, field

from hokusai_core.plugin_api import AppendLog, OutboxFolder, is_locked, open_private_file, parse_line, private_folder
from hokusai_mlflow.delivery.execution_table import COLUMNS, EXECUTIONS, OPERATION_COLUMNS, operation_of, record_of
from hokusai_mlflow.destination import destination_key
from hokusai_mlflow.target_state import TargetState

__all__ = ["has_legacy_spool", "import_legacy_spool"]

_SEGMENTS: Final = "segments"
_LEDGER: Final = "ledger.db"
_MARKER: Final = "legacy.imported"
_ASIDE: Final = ".legacy"
_VERSIONS: Final = (1, 2)
_TOTALS: Final = (
    "executions", "failures", "cache_hits", "input_tokens", "output_tokens", "calls", "cost", "traces", "refused",
)  # fmt: skip


@define
class _Target:
    """What waits for one run.

    Args:
        header: what a segment says of its destination.
        run: its id and experiment in MLflow, where they are known.
        instead_of: the host's run that it replaces.
        totals: sums that the run's metrics show, or are about to.
        records: what MLflow does not have.
        counted: how many executions at the beginning of ``records`` are in ``totals``.
    """

    header: dict[str, Any]
    run: dict[str, str] | None = None
    instead_of: str | None = None
    totals: dict[str, Any] = field(factory=dict)
    records: list[dict[str, Any]] = field(factory=list)
    counted: int = 0

    @property
    def key(self) -> str:
        """The key of the destination."""
        header = self.header
        return destination_key(header["uri"], header["run_id"], header["run_key"], header["experiment"])


def has_legacy_spool(folder: Path) -> bool:
    """Return whether version 0.1 has left anything in a spool folder."""
    return any((folder / name).exists() for name in (_LEDGER, _MARKER)) or any((folder / _SEGMENTS).glob("*.seg"))


def import_legacy_spool(folder: Path) -> bool:
    """Turn what version 0.1 has left into segments of this one; the caller holds the writer's lock.

    Args:
        folder: the spool folder.

    Returns:
        Whether there was anything. Nothing is done while a process of version 0.1 still appends.

    Raises:
        RuntimeError: the database is damaged, or of a version that is not known.
    """
    if not has_legacy_spool(folder):
        return False
    if not (folder / _MARKER).exists():
        if any(is_locked(path) for path in (folder / _SEGMENTS).glob("*.seg")):
            return False
        _write_aside(folder)
    _complete(folder)
    return True


def _write_aside(folder: Path) -> None:
    outbox = private_folder(OutboxFolder(folder).path)
    TargetState.make_folder(folder)
    for path in outbox.glob(f"*{_ASIDE}"):
        path.unlink()
    token, ledger = _read_ledger(folder / _LEDGER)
    reader = _SegmentReader(ledger)
    for path in sorted((folder / _SEGMENTS).glob("*.seg")):
        reader.read(path)
    for target in reader.targets.values():
        if target.records:
            _write(folder, outbox, target, token)
    os.close(open_private_file(folder / _MARKER))


def _write(folder: Path, outbox: Path, target: _Target, token: str) -> None:
    name = f"{target.key}-{0:016x}-{token}"
    state = TargetState.load(folder, target.key, target.header)
    if state.run is None and not state.segments:
        state.run, state.instead_of, state.totals = target.run, target.instead_of, target.totals
    counted = target.counted if state.run is not None else 0
    state.segments[f"{name}.seg"] = {"offset": 0, "counted": counted, "parts": {}}
    state.save()
    with AppendLog(outbox / f"{name}{_ASIDE}") as log:
        log.append(orjson.dumps(target.header))
        for record in target.records:
            log.append(orjson.dumps(record))
        log.sync()


def _complete(folder: Path) -> None:
    for path in OutboxFolder(folder).path.glob(f"*{_ASIDE}"):
        path.rename(path.with_suffix(".seg"))
    for name in (_SEGMENTS, "acknowledged"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in (_LEDGER, f"{_LEDGER}-wal", f"{_LEDGER}-shm", "reserve", "status.json", _MARKER):
        (folder / name).unlink(missing_ok=True)


class _SegmentReader:
    """Adds what old segments hold and the ledger does not."""

    def __init__(self, ledger: _Ledger) -> None:
        self.targets, self._offsets, self._contexts = ledger.targets, ledger.offsets, ledger.contexts
        self._by_key = {target.key: number for number, target in self.targets.items()}

    def read(self, path: Path) -> None:
        """Read one segment."""
        offset, position = self._offsets.get(path.name, 0), 0
        contexts = {number: run for (segment, number), run in self._contexts.items() if segment == path.name}
        with open(path, "rb") as lines:
            for line in lines:
                text = parse_line(line) if line.endswith(b"\n") else None
                if text is not None:
                    self._add(orjson.loads(text), contexts, new=position >= offset)
                position += len(line)

    def _add(self, record: dict[str, Any], contexts: dict[int, int], *, new: bool) -> None:
        number = record.pop("c", None)
        if record["k"] == "c":
            if number not in contexts:
                contexts[number] = self._target(record)
        elif new and record["k"] != "b" and number in contexts:
            self.targets[contexts[number]].records.append(record)

    def _target(self, record: dict[str, Any]) -> int:
        header = {name: record[name] for name in ("uri", "experiment", "run_id", "run_key", "run_name", "tags")}
        target = _Target({"k": "d", **header, "source": {}, "sampling": record["sampling"], "rate": record["rate"]})
        number = self._by_key.setdefault(target.key, max(self.targets, default=0) + 1)
        self.targets.setdefault(number, target)
        return number


@define
class _Ledger:
    """What a ledger says.

    Args:
        targets: number of a run -> what waits for it.
        offsets: segment -> bytes of it that the ledger holds.
        contexts: segment and number of a context -> number of a run.
    """

    targets: dict[int, _Target] = field(factory=dict)
    offsets: dict[str, int] = field(factory=dict)
    contexts: dict[tuple[str, int], int] = field(factory=dict)


def _read_ledger(path: Path) -> tuple[str, _Ledger]:
    if not path.exists():
        return hashlib.blake2b(str(path).encode(), digest_size=3).hexdigest(), _Ledger()
    try:
        with closing(sqlite3.connect(path)) as sql:
            sql.row_factory = sqlite3.Row
            version = sql.execute("PRAGMA user_version").fetchone()[0]
            if version not in _VERSIONS:
                raise RuntimeError(
                    f"{path} is of version {version}, which this hokusai-mlflow does not know; deliver it with the "
                    "hokusai-mlflow that wrote it (`hokusai tracking flush`)"
                )
            token = str(sql.execute("SELECT value FROM facts WHERE name = 'token'").fetchone()[0])
            ledger = _Ledger(
                offsets=dict(tuple(row) for row in sql.execute("SELECT name, offset FROM segments")),
                contexts={(row[0], row[1]): row[2] for row in sql.execute("SELECT segment, number, run FROM contexts")},
            )
            for row in sql.execute("SELECT * FROM runs").fetchall():
                ledger.targets[row["id"]] = _read_target(sql, row, optimizations=version > 1)
            return token, ledger
    except sqlite3.DatabaseError as error:
        raise RuntimeError(
            f"{path} cannot be read ({error}); deliver it with hokusai-mlflow 0.1 (`hokusai tracking flush`), or move "
            "the file away to give up what waits in it"
        ) from error


def _read_target(sql: sqlite3.Connection, run: sqlite3.Row, *, optimizations: bool) -> _Target:
    asked = sql.execute("SELECT sampling, rate FROM contexts WHERE run = ? LIMIT 1", (run["id"],)).fetchone()
    host = run["key"].removeprefix("run:") if run["key"].startswith("run:") else None
    header = {
        "k": "d",
        "uri": run["uri"],
        "experiment": orjson.loads(run["experiment"]),
        "run_id": host,
        "run_key": run["own_key"],
        "run_name": run["name"],
        "tags": orjson.loads(run["tags"]),
        "source": {},
        "sampling": asked["sampling"] if asked else 1.0,
        "rate": asked["rate"] if asked else 25.0,
    }
    target = _Target(header)
    if run["mlflow_run"] and run["experiment_id"]:
        target.run = {"id": run["mlflow_run"], "experiment_id": run["experiment_id"]}
        target.instead_of = host if host and not run["host"] else None
    refused = _read_totals(sql, run, target)
    target.records += _read_executions(sql, run["id"])
    target.counted = sum(record["k"] == "e" and record.get("only") != "trace" for record in target.records)
    tables = ("feedback", "optimizations") if optimizations else ("feedback",)
    for table in tables:
        query = f"SELECT data FROM {table} WHERE run = ? ORDER BY seq"  # noqa: S608  # our own names
        target.records += [orjson.loads(row[0]) for row in sql.execute(query, (run["id"],))]
    if refused and target.run is None:
        target.records.append({"k": "r", "n": refused})
    if target.records and run["ending"] == "FINISHED":
        target.records.append({"k": "x"})
    return target


def _read_totals(sql: sqlite3.Connection, run: sqlite3.Row, target: _Target) -> int:
    """Read the sums of a run; return how many executions were refused of which it does not know yet."""
    totals, refused = orjson.loads(run["totals"]), 0
    for row in sql.execute("SELECT data FROM chunks WHERE run = ?", (run["id"],)):
        chunk = orjson.loads(row[0])
        totals = {name: totals.get(name, 0) + chunk[name] for name in _TOTALS}
        refused += chunk["refused"]
    target.totals = totals if target.run is not None else {}
    return refused


def _read_executions(sql: sqlite3.Connection, run: int) -> Iterator[dict[str, Any]]:
    """Yield executions and operations whose row or trace MLflow does not have, in order."""
    traces = {row["id"]: row for row in sql.execute("SELECT id, seq, data FROM traces WHERE run = ?", (run,))}
    found = []
    for row in sql.execute("SELECT id, name, seq, data FROM rows WHERE run = ? AND sent = 0", (run,)):
        trace = traces.pop(row["id"], None)
        if trace is not None:
            found.append((row["seq"], orjson.loads(trace["data"])))
        else:
            columns = COLUMNS if row["name"] == EXECUTIONS else OPERATION_COLUMNS
            values = dict(zip(columns, orjson.loads(row["data"]), strict=True))
            record = record_of(values) if row["name"] == EXECUTIONS else operation_of(values)
            found.append((row["seq"], {**record, "only": "row"}))
    found += [(row["seq"], {**orjson.loads(row["data"]), "only": "trace"}) for row in traces.values()]
    for _, record in sorted(found, key=lambda item: item[0]):
        record.pop("c", None)
        yield record
