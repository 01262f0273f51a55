"""The memory tier: an LRU cache, bounded by entries and by bytes."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

from hokusai_core.cache_entry import CacheEntry
from hokusai_core.process import fork_callbacks

__all__ = ["MemoryCache"]

#: Bytes that an entry takes beside its outputs (its record, its key, its place in the table), and each of its parts;
#: measured on CPython 3.11.
_RECORD, _PART = 500, 120


class MemoryCache:
    """A bounded cache in the memory of this process.

    Args:
        max_entries: entries that it holds at most.
        max_bytes: bytes that it holds at most, counted over outputs and an allowance per entry.
    """

    tier = "memory"
    fork_safe = True

    def __init__(self, max_entries: int = 10_000, max_bytes: int = 64 * 2**20) -> None:
        self.secret = secrets.token_bytes(32)
        self._max_entries, self._max_bytes = max_entries, max_bytes
        self._entries: OrderedDict[str, CacheEntry] = OrderedDict()
        self._bytes = 0
        self._evicted = 0
        self._lock = threading.Lock()
        fork_callbacks.add(self._after_fork)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        self._bytes = sum(map(_size, self._entries.values()))  # another thread may have been about to count an entry

    def get(self, key: str) -> CacheEntry | None:
        """Return the entry stored under ``key``, or None. An expired entry is removed."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            if entry.expires_at is not None and entry.expired(time.time()):
                self._drop(key)
                return None
            self._entries.move_to_end(key)
            return entry

    def put(self, entry: CacheEntry) -> None:
        """Store ``entry`` and evict the least recently used. An entry larger than the whole cache is not stored."""
        size = _size(entry)
        with self._lock:
            self._drop(entry.key)
            if size > self._max_bytes:
                return
            self._entries[entry.key] = entry
            self._bytes += size
            while len(self._entries) > self._max_entries or self._bytes > self._max_bytes:
                self._drop(next(iter(self._entries)))
                self._evicted += 1

    async def aget(self, key: str) -> CacheEntry | None:
        """Async version of ``get``. It never blocks."""
        return self.get(key)

    async def aput(self, entry: CacheEntry) -> None:
        """Async version of ``put``. It never blocks."""
        self.put(entry)

    def entries(self, signature: str | None = None) -> Iterator[CacheEntry]:
        """Yield the stored entries, of one signature where it is named, as they are at the time of the call."""
        with self._lock:
            stored = list(self._entries.values())
        return (entry for entry in stored if signature is None or entry.signature == signature)

    def remove(self, *, signature: str | None = None, older_than: float | None = None) -> int:
        """Remove entries of one signature, or stored more than ``older_than`` seconds ago, or all; return how many."""
        before = None if older_than is None else time.time() - older_than
        with self._lock:
            doomed = [
                entry.key
                for entry in self._entries.values()
                if (signature is None or entry.signature == signature) and (before is None or entry.created_at < before)
            ]
            for key in doomed:
                self._drop(key)
        return len(doomed)

    def stats(self) -> Mapping[str, Any]:
        """Return entries, bytes and evictions."""
        with self._lock:
            return {
                "tier": self.tier,
                "entries": len(self._entries),
                "bytes": self._bytes,
                "max_entries": self._max_entries,
                "max_bytes": self._max_bytes,
                "evicted": self._evicted,
            }

    def close(self) -> None:
        """Remove every entry."""
        with self._lock:
            self._entries.clear()
            self._bytes = 0

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= _size(entry)


def _size(entry: CacheEntry) -> int:
    return len(entry.outputs) + _RECORD + _PART * len(entry.parts)
