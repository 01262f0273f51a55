"""Intake: moves records from segments into the ledger, each exactly once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson
from attrs import frozen

from hokusai_mlflow.delivery.ledger import RESUMED, Ledger
from hokusai_mlflow.delivery.sampling import GROUPED, Sampler
from hokusai_mlflow.delivery.summary import Chunk, parameters_of
from hokusai_mlflow.delivery.table import (
    EXECUTIONS,
    OPERATIONS,
    PART_BYTES,
    PART_ROWS,
    operation_row_of,
    row_of,
    trace_id_of,
)
from hokusai_mlflow.spool import SEGMENTS, is_abandoned, parse_line, segment_files

__all__ = ["Intake"]

_FORGET_EVERY: Final = 100_000
#: Nothing was executed outside of the host's runs, perhaps: then MLflow gets no run of the executor's own.
_HOLDS_SOMETHING: Final = "(mlflow_run IS NOT NULL OR id IN (SELECT run FROM due))"


@frozen
class _Portions:
    """How much is taken in at a time.

    Args:
        bite: bytes that one transaction takes from one segment.
        step: bytes that one step takes from all segments, so that delivery gets its turn.
        rows: rows of a part, which stay in the ledger until the part is full.
    """

    bite: int = 4 * 2**20
    step: int = 16 * 2**20
    rows: int = PART_ROWS


_LARGE: Final = _Portions()
#: For a disk that has hardly any room.
_SMALL: Final = _Portions(bite=2**16, step=2**16, rows=50)


class Intake:
    """Reads the segments of a spool folder.

    Args:
        folder: the spool folder.
        ledger: where records go.
    """

    def __init__(self, folder: Path, ledger: Ledger) -> None:
        self._folder, self._ledger, self._sampler = folder, ledger, Sampler()
        self._forgotten_at = ledger.seq
        self._portions = _LARGE
        #: Segments that were read to their end while their tracker lived; looked at for their locks only now and then.
        self._offsets: dict[str, int] = dict(ledger.sql.execute("SELECT name, offset FROM segments"))

    def step(self, *, thrifty: bool = False) -> int:
        """Take in what is new, in bites; return how many records.

        Args:
            thrifty: whether the ledger has hardly any room to grow.
        """
        self._portions = _SMALL if thrifty else _LARGE
        taken, left = 0, self._portions.step
        for entry in segment_files(self._folder):
            while left > 0:
                count, read = self._bite(entry.name, entry.path)
                taken, left = taken + count, left - read
                if read < self._portions.bite:
                    break
        if self._ledger.seq - self._forgotten_at > _FORGET_EVERY:
            self._forgotten_at = self._ledger.seq
            self._ledger.forget_old()
        return taken

    def has_unread(self) -> bool:
        """Return whether a segment has grown since it was read."""
        return any(True for _ in self.unread())

    def unread(self) -> Iterator[tuple[os.DirEntry[str], int]]:
        """Yield the segments that have grown since they were read, each with the offset up to which it was."""
        for entry in segment_files(self._folder):
            offset = self._offsets.get(entry.name, 0)
            if entry.stat().st_size > offset:
                yield entry, offset

    def retire(self) -> bool:
        """Delete segments that were read to their end and that nobody appends to; return whether any were."""
        present, buried = set(), False
        for entry in segment_files(self._folder):
            present.add(entry.name)
            if is_abandoned(entry.path) and self._is_read(entry):
                self._bury(entry.name, entry.path)
                buried = True
        gone = self._offsets.keys() - present
        with self._ledger.transaction():
            for name in gone:
                self._ledger.sql.execute("DELETE FROM segments WHERE name = ?", (name,))
        for name in gone:
            del self._offsets[name]
        self._clear_stillborn()
        return buried

    def _is_read(self, entry: os.DirEntry[str]) -> bool:
        # The size is asked for after the lock was found free: nothing can follow.
        rest = os.stat(entry.path).st_size - self._offsets.get(entry.name, 0)
        if rest == 0:
            return True
        with open(entry.path, "rb") as segment:
            segment.seek(self._offsets.get(entry.name, 0))
            return b"\n" not in segment.read()

    def _bury(self, name: str, path: str) -> None:
        sql = self._ledger.sql
        with self._ledger.transaction():
            torn = os.stat(path).st_size - self._offsets.get(name, 0)
            self._ledger.count("damaged", int(torn > 0))
            runs = self._ledger.column("SELECT DISTINCT run FROM contexts WHERE segment = ?", name)
            sql.execute("DELETE FROM contexts WHERE segment = ?", (name,))
            # Chains that its death cut off: each of their steps gets a trace of its own.
            for run in runs:
                sql.execute("UPDATE traces SET parent = NULL WHERE run = ? AND parent IS NOT NULL", (run,))
            for run in runs:
                # Its tracker died without a word; unless another one goes on with the run, it is over.
                sql.execute(
                    "UPDATE runs SET ending = 'KILLED', ending_seq = ? WHERE id = ? AND host = 0 "  # noqa: S608  # our own constant
                    f"AND coalesce(ending, ?) = ? AND {_HOLDS_SOMETHING} "
                    "AND NOT EXISTS (SELECT 1 FROM contexts WHERE run = runs.id)",
                    (self._ledger.next_seq(), run, RESUMED, RESUMED),
                )
            self._ledger.save_seq()
        os.unlink(path)

    def _clear_stillborn(self) -> None:
        for path in (self._folder / SEGMENTS).glob("*.new"):
            if is_abandoned(os.fspath(path)):
                path.unlink(missing_ok=True)

    def _bite(self, name: str, path: str) -> tuple[int, int]:
        offset = self._offsets.get(name, 0)
        try:
            with open(path, "rb") as segment:
                segment.seek(offset)
                data = segment.read(self._portions.bite)
                while data and b"\n" not in data and (more := segment.read(self._portions.bite)):
                    data += more  # a single record that is larger than a bite
        except FileNotFoundError:
            return 0, 0
        end = data.rfind(b"\n") + 1
        if not end:
            return 0, 0
        lines = data[:end].split(b"\n")[:-1]
        batch = _Batch(self._ledger, self._sampler, name, self._portions.rows)
        with self._ledger.transaction():
            self._sampler.waiting = self._ledger.sql.execute("SELECT count(*) FROM traces").fetchone()[0]
            for line in lines:
                batch.take(line)
            batch.finish()
            self._ledger.sql.execute("INSERT OR REPLACE INTO segments VALUES (?, ?)", (name, offset + end))
        self._offsets[name] = offset + end
        return len(lines), len(data)


class _Batch:
    """The records of one transaction."""

    def __init__(self, ledger: Ledger, sampler: Sampler, segment: str, part_rows: int) -> None:
        self._ledger, self._sql, self._sampler, self._segment = ledger, ledger.sql, sampler, segment
        self._part_rows = part_rows
        self._contexts: dict[int, tuple[int, float, float]] = {}
        self._open_parts: dict[tuple[int, str], list[int]] = {}
        self._chunks: dict[int, Chunk] = {}
        self._hosts: dict[int, bool] = {}
        self._executions = self._sampled_away = self._damaged = 0

    def take(self, line: bytes) -> None:
        """Take in one line."""
        if not line:
            return  # follows a torn one
        text = parse_line(line)
        if text is None:
            self._damaged += 1
            return
        record = orjson.loads(text)
        kind = record["k"]
        if kind == "e":
            self._execution(record, text)
        elif kind == "c":
            self._context(record)
        elif kind == "b":
            self._flush(record)
        else:
            run = self._run_of(record["c"])[0]
            if kind == "f":
                self._sql.execute("INSERT INTO feedback VALUES (?, ?, ?)", (self._ledger.next_seq(), run, text))
            elif kind == "o":
                self._operation(record, text, run)
            elif kind == "s":
                self._optimization(record, text, run)
            elif kind == "x":
                self._ending(run, shared=record["shared"])
            elif kind == "r":
                self._chunk(run).refused += record["n"]
                self._ledger.count("refused", record["n"])

    def finish(self) -> None:
        """Write what was gathered over the batch."""
        for (run, table), part in self._open_parts.items():
            self._save_part(run, table, part, closed=0)
        for run, chunk in self._chunks.items():
            self._sql.execute("INSERT INTO chunks VALUES (?, ?, ?)", (self._ledger.next_seq(), run, chunk.dump()))
        self._ledger.count("executions", self._executions)
        self._ledger.count("sampled_away", self._sampled_away)
        self._ledger.count("damaged", self._damaged)
        self._ledger.save_seq()

    def _execution(self, record: Mapping[str, Any], text: bytes) -> None:
        run, share, rate = self._run_of(record["c"])
        identifier, seq = record["id"], self._ledger.next_seq()
        if not self._sql.execute("INSERT OR IGNORE INTO seen VALUES (?, ?, ?)", (run, identifier, seq)).rowcount:
            return  # came before
        traced = self._sampler.takes(record, run, share, rate)
        parent = record["par"] if record.get("pk") in GROUPED else None
        row = row_of(record, trace_id_of(parent or identifier) if traced else None)
        self._row(EXECUTIONS, run, record, seq, row)
        if traced:
            self._trace(run, record, seq, text, parent)
        chunk = self._chunk(run)
        if record["sig"] not in chunk.signatures:
            for name, value in parameters_of(record, inputs=self._hosts[run]):
                self._sql.execute("INSERT OR IGNORE INTO params VALUES (?, ?, ?, ?, 0)", (run, name, value, seq))
        chunk.add(record, traced)
        self._executions += 1
        self._sampled_away += not traced

    def _operation(self, record: Mapping[str, Any], text: bytes, run: int) -> None:
        identifier, seq = record["id"], self._ledger.next_seq()
        if not self._sql.execute("INSERT OR IGNORE INTO seen VALUES (?, ?, ?)", (run, identifier, seq)).rowcount:
            return
        _, share, rate = self._run_of(record["c"])
        steps = self._sql.execute("SELECT 1 FROM traces WHERE parent = ? LIMIT 1", (identifier,)).fetchone()
        traced = bool(steps) or self._sampler.takes(record, run, share, rate)
        row = operation_row_of(record, trace_id_of(identifier) if traced else None)
        self._row(OPERATIONS, run, record, seq, row)
        if traced:
            self._trace(run, record, seq, text, None)

    def _optimization(self, record: Mapping[str, Any], text: bytes, run: int) -> None:
        seq = self._ledger.next_seq()
        if self._sql.execute("INSERT OR IGNORE INTO seen VALUES (?, ?, ?)", (run, record["id"], seq)).rowcount:
            self._sql.execute("INSERT INTO optimizations VALUES (?, ?, ?)", (seq, run, text))

    def _flush(self, record: Mapping[str, Any]) -> None:
        token = record["id"]
        self._sql.execute(
            "INSERT OR REPLACE INTO flushes VALUES (?, ?, ?)", (token, self._ledger.next_seq(), record["run_id"])
        )
        self._sql.executemany(
            "INSERT OR IGNORE INTO flush_stores VALUES (?, ?)", [(token, uri) for uri in record["stores"]]
        )

    def _ending(self, run: int, *, shared: bool) -> None:
        # One of several processes that share the run ends it only as the last of them.
        self._sql.execute(
            f"UPDATE runs SET ending = 'FINISHED', ending_seq = ? WHERE id = ? AND {_HOLDS_SOMETHING} "  # noqa: S608  # our own constant
            "AND NOT (? AND EXISTS (SELECT 1 FROM contexts WHERE run = runs.id AND segment != ?))",
            (self._ledger.next_seq(), run, shared, self._segment),
        )

    def _row(self, table: str, run: int, record: Mapping[str, Any], seq: int, row: bytes) -> None:
        part = self._part(run, table, len(row))
        self._sql.execute(
            "INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, 0)", (run, record["id"], table, part, seq, record["t0"], row)
        )

    def _trace(self, run: int, record: Mapping[str, Any], seq: int, text: bytes, parent: str | None) -> None:
        self._sampler.waiting += 1
        self._sql.execute(
            "INSERT OR IGNORE INTO traces VALUES (?, ?, ?, ?, ?, ?)",
            (run, record["id"], seq, record["t0"], text, parent),
        )

    def _chunk(self, run: int) -> Chunk:
        chunk = self._chunks.get(run)
        if chunk is None:
            chunk = self._chunks[run] = Chunk()
        return chunk

    def _part(self, run: int, table: str, size: int) -> int:
        part = self._open_parts.get((run, table))
        if part is None:
            found = self._sql.execute(
                "SELECT number, rows, bytes FROM parts WHERE run = ? AND name = ? AND closed = 0", (run, table)
            ).fetchone()
            part = list(found) if found else self._new_part(run, table)
        if part[1] >= self._part_rows or (part[1] and part[2] + size > PART_BYTES):
            self._save_part(run, table, part, closed=1)
            part = self._new_part(run, table)
        self._open_parts[run, table] = part
        part[1] += 1
        part[2] += size + 2
        return part[0]

    def _save_part(self, run: int, table: str, part: list[int], *, closed: int) -> None:
        self._sql.execute(
            "UPDATE parts SET closed = ?, rows = ?, bytes = ? WHERE run = ? AND name = ? AND number = ?",
            (closed, part[1], part[2], run, table, part[0]),
        )

    def _new_part(self, run: int, table: str) -> list[int]:
        query = "SELECT coalesce(max(number), 0) + 1 FROM parts WHERE run = ? AND name = ?"
        number = self._sql.execute(query, (run, table)).fetchone()[0]
        self._sql.execute("INSERT INTO parts VALUES (?, ?, ?, 0, 0, 0)", (run, table, number))
        return [number, 0, 0]

    def _run_of(self, number: int) -> tuple[int, float, float]:
        context = self._contexts.get(number)
        if context is None:
            context = self._sql.execute(
                "SELECT run, sampling, rate FROM contexts WHERE segment = ? AND number = ?", (self._segment, number)
            ).fetchone()
            if context is None:  # its definition was damaged
                context = (self._lost_run(), 1.0, 1.0)
            self._contexts[number] = context
            self._hosts[context[0]] = bool(
                self._sql.execute("SELECT host FROM runs WHERE id = ?", (context[0],)).fetchone()[0]
            )
        return context

    def _context(self, record: Mapping[str, Any]) -> None:
        host = record["run_id"]
        run = self._run(
            uri=record["uri"],
            key=f"run:{host}" if host else f"{record['run_key']} in {record['experiment']}",
            host=int(host is not None),
            own_key=record["run_key"],
            name=record["run_name"],
            experiment=orjson.dumps(record["experiment"]).decode(),
            tags=orjson.dumps(record["tags"]).decode(),
            mlflow_run=host,
        )
        self._sql.execute(
            "INSERT OR REPLACE INTO contexts VALUES (?, ?, ?, ?, ?)",
            (self._segment, record["c"], run, record["sampling"], record["rate"]),
        )
        self._contexts.pop(record["c"], None)

    def _lost_run(self) -> int:
        from hokusai_mlflow.destination import default_uri

        return self._run(
            uri=default_uri(), key="name:recovered", host=0, own_key="name:recovered", name="recovered",
            experiment='{"name":"Hokusai"}', tags="{}", mlflow_run=None,
        )  # fmt: skip

    def _run(self, **values: Any) -> int:
        names = ", ".join(values)
        marks = ", ".join("?" * len(values))
        self._sql.execute(f"INSERT OR IGNORE INTO runs ({names}) VALUES ({marks})", tuple(values.values()))  # noqa: S608
        run, ending, waits = self._sql.execute(
            "SELECT id, ending, ending_seq IS NOT NULL FROM runs WHERE uri = ? AND key = ?",
            (values["uri"], values["key"]),
        ).fetchone()
        if ending is not None:
            # A tracker goes on with a run that had ended; MLflow is told if it knows of the end.
            told = ending != RESUMED and not waits
            again = (RESUMED, self._ledger.next_seq()) if told else (None, None)
            self._sql.execute("UPDATE runs SET ending = ?, ending_seq = ? WHERE id = ?", (*again, run))
        return int(run)
