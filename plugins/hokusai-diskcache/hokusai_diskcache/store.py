"""The store: diskcache without unpickling, without file names read from the database, and without long waits.

Two things of diskcache are overridden that it does not document: the properties ``_sql`` and ``_sql_retry``, which run
a statement on the connection of this thread. The second waits up to a minute for a lock, and every opening runs about
thirty statements through it; an execution cannot wait for that. Everything else is diskcache's public interface.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

import diskcache
from diskcache.core import DEFAULT_SETTINGS, ENOVAL, METADATA, MODE_RAW

from hokusai_core.errors import DamagedEntryError

__all__ = ["EVICTION_POLICIES", "JsonDisk", "Store"]

EVICTION_POLICIES = ("least-recently-stored", "least-recently-used", "least-frequently-used", "none")
#: Seconds between two tries of a statement that found the database locked.
_PACE = 0.002


class JsonDisk(diskcache.Disk):
    """Keys are text, values are bytes in the database; everything else is damage.

    No method that could unpickle or open a file is left: values never leave the database, so a file name in a row was
    never written by us, and is neither read nor, when the row goes, removed.
    """

    def __init__(self, directory: str, **_stored: Any) -> None:
        # What the table of settings says about the disk is left aside: it may be planted.
        super().__init__(directory)

    def hash(self, key: Any) -> int:
        """Refuse; only sharded caches ask for it."""
        raise DamagedEntryError("keys are not hashed")

    def put(self, key: Any) -> tuple[str, bool]:
        """Return the columns ``key`` and ``raw``."""
        if type(key) is not str:
            raise TypeError(f"a key must be text, not {type(key).__name__}")
        return key, True

    def get(self, key: Any, raw: Any) -> str:
        """Return the key of a row."""
        if type(key) is not str or raw != 1:
            raise DamagedEntryError("the key is not text")
        return key

    def store(self, value: Any, read: bool, key: Any = None) -> tuple[int, int, None, bytes]:
        """Return the columns ``size``, ``mode``, ``filename`` and ``value``."""
        if type(value) is not bytes or read:
            raise TypeError(f"a value must be bytes, not {type(value).__name__}")
        return 0, MODE_RAW, None, value

    def fetch(self, mode: Any, filename: Any, value: Any, read: bool) -> bytes:
        """Return the value of a row."""
        if mode != MODE_RAW or filename is not None or type(value) is not bytes or read:
            raise DamagedEntryError("the row is not in the form that this cache writes")
        return value

    def filename(self, key: Any = None, value: Any = None) -> tuple[str, str]:
        """Refuse; values never leave the database."""
        raise DamagedEntryError("values are not kept in files")

    def remove(self, file_path: Any) -> None:
        """Leave every file alone: none is ours."""


class Store(diskcache.Cache):
    """An opened database.

    Args:
        directory: folder of the database, which exists.
        patience: seconds to wait for a lock.
        size_limit: bytes at which old entries go.
        eviction_policy: one of ``EVICTION_POLICIES``.
        shared_memory: whether the file system can carry the write-ahead log, which keeps readers from ever waiting
            for writers; network file systems cannot.
    """

    def __init__(
        self, directory: Path, *, patience: float, size_limit: int, eviction_policy: str, shared_memory: bool = True
    ) -> None:
        self._patience = patience
        self._ours: dict[str, Any] = {
            **DEFAULT_SETTINGS,
            "tag_index": 1,
            "size_limit": size_limit,
            "eviction_policy": eviction_policy,
            # Counted in kibibytes where negative; each thread has a connection of its own.
            "sqlite_cache_size": -4096,
            # A mapped file that is truncated kills the process that reads it.
            "sqlite_mmap_size": 0,
            "sqlite_journal_mode": "wal" if shared_memory else "delete",
            # What a planted view or trigger may call.
            "sqlite_trusted_schema": 0,
        }
        self.foreign_settings = 0
        super().__init__(str(directory), timeout=patience, disk=JsonDisk, **self._ours)

    def get_at_once(self, key: str) -> bytes | None:
        """Return the value of ``key`` without waiting for a lock, for callers that must not stand still."""
        self._sql("PRAGMA busy_timeout = 0")
        try:
            value: bytes | None = self.get(key)
            return value
        finally:
            self._sql(f"PRAGMA busy_timeout = {int(self._patience * 1000)}")

    def reset(self, key: Any, value: Any = ENOVAL, update: bool = True) -> Any:
        """Take a setting over, always ours: diskcache sets whatever name and value the table of settings holds."""
        if key in METADATA:
            figure = super().reset(key, value, update)
            if type(figure) is not int:
                raise DamagedEntryError(f"the figure {key!r} is not a number")
            return figure
        if key not in self._ours:
            self.foreign_settings += 1
            return value
        ours = self._ours[key]
        if key.startswith("sqlite_"):
            self._set_pragma(key.removeprefix("sqlite_"), ours)
        setattr(self, key, ours)
        return ours

    def _set_pragma(self, name: str, value: Any) -> None:
        # Asked first, since setting what is set already may need a lock that asking does not.
        current = self._sql_retry(f"PRAGMA {name}").fetchone()
        if current is None or current[0] != value:
            self._sql_retry(f"PRAGMA {name} = {value}").fetchall()

    @property
    def _sql_retry(self) -> Any:
        return self._try_for_a_while

    def _try_for_a_while(self, statement: str, *arguments: Any) -> Any:
        end = time.monotonic() + self._patience
        while True:
            try:
                return self._sql(statement, *arguments)
            except sqlite3.OperationalError as error:
                if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= end:
                    raise
                time.sleep(_PACE)
