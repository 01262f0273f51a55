"""StoreAdmin: reads and removes rows of a store in bulk.

It has a connection of its own, since diskcache neither lists entries by tag nor removes a row whose key is
damaged. Only plain SQL on the table ``Cache`` is used, and rows are handled in portions: no writer waits for long.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diskcache.core import MODE_RAW

from hokusai_core.errors import DamagedEntryError
from hokusai_core.plugin_api import CacheEntry

__all__ = ["StoreAdmin"]

_PORTION = 500
#: Seconds to wait for a writer: for maintenance a wait is better than a refusal.
_PATIENCE = 5.0


class StoreAdmin:
    """The rows of one store.

    Args:
        database: its file.
        secret: the store's secret.
    """

    def __init__(self, database: Path, secret: bytes) -> None:
        self._secret = secret
        self.damaged = 0
        # Not created where it has just disappeared.
        self._connection = sqlite3.connect(
            f"{database.as_uri()}?mode=rw", uri=True, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
        )
        self._connection.execute("PRAGMA trusted_schema = 0")
        # A planted text need not be UTF-8.
        self._connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")

    def close(self) -> None:
        """Release the connection."""
        self._connection.close()

    def entries(self, signature: str | None) -> Iterator[CacheEntry]:
        """Yield entries, latest first, and drop every row that is none."""
        for _, entry in self._rows(signature):
            yield entry

    def remove(self, signature: str | None, before: float | None) -> int:
        """Remove the entries of ``signature`` that were stored before ``before`` (seconds since the epoch)."""
        if before is None:
            return self._remove_all(signature)
        removed = 0
        doomed: list[int] = []
        for rowid, entry in self._rows(signature):
            if entry.created_at < before:
                doomed.append(rowid)
            if len(doomed) >= _PORTION:
                removed += self._delete(doomed)
                doomed = []
        return removed + self._delete(doomed)

    def _remove_all(self, signature: str | None) -> int:
        removed = 0
        where, arguments = _condition(signature)
        while True:
            portion = self._connection.execute(
                f"DELETE FROM Cache WHERE rowid IN (SELECT rowid FROM Cache WHERE {where} LIMIT {_PORTION})",  # noqa: S608  # no value in it
                arguments,
            ).rowcount
            removed += portion
            if portion < _PORTION:
                return removed

    def _rows(self, signature: str | None) -> Iterator[tuple[int, CacheEntry]]:
        where, arguments = _condition(signature)
        # _condition's own text and a number: no value in the statement
        select = (
            f"SELECT rowid, key, raw, tag, mode, filename, value FROM Cache WHERE {where} AND rowid < ? "  # noqa: S608
            f"ORDER BY rowid DESC LIMIT {_PORTION}"
        )
        last = 2**63 - 1
        while rows := self._connection.execute(select, (*arguments, last)).fetchall():
            last = rows[-1][0]
            found, damaged = [], []
            for rowid, *row in rows:
                try:
                    found.append((rowid, _entry(row, self._secret)))
                except DamagedEntryError:
                    damaged.append(rowid)
            self.damaged += self._delete(damaged)
            yield from found

    def _delete(self, rowids: list[int]) -> int:
        if not rowids:
            return 0
        holes = ",".join("?" * len(rowids))
        return self._connection.execute(f"DELETE FROM Cache WHERE rowid IN ({holes})", rowids).rowcount  # noqa: S608  # question marks only


def _condition(signature: str | None) -> tuple[str, tuple[Any, ...]]:
    return ("1", ()) if signature is None else ("tag = ?", (signature,))


def _entry(row: list[Any], secret: bytes) -> CacheEntry:
    key, raw, tag, mode, filename, value = row
    if type(key) is not str or raw != 1 or mode != MODE_RAW or filename is not None or type(value) is not bytes:
        raise DamagedEntryError("the row is not in the form that this cache writes")
    try:
        entry = CacheEntry.from_bytes(key, value, secret)
    except UnicodeEncodeError:  # a key that is not UTF-8
        raise DamagedEntryError("the key is not text") from None
    if tag != entry.signature:
        raise DamagedEntryError("the row is filed under another signature")
    return entry
