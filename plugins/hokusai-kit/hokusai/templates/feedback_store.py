"""AcmeSample: keeps executions and the feedback on them in a SQLite file."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hokusai_core.errors import ExecutionNotFoundError, FeedbackError, SignatureDefinitionError
from hokusai_core.plugin_api import (
    ExecutionFinished,
    FeedbackGiven,
    KeptExecution,
    SignatureSpec,
    fork_gate,
    private_folder,
    user_data_folder,
)

__all__ = ["AcmeSample"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS executions
    (number INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, signature TEXT NOT NULL, facts TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS feedback
    (number INTEGER PRIMARY KEY, id TEXT NOT NULL REFERENCES executions (id) ON DELETE CASCADE, facts TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS feedback_by_execution ON feedback (id);
"""
_KEPT = ("signature", "signature_version", "fingerprint", "inputs", "outputs", "model", "started_at")
_GIVEN = ("signature", "rating", "corrections", "comment", "source", "given_at", "drawn")


class AcmeSample:
    """What a method stores is on the disk when it returns. Threads and processes use it at once.

    Args:
        path: the file; left out, one in a folder of the user.
    """

    fork_safe = True  # each use opens the file

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self._path = Path(path) if path is not None else user_data_folder("acme-plugin") / "feedback.db"
        self._made = threading.Event()

    def keep(self, execution: ExecutionFinished, signature: SignatureSpec) -> None:
        """Keep an execution. Keeping it again replaces it, and its feedback stays."""
        try:
            spec = signature.to_dict()
        except SignatureDefinitionError:  # it has a type without a JSON form
            spec = {}
        facts = json.dumps({**_facts(execution, _KEPT), "spec": spec}, default=str)
        with self._database() as database:
            database.execute(
                "INSERT INTO executions (id, signature, facts) VALUES (?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET facts = excluded.facts",
                (execution.execution_id, execution.signature, facts),
            )

    def add(self, feedback: FeedbackGiven) -> None:
        """Add feedback to an execution.

        Raises:
            ExecutionNotFoundError: The execution is not kept.
        """
        with self._database() as database:
            try:
                database.execute(
                    "INSERT INTO feedback (id, facts) VALUES (?, ?)",
                    (feedback.execution_id, json.dumps(_facts(feedback, _GIVEN))),
                )
            except sqlite3.IntegrityError:
                raise ExecutionNotFoundError(f"no execution {feedback.execution_id!r} is kept") from None

    def read(
        self, *, execution_id: str | None = None, signature: str | None = None, rated: bool | None = None
    ) -> Iterator[KeptExecution]:
        """Yield kept executions, the oldest first."""
        with self._database() as database:
            rows = database.execute("SELECT id, signature, facts FROM executions ORDER BY number").fetchall()
            given: dict[str, list[FeedbackGiven]] = {}
            for key, facts in database.execute("SELECT id, facts FROM feedback ORDER BY number"):
                given.setdefault(key, []).append(FeedbackGiven(execution_id=key, **json.loads(facts)))
        for key, name, facts in rows:
            wanted = execution_id in (None, key) and (rated is None or rated == (key in given))
            if wanted and (signature is None or name == signature or name.endswith(f"/{signature}")):
                yield KeptExecution(execution_id=key, feedback=tuple(given.get(key, ())), **json.loads(facts))

    def delete(self, execution_id: str) -> bool:
        """Remove an execution with its feedback; return whether there was one."""
        with self._database() as database:
            return database.execute("DELETE FROM executions WHERE id = ?", (execution_id,)).rowcount > 0

    def close(self) -> None:
        """Release what is open: nothing."""

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        try:
            with fork_gate, self._opened() as database, database:  # the last one commits, or rolls back
                yield database
        except (sqlite3.Error, OSError) as error:
            raise FeedbackError(f"{self._path} cannot be used: {error}; name another file") from error

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        private_folder(self._path.parent)
        database = sqlite3.connect(self._path, timeout=60)
        try:
            database.execute("PRAGMA foreign_keys = ON")
            if not self._made.is_set():
                database.executescript(_SCHEMA)
                self._made.set()
            yield database
        finally:
            database.close()


def _facts(event: Any, names: tuple[str, ...]) -> dict[str, Any]:
    values = {name: getattr(event, name) for name in names}
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}
