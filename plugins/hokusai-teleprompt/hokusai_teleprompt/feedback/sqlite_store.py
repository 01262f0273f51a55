"""SqliteFeedbackStore: keeps executions and feedback in a database that many processes share."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hokusai_core.errors import ExecutionNotFoundError, FeedbackError, SignatureDefinitionError
from hokusai_core.plugin_api import (
    ExecutionFinished,
    FeedbackGiven,
    KeptExecution,
    OutcomeRecorded,
    SignatureSpec,
    fork_callbacks,
    fork_gate,
    open_private_file,
    private_folder,
    user_data_folder,
)

__all__ = ["SqliteFeedbackStore"]

_SUFFIXES = {".db", ".sqlite", ".sqlite3"}
_VERSION = 1
_PAGE = 500
_SELECT = (
    "SELECT executions.id, execution_id, signature, version, fingerprint, inputs, outputs, model, started_at, spec"
    " FROM executions LEFT JOIN signatures USING (fingerprint)"
)
_SCHEMA = """
CREATE TABLE signatures (fingerprint TEXT PRIMARY KEY, spec TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE executions (
    id INTEGER PRIMARY KEY, execution_id TEXT NOT NULL UNIQUE, signature TEXT NOT NULL, version TEXT NOT NULL,
    fingerprint TEXT NOT NULL, inputs TEXT NOT NULL, outputs TEXT NOT NULL, model TEXT NOT NULL,
    started_at REAL NOT NULL, kept_at REAL NOT NULL
);
CREATE INDEX executions_by_signature ON executions (signature);
CREATE TABLE feedback (
    id INTEGER PRIMARY KEY, execution_id TEXT NOT NULL REFERENCES executions (execution_id) ON DELETE CASCADE,
    source TEXT NOT NULL, rating INTEGER NOT NULL CHECK (rating BETWEEN 1 AND 5), corrections TEXT NOT NULL,
    comment TEXT, given_at REAL NOT NULL
);
CREATE INDEX feedback_by_execution ON feedback (execution_id);
"""
#: What was added later. Older versions of this plugin leave it alone, so that they can use the file as well.
_OUTCOMES = """
CREATE TABLE outcomes (
    id INTEGER PRIMARY KEY, execution_id TEXT NOT NULL REFERENCES executions (execution_id) ON DELETE CASCADE,
    name TEXT NOT NULL, value REAL NOT NULL, higher_is_better INTEGER NOT NULL, source TEXT NOT NULL,
    recorded_at REAL NOT NULL
);
CREATE INDEX outcomes_by_execution ON outcomes (execution_id);
CREATE INDEX outcomes_by_name ON outcomes (name);
"""
_DRAWN = "ALTER TABLE feedback ADD COLUMN drawn INTEGER NOT NULL DEFAULT 0"


class SqliteFeedbackStore:
    """Keeps executions and feedback in one SQLite file, in write-ahead mode and synced at every commit.

    Args:
        path: a folder, or a file that ends in ``.db``; None for ``HOKUSAI_FEEDBACK_DIR``, else the folder of the user.
        patience: seconds to wait for other processes that write.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, patience: float = 60.0) -> None:
        given = user_data_folder("feedback", variable="HOKUSAI_FEEDBACK_DIR") if path is None else Path(path).absolute()
        self.path = given if given.suffix in _SUFFIXES else given / "feedback.db"
        self._patience = patience
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._owner = 0
        fork_callbacks.add(self._after_fork)

    def _after_fork(self) -> None:
        self._lock = threading.RLock()

    def keep(self, execution: ExecutionFinished, signature: SignatureSpec) -> None:
        """Keep an execution; keeping it again replaces it and leaves its feedback alone."""
        try:
            spec = json.dumps(signature.to_dict())
        except SignatureDefinitionError:
            spec = "{}"  # it has a type of DSPy; corrections are then checked by the names of the outputs only
        row = (
            execution.execution_id,
            execution.signature,
            execution.signature_version,
            execution.fingerprint,
            json.dumps(execution.inputs),
            json.dumps(execution.outputs),
            execution.model,
            execution.started_at,
            time.time(),
        )
        with self._transaction() as database:
            database.execute("INSERT OR IGNORE INTO signatures VALUES (?, ?)", (execution.fingerprint, spec))
            database.execute(
                "INSERT INTO executions (execution_id, signature, version, fingerprint, inputs, outputs, model,"
                " started_at, kept_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (execution_id) DO UPDATE SET"
                " inputs = excluded.inputs, outputs = excluded.outputs, kept_at = excluded.kept_at",
                row,
            )

    def add(self, feedback: FeedbackGiven) -> None:
        """Add feedback; earlier feedback stays.

        Raises:
            ExecutionNotFoundError: the execution is not kept.
        """
        row = (
            feedback.execution_id,
            feedback.source,
            feedback.rating,
            json.dumps(feedback.corrections),
            feedback.comment,
            feedback.given_at,
            feedback.drawn,
        )
        with self._transaction() as database:
            self._check_kept(database, feedback.execution_id)
            database.execute(
                "INSERT INTO feedback (execution_id, source, rating, corrections, comment, given_at, drawn)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )

    def add_outcome(self, outcome: OutcomeRecorded) -> None:
        """Add an outcome; earlier outcomes stay.

        Raises:
            ExecutionNotFoundError: the execution is not kept.
        """
        row = (
            outcome.execution_id,
            outcome.name,
            outcome.value,
            outcome.higher_is_better,
            outcome.source,
            outcome.recorded_at,
        )
        with self._transaction() as database:
            self._check_kept(database, outcome.execution_id)
            database.execute(
                "INSERT INTO outcomes (execution_id, name, value, higher_is_better, source, recorded_at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                row,
            )

    def outcome_direction(self, signature: str, name: str) -> bool | None:
        """Return whether a higher number is better in the outcomes of a name; None where there are none.

        Args:
            signature: qualified name of the signature.
            name: what was measured.
        """
        query = (
            "SELECT higher_is_better FROM outcomes JOIN executions USING (execution_id)"
            " WHERE name = ? AND signature = ? LIMIT 1"
        )
        with self._reading() as database:
            found = database.execute(query, (name, signature)).fetchone()
        return None if found is None else bool(found[0])

    def read(
        self, *, execution_id: str | None = None, signature: str | None = None, rated: bool | None = None
    ) -> Iterator[KeptExecution]:
        """Yield kept executions, the oldest first."""
        conditions, arguments = ["executions.id > :last"], {"last": 0, "page": _PAGE}
        given: dict[str, Any] = {}
        if execution_id is not None:
            conditions.append("executions.execution_id = :execution_id")
            given["execution_id"] = execution_id
        if signature is not None:
            conditions.append(
                "(signature = :signature OR substr(signature, -length(:signature) - 1) = '/' || :signature)"
            )
            given["signature"] = signature
        if rated is not None:
            exists = "EXISTS (SELECT 1 FROM feedback WHERE feedback.execution_id = executions.execution_id)"
            conditions.append(exists if rated else f"NOT {exists}")
        query = f"{_SELECT} WHERE {' AND '.join(conditions)} ORDER BY executions.id LIMIT :page"
        while True:
            with self._reading() as database:
                rows = database.execute(query, {**arguments, **given}).fetchall()
                said = [(_feedback(database, row[1], row[2]), _outcomes(database, row[1], row[2])) for row in rows]
            for row, (feedback, outcomes) in zip(rows, said, strict=True):
                yield _execution(row, feedback, outcomes)
            if len(rows) < _PAGE:
                return
            arguments["last"] = rows[-1][0]

    def search(self, *, since: float | None = None, signature: str | None = None) -> Iterator[KeptExecution]:
        """Yield kept executions, the oldest first.

        Args:
            since: seconds since the epoch from which on; None for all.
            signature: ``pack/Name`` or ``Name``; None for all.
        """
        kept = (one for one in self.read(signature=signature) if since is None or one.started_at >= since)
        yield from sorted(kept, key=lambda one: one.started_at)

    def delete(self, execution_id: str) -> bool:
        """Remove an execution with all feedback on it, also from the file; return whether there was one."""
        with self._transaction() as database:
            removed = database.execute("DELETE FROM executions WHERE execution_id = ?", (execution_id,)).rowcount
        with self._reading() as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # so that nothing of it stays in the write-ahead log
        return removed > 0

    def close(self) -> None:
        """Close the database; calling it twice is harmless. Using the store again opens it again."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None and self._owner == os.getpid():
                connection.close()

    # -- inside -------------------------------------------------------------------------------------------------

    def _check_kept(self, database: sqlite3.Connection, execution_id: str) -> None:
        """Raise if an execution is not kept.

        Raises:
            ExecutionNotFoundError: it is not.
        """
        if not database.execute("SELECT 1 FROM executions WHERE execution_id = ?", (execution_id,)).fetchone():
            raise ExecutionNotFoundError(f"no execution {execution_id!r} is kept in {self.path}")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._reading() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with fork_gate, self._lock:  # SQLite's own locks do not survive a fork
            try:
                yield self._open()
            except sqlite3.Error as error:
                raise FeedbackError(
                    f"the feedback store {self.path} failed ({type(error).__name__}: {error}); nothing was stored. "
                    "Free space, or name another folder with HOKUSAI_FEEDBACK_DIR"
                ) from error
            except OSError as error:
                raise FeedbackError(
                    f"the feedback store {self.path} cannot be used: {error.strerror or error}; name another folder "
                    "with HOKUSAI_FEEDBACK_DIR"
                ) from error

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None and self._owner == os.getpid():
            return self._connection
        # The connection of a parent process is not used: SQLite forbids it after a fork.
        private_folder(self.path.parent)
        os.close(open_private_file(self.path))
        connection = sqlite3.connect(self.path, timeout=self._patience, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection, self.path)
        except BaseException:
            connection.close()
            raise
        self._connection, self._owner = connection, os.getpid()
        return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    for setting in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
        connection.execute(f"PRAGMA {setting}")
    if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
        connection.execute("BEGIN IMMEDIATE")
        # Checked again with the lock held, because another process may have made the tables in the meantime.
        if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {_VERSION}")
        connection.execute("COMMIT")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != _VERSION:
        raise FeedbackError(
            f"the feedback store {path} is of version {version}; this plugin reads {_VERSION}, upgrade it"
        )
    if not _is_complete(connection):
        connection.execute("BEGIN IMMEDIATE")
        if not _is_complete(connection):
            for statement in (*_OUTCOMES.split(";"), _DRAWN):
                connection.execute(statement)
        connection.execute("COMMIT")


def _is_complete(connection: sqlite3.Connection) -> bool:
    """Return whether the file has what was added to the format later."""
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'outcomes'").fetchone() is not None


def _feedback(database: sqlite3.Connection, execution_id: str, signature: str) -> tuple[FeedbackGiven, ...]:
    rows = database.execute(
        "SELECT rating, corrections, comment, source, given_at, drawn FROM feedback WHERE execution_id = ? ORDER BY id",
        (execution_id,),
    )
    return tuple(
        FeedbackGiven(execution_id, signature, rating, json.loads(corrections), comment, source, given_at, bool(drawn))
        for rating, corrections, comment, source, given_at, drawn in rows
    )


def _outcomes(database: sqlite3.Connection, execution_id: str, signature: str) -> tuple[OutcomeRecorded, ...]:
    rows = database.execute(
        "SELECT name, value, higher_is_better, source, recorded_at FROM outcomes WHERE execution_id = ? ORDER BY id",
        (execution_id,),
    )
    return tuple(
        OutcomeRecorded(execution_id, signature, name, value, bool(higher), source, recorded_at)
        for name, value, higher, source, recorded_at in rows
    )


def _execution(
    row: tuple[Any, ...], feedback: tuple[FeedbackGiven, ...], outcomes: tuple[OutcomeRecorded, ...]
) -> KeptExecution:
    _, execution_id, signature, version, fingerprint, inputs, outputs, model, started_at, spec = row
    read: Mapping[str, Any] = json.loads(spec) if spec else {}
    return KeptExecution(
        execution_id=execution_id,
        signature=signature,
        signature_version=version,
        fingerprint=fingerprint,
        inputs=json.loads(inputs),
        outputs=json.loads(outputs),
        model=model,
        started_at=started_at,
        spec=read,
        feedback=feedback,
        outcomes=outcomes,
    )
