"""The ledger: what was read from the spool, what of it MLflow has, and what it still has to get.

Records leave the spool and enter the ledger in one transaction that also advances the segment's offset, so each is
taken in exactly once. What MLflow gets is built from the ledger alone, under names that the ledger has fixed before:
sending it again after a crash overwrites and never adds.
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

__all__ = ["DUE", "RESUMED", "Ledger"]

#: Stands where a run's ending was, once a tracker goes on with it.
RESUMED: Final = "RUNNING"

_SCHEMA: Final = """
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE segments (name TEXT PRIMARY KEY, offset INTEGER NOT NULL);
CREATE TABLE contexts (
    segment TEXT, number INTEGER, run INTEGER NOT NULL, sampling REAL NOT NULL, rate REAL NOT NULL,
    PRIMARY KEY (segment, number)
);
-- uri and key say where it belongs, host whether it is the host's own run, mlflow_run its id in the store once known.
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, uri TEXT NOT NULL, key TEXT NOT NULL, host INTEGER NOT NULL, own_key TEXT NOT NULL,
    name TEXT NOT NULL, experiment TEXT NOT NULL, tags TEXT NOT NULL, mlflow_run TEXT, experiment_id TEXT,
    -- ending is the last status that MLflow was or, while there is an ending_seq, is still to be told.
    totals TEXT NOT NULL DEFAULT '{}', ending TEXT, ending_seq INTEGER, UNIQUE (uri, key)
);
CREATE TABLE parts (
    run INTEGER, name TEXT, number INTEGER, rows INTEGER NOT NULL, bytes INTEGER NOT NULL,
    closed INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (run, name, number)
);
-- The rows of parts that may change. Those of a closed part go once MLflow has it.
CREATE TABLE rows (
    run INTEGER, id TEXT, name TEXT NOT NULL, part INTEGER NOT NULL, seq INTEGER NOT NULL, began REAL NOT NULL,
    data BLOB NOT NULL, sent INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (run, id)
);
CREATE INDEX rows_unsent ON rows (run, name, part) WHERE sent = 0;
CREATE INDEX rows_of_part ON rows (run, name, part, seq);
CREATE VIEW waiting AS SELECT began FROM rows WHERE sent = 0;
CREATE TABLE seen (run INTEGER, id TEXT, seq INTEGER NOT NULL, PRIMARY KEY (run, id)) WITHOUT ROWID;
CREATE TABLE chunks (seq INTEGER PRIMARY KEY, run INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE points (
    seq INTEGER PRIMARY KEY, run INTEGER NOT NULL, step INTEGER NOT NULL, at INTEGER NOT NULL, data BLOB NOT NULL
);
CREATE TABLE params (
    run INTEGER, name TEXT, value TEXT NOT NULL, seq INTEGER NOT NULL, sent INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (run, name)
);
-- A step of a chain has a parent, and waits for it: they make one trace.
CREATE TABLE traces (
    run INTEGER, id TEXT, seq INTEGER NOT NULL, began REAL NOT NULL, data BLOB NOT NULL, parent TEXT,
    PRIMARY KEY (run, id)
);
CREATE INDEX traces_of_parent ON traces (parent) WHERE parent IS NOT NULL;
CREATE TABLE feedback (seq INTEGER PRIMARY KEY, run INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE flushes (token TEXT PRIMARY KEY, seq INTEGER NOT NULL, run_id TEXT);
-- A flush waits for the stores that its tracker has used, and for no others of the same spool folder.
CREATE TABLE flush_stores (token TEXT, uri TEXT, PRIMARY KEY (token, uri)) WITHOUT ROWID;
"""
#: Everything that MLflow does not have yet.
DUE: Final = """
    SELECT run, seq FROM rows WHERE sent = 0
    UNION ALL SELECT run, seq FROM chunks
    UNION ALL SELECT run, seq FROM points
    UNION ALL SELECT run, seq FROM params WHERE sent = 0
    -- The step of a chain that is under way cannot be delivered yet, so nobody waits for it.
    UNION ALL SELECT run, seq FROM traces WHERE parent IS NULL
    UNION ALL SELECT run, seq FROM feedback
    UNION ALL SELECT run, seq FROM optimizations
    UNION ALL SELECT id, ending_seq FROM runs WHERE ending_seq IS NOT NULL
"""
#: What version 2 has added.
_OPTIMIZATIONS: Final = "CREATE TABLE optimizations (seq INTEGER PRIMARY KEY, run INTEGER NOT NULL, data BLOB NOT NULL)"
_VERSION: Final = 2
#: Bytes that the log beside the file keeps.
_LOG: Final = 4 * 2**20
#: Free pages that are kept, and how many are given back at a time.
_SPARE: Final = 1000
#: Pages of the log beside the file, where there is hardly any room on the disk.
_SHORT_LOG: Final = 50
#: Ids that are remembered to recognize an execution that comes twice.
_REMEMBERED: Final = 1_000_000


class Ledger:
    """The ledger of one spool folder; used by one thread of one process.

    Args:
        path: its file. A damaged one is put aside, and a new one begun.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self.sql = self._connect()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise  # a full or read-only disk is no damage
            path.rename(path.with_name(f"{path.name}.damaged-{time.time_ns()}"))
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            self.sql = self._connect()
        self.seq = self.counter("seq")
        #: Part of every artifact's name, so that two ledgers never write the same one.
        self.token = str(self.sql.execute("SELECT value FROM facts WHERE name = 'token'").fetchone()[0])

    def _connect(self) -> sqlite3.Connection:
        sql = sqlite3.connect(self._path, isolation_level=None, timeout=30)
        sql.execute("PRAGMA auto_vacuum = INCREMENTAL")  # heeded where the file is new
        sql.execute("PRAGMA journal_mode = WAL")
        sql.execute(f"PRAGMA journal_size_limit = {_LOG}")
        sql.execute("PRAGMA synchronous = FULL")  # a segment is deleted on the strength of it
        version = sql.execute("PRAGMA user_version").fetchone()[0]
        if version < _VERSION:
            with _transaction(sql):
                if version == 0:
                    for statement in _SCHEMA.split(";"):
                        sql.execute(statement)
                    sql.execute("INSERT INTO facts VALUES ('token', ?)", (secrets.token_hex(3),))
                sql.execute(_OPTIMIZATIONS)
                sql.execute(f"PRAGMA user_version = {_VERSION}")
        elif version != _VERSION:
            raise RuntimeError(
                f"{self._path} was written by another version of hokusai-mlflow (ledger {version}, this one knows "
                f"{_VERSION}); deliver it with that version, or set HOKUSAI_SPOOL_DIR to another folder"
            )
        sql.execute(f"CREATE TEMP VIEW due AS {DUE}")
        return sql

    def transaction(self) -> contextlib.AbstractContextManager[None]:
        """Return a context in which everything is written or nothing."""
        return _transaction(self.sql)

    def next_seq(self) -> int:
        """Return the next number in the order of taking in; kept by ``save_seq``."""
        self.seq += 1
        return self.seq

    def save_seq(self) -> None:
        """Keep the last number; belongs into the transaction that used it."""
        self.sql.execute("INSERT OR REPLACE INTO counters VALUES ('seq', ?)", (self.seq,))

    def counter(self, name: str) -> int:
        """Return a counter's value, 0 where it was never raised."""
        found = self.sql.execute("SELECT value FROM counters WHERE name = ?", (name,)).fetchone()
        return int(found[0]) if found else 0

    def count(self, name: str, by: int) -> None:
        """Raise a counter."""
        if by:
            self.sql.execute(
                "INSERT INTO counters VALUES (?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value",
                (name, by),
            )

    def column(self, query: str, *values: Any) -> list[Any]:
        """Return the first column of a query's rows."""
        return [row[0] for row in self.sql.execute(query, values)]

    def forget_old(self) -> None:
        """Forget ids of long ago and segments that exist no more."""
        self.sql.execute("DELETE FROM seen WHERE seq < ?", (self.seq - _REMEMBERED,))

    def held(self) -> int:
        """Return how many bytes are in use."""
        return (self._pragma("page_count") - self._pragma("freelist_count")) * self._pragma("page_size")

    def give_back(self) -> None:
        """Give the disk some of the room that what is delivered has left; a long outage may have taken a lot."""
        if self._pragma("freelist_count") > _SPARE:
            self.sql.executescript(f"PRAGMA incremental_vacuum({_SPARE})")  # execute would stop after one page

    def _pragma(self, name: str) -> int:
        return int(self.sql.execute(f"PRAGMA {name}").fetchone()[0])

    def save_room(self) -> None:
        """Keep the log beside the file short from now on: it may grow to several megabytes otherwise."""
        self.sql.execute(f"PRAGMA wal_autocheckpoint = {_SHORT_LOG}")
        self.sql.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the file."""
        self.sql.close()


@contextlib.contextmanager
def _transaction(sql: sqlite3.Connection) -> Iterator[None]:
    sql.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        sql.execute("ROLLBACK")
        raise
    sql.execute("COMMIT")
