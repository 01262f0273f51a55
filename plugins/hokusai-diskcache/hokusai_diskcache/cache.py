"""DiskCache: answers in a folder that the processes of one machine share."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from hokusai_core.errors import CacheError, CacheWarning, ConfigurationError, DamagedEntryError
from hokusai_core.plugin_api import CacheEntry, fork_callbacks, fork_gate
from hokusai_diskcache.faults import Fault, StoreFailure, diagnose, explain_fault
from hokusai_diskcache.folder import Folder, default_directory
from hokusai_diskcache.store import EVICTION_POLICIES
from hokusai_diskcache.store_access import OpenStore, StoreAccess, StoreOptions
from hokusai_diskcache.store_admin import StoreAdmin

__all__ = ["DiskCache"]

T = TypeVar("T")

#: Threads for event loops: writers wait for each other anyway, and readers seldom need one.
_THREADS = 2


class DiskCache:
    """A persistent cache of executions. Nothing is opened before the first use, and nothing read back is executed.

    Args:
        directory: folder, made with permissions 0700 where it is missing; left out, ``default_directory()``.
        size_limit: bytes at which old entries make room for new ones.
        eviction_policy: which entries are old: ``least-recently-stored``; ``least-recently-used`` or
            ``least-frequently-used``, with which every hit also writes; ``none`` to keep all.
        busy_timeout: seconds to wait for a lock that another process holds.

    Raises:
        ConfigurationError: an argument has a value that cannot be used.

    Example:
        >>> cache = DiskCache("answers", size_limit=2**20)
        >>> cache.put(CacheEntry("00ff", "pack/Greet", b'{"greeting":"Hello"}', "null", 0.0, None, 0.5))
        >>> cache.get("00ff").outputs
        b'{"greeting":"Hello"}'
        >>> cache.close()
    """

    tier = "disk"
    fork_safe = True

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        size_limit: int = 2**30,
        eviction_policy: str = "least-recently-stored",
        busy_timeout: float = 0.2,
    ) -> None:
        if eviction_policy not in EVICTION_POLICIES:
            raise ConfigurationError(
                f"eviction_policy={eviction_policy!r}: expected one of {', '.join(EVICTION_POLICIES)}"
            )
        if size_limit < 2**16:
            raise ConfigurationError(f"size_limit={size_limit!r}: expected at least 65536 bytes")
        if not 0 <= busy_timeout <= 60:
            raise ConfigurationError(f"busy_timeout={busy_timeout!r}: expected 0 to 60 seconds")
        if directory is not None and (not os.fspath(directory) or "\0" in os.fspath(directory)):
            raise ConfigurationError(f"directory={directory!r}: expected a path")
        self._folder = Folder(default_directory() if directory is None else Path(directory))
        self._options = StoreOptions(size_limit, eviction_policy, busy_timeout)
        self._access = StoreAccess(self._folder, self._options, self._tell)
        self._lock = threading.Lock()
        fork_callbacks.add(self._after_fork)
        self._not_written: StoreFailure | None = None
        self._pool: tuple[int, ThreadPoolExecutor] | None = None
        self._closed = False
        self._damaged_rows = self._moved_aside = self._foreign_settings = 0
        self._warned: set[str] = set()

    def _after_fork(self) -> None:
        self._lock = threading.Lock()

    @property
    def directory(self) -> Path:
        """The folder."""
        return self._folder.path

    @property
    def secret(self) -> bytes:
        """The store's secret, 32 random bytes that all processes share.

        Raises:
            CacheError: the store cannot be opened.
        """
        return self._access.ready(time.monotonic()).secret

    def get(self, key: str) -> CacheEntry | None:
        """Return the entry stored under ``key``, or None where there is none or it has expired.

        Raises:
            CacheError: the store cannot answer; says why and what to do.
        """
        opened = self._access.fresh()
        if opened is not None:
            try:
                with fork_gate:
                    data = opened.store.get(key)
                return None if data is None else CacheEntry.from_bytes(key, data, opened.secret)
            except Exception:  # noqa: S110  # met again, and dealt with, below
                pass
        return self._get(key, time.monotonic())

    def put(self, entry: CacheEntry) -> None:
        """Store ``entry`` under its key, replacing what was there.

        Raises:
            CacheError: the store cannot take it; says why and what to do.
        """
        self._put(entry, time.monotonic())

    async def aget(self, key: str) -> CacheEntry | None:
        """Async version of ``get``.

        Where the store is open, the look-up is made on the event loop, without waiting for a lock: that takes a tenth
        of the time of handing it to a thread. Where it cannot answer so, a thread takes over.
        """
        opened = self._access.fresh()
        if opened is not None and opened.network is None:
            try:
                with fork_gate:
                    data = opened.store.get_at_once(key)
                return None if data is None else CacheEntry.from_bytes(key, data, opened.secret)
            except Exception:  # noqa: S110  # the thread meets the same and deals with it
                pass
        asked = time.monotonic()
        return await self._offload(lambda: self._get(key, asked))

    async def aput(self, entry: CacheEntry) -> None:
        """Async version of ``put``, on a thread: a write may have to wait for that of another process."""
        asked = time.monotonic()
        await self._offload(lambda: self._put(entry, asked))

    def entries(self, signature: str | None = None) -> Iterator[CacheEntry]:
        """Yield the stored entries, latest first, of one signature where it is named; expired ones too.

        What is found damaged on the way is dropped.

        Raises:
            CacheError: the store cannot be read.
        """
        with self._admin() as admin:
            yield from admin.entries(signature)

    def remove(self, *, signature: str | None = None, older_than: float | None = None) -> int:
        """Remove entries of one signature, or stored more than ``older_than`` seconds ago, or all; return how many.

        Raises:
            CacheError: the store cannot be written to.
        """
        with self._admin() as admin:
            return admin.remove(signature, None if older_than is None else time.time() - older_than)

    def stats(self) -> Mapping[str, Any]:
        """Return JSON-able figures: entries, bytes, location, and the damage that this object has come across.

        Raises:
            CacheError: the store cannot be opened.
        """
        entries, size = self._access.run(lambda opened: (len(opened.store), opened.store.volume()), time.monotonic())
        return {
            "tier": self.tier,
            "location": str(self._folder.path),
            "entries": entries,
            "bytes": size,
            "size_limit": self._options.size_limit,
            "eviction_policy": self._options.eviction_policy,
            "damaged_rows": self._damaged_rows,
            "foreign_settings": self._foreign_settings,
            "stores_moved_aside": self._moved_aside,
            "set_aside": [path.name for path in self._folder.set_aside()],
        }

    def close(self) -> None:
        """Release connections and threads; calling it twice is harmless."""
        with self._lock:
            self._closed = True
            pool, self._pool = self._pool, None
        if pool is not None and pool[0] == os.getpid():
            pool[1].shutdown(wait=True)
        with fork_gate:
            self._access.close()

    # -- one operation ------------------------------------------------------------------------------------------

    def _get(self, key: str, asked: float) -> CacheEntry | None:
        return self._access.run(lambda opened: self._read(opened, key), asked)

    def _put(self, entry: CacheEntry, asked: float) -> None:
        if self._not_written is not None:
            self._not_written.raise_again(asked)
        try:
            self._access.run(lambda opened: self._write(opened, entry), asked)
        except CacheError as error:
            self._not_written = StoreFailure(error)
            raise

    def _read(self, opened: OpenStore, key: str) -> CacheEntry | None:
        try:
            data = opened.store.get(key)
            return None if data is None else CacheEntry.from_bytes(key, data, opened.secret)
        except DamagedEntryError:
            if self._folder.read_secret() not in (None, opened.secret):
                # The secret was removed, and another process made a new one: the one of this process is out of date.
                return self._read(self._access.reopen(opened, time.monotonic(), damaged=False), key)
            self._drop(opened, key)
            return None

    def _write(self, opened: OpenStore, entry: CacheEntry) -> None:
        try:
            data = entry.to_bytes(opened.secret)
        except TypeError as error:
            raise CacheError(f"an answer of {entry.signature} cannot be stored: {error}") from error
        lifetime = None if entry.expires_at is None else max(0.0, entry.expires_at - time.time())
        opened.store.set(entry.key, data, expire=lifetime, tag=entry.signature)

    def _drop(self, opened: OpenStore, key: str) -> None:
        """Remove a damaged row; where that fails it is met, and removed, another time."""
        try:
            opened.store.delete(key)
        except Exception as error:
            self._access.release(opened, error)
        self._count_damage(1)

    @contextmanager
    def _admin(self) -> Iterator[StoreAdmin]:
        opened = self._access.ready(time.monotonic())
        admin: StoreAdmin | None = None
        try:
            admin = StoreAdmin(self._folder.database, opened.secret)
            yield admin
        except CacheError:
            raise
        except Exception as error:
            fault = diagnose(error, self._folder.store)
            if fault is Fault.CORRUPT:
                self._access.reopen(opened, time.monotonic(), damaged=True)
            raise explain_fault(fault, self._folder.path, error) from error
        finally:
            if admin is not None:
                admin.close()
                self._count_damage(admin.damaged)

    # -- warnings and threads -----------------------------------------------------------------------------------

    def _tell(self, opened: OpenStore) -> None:
        """Warn of what was found, or lost, when the store was opened."""
        path = self._folder.path
        if opened.replaces_deleted:
            self._warn(
                "deleted",
                f"the cache in {path} was deleted while it was in use; a new one was started, and what was stored is "
                "asked for anew. To empty it, run hokusai cache clear; to keep it from being tidied away, set "
                "HOKUSAI_CACHE_DIR",
            )
        if opened.moved_aside is not None:
            self._moved_aside += 1
            self._warn(
                "corrupt",
                f"the cache in {path} was damaged; it was moved aside to {opened.moved_aside.name} and a new one was "
                "started. Remove that folder when it is not needed",
            )
        if opened.store.foreign_settings:
            self._foreign_settings += opened.store.foreign_settings
            self._warn("settings", f"the cache in {path} holds settings that it never wrote; they are ignored")
        if opened.network is not None:
            self._warn(
                "network",
                f"the cache in {path} is on a network file system ({opened.network}), which is slow and unsafe for "
                "several machines; set HOKUSAI_CACHE_DIR to a folder on a local disk",
            )

    def _count_damage(self, rows: int) -> None:
        if rows:
            with self._lock:
                self._damaged_rows += rows
            self._warn(
                "rows",
                f"the cache in {self._folder.path} held entries that it never wrote, or that rotted; they are dropped. "
                "If this goes on, look at who can write to that folder, and at its disk",
            )

    def _warn(self, cause: str, message: str) -> None:
        with self._lock:
            if cause in self._warned:
                return
            self._warned.add(cause)
        warnings.warn(message, CacheWarning, stacklevel=3)

    async def _offload(self, work: Callable[[], T]) -> T:
        with self._lock:
            if self._closed:
                raise CacheError("this cache is closed; make a new one")
            if self._pool is None or self._pool[0] != os.getpid():
                threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="hokusai-diskcache")
                self._pool = (os.getpid(), threads)
            pool = self._pool[1]
        return await asyncio.get_running_loop().run_in_executor(pool, work)
