"""StoreAccess: the opened store of a folder, recovered when it is damaged, deleted, or locked by another process.

An operation on the store goes through ``StoreAccess.run``. It opens the store where that is needed, and once more where
the operation shows that the database is damaged or gone:

- A damaged database is moved aside, under the folder's lock, and a new one started. Of several processes that find the
  damage the first does so.
- A database that was deleted is made again. So is one that came through a fork, which SQLite forbids to use.
- A lock of another process is waited for at most ``patience`` seconds. Every caller that asked before that wait was
  over fails with it, so that many callers do not wait one after the other.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from attrs import frozen

from hokusai_core.errors import CacheError, DamagedEntryError
from hokusai_core.plugin_api import fork_callbacks, fork_gate
from hokusai_diskcache.faults import Fault, StoreFailure, diagnose, explain_fault
from hokusai_diskcache.folder import Folder
from hokusai_diskcache.mounts import network_file_system
from hokusai_diskcache.store import Store

__all__ = ["OpenStore", "StoreAccess", "StoreOptions"]

T = TypeVar("T")

#: Seconds between two looks of readers at whether the database is still in its place.
_GLANCE = 0.1


@frozen
class StoreOptions:
    """How a store is opened.

    Args:
        size_limit: bytes at which old entries go.
        eviction_policy: which entries are old.
        patience: seconds to wait for a lock.
    """

    size_limit: int
    eviction_policy: str
    patience: float


@frozen(eq=False)
class OpenStore:
    """An opened store.

    Args:
        store: the database.
        secret: the store's secret.
        identity: what tells the database from one that takes its place.
        pid: process that opened it; a connection must not cross a fork.
        network: type of the network file system that it is on, or None.
        moved_aside: where a damaged database was put when this one was opened.
        replaces_deleted: whether the one that this process had open before was deleted.
    """

    store: Store
    secret: bytes
    identity: tuple[int, int] | None
    pid: int
    network: str | None = None
    moved_aside: Path | None = None
    replaces_deleted: bool = False


class StoreAccess:
    """Opens the store of a folder when it is first needed, and again where that is needed.

    Args:
        folder: the folder.
        options: how to open the store.
        on_open: called with each store that was opened, without a lock.
    """

    def __init__(self, folder: Folder, options: StoreOptions, on_open: Callable[[OpenStore], None]) -> None:
        self._folder, self._options, self._on_open = folder, options, on_open
        #: Held while the store is opened, which may take as long as ``patience``; event loops never wait for it.
        self.opening = threading.Lock()
        self._opened: OpenStore | None = None
        self._inherited: list[OpenStore] = []
        self._known_secret: bytes | None = None
        self._not_opened: StoreFailure | None = None
        self._closed = False
        self._seen_until = 0.0
        fork_callbacks.add(self._after_fork)

    def _after_fork(self) -> None:
        self.opening, self._seen_until = threading.Lock(), 0.0

    def fresh(self) -> OpenStore | None:
        """Return the store where it is open and was in its place a moment ago; None where ``ready`` has to look.

        To read from a database that was deleted a moment ago does no harm.
        """
        opened = self._opened
        if opened is None:
            return None
        now = time.monotonic()
        if now >= self._seen_until or opened.pid != os.getpid():
            self._seen_until = now + _GLANCE
            return opened if self._is_current(opened) else None
        return opened

    def ready(self, asked: float) -> OpenStore:
        """Return the opened store.

        Args:
            asked: when it was asked for, of ``time.monotonic()``.

        Raises:
            CacheError: It cannot be opened; says why and what to do.
        """
        opened = self._opened
        if opened is not None and self._is_current(opened):
            return opened
        with fork_gate:
            return self.reopen(opened, asked, damaged=False)

    def run(self, operation: Callable[[OpenStore], T], asked: float) -> T:
        """Return what an operation on the store returns; where the store has to be made again, try it once more.

        Args:
            operation: what to do.
            asked: when it was asked for, of ``time.monotonic()``.

        Raises:
            CacheError: It cannot be done; says why and what to do.
        """
        with fork_gate:  # SQLite's own locks do not survive a fork
            return self._run(operation, asked)

    def _run(self, operation: Callable[[OpenStore], T], asked: float) -> T:
        opened = self.ready(asked)
        try:
            return operation(opened)
        except CacheError:
            raise
        except Exception as error:
            fault = self.release(opened, error)
            if fault not in (Fault.CORRUPT, Fault.GONE):
                raise explain_fault(fault, self._folder.path, error) from error
        opened = self.reopen(opened, time.monotonic(), damaged=fault is Fault.CORRUPT)
        try:
            return operation(opened)
        except CacheError:
            raise
        except Exception as error:
            raise explain_fault(self.release(opened, error), self._folder.path, error) from error

    def release(self, opened: OpenStore, error: Exception) -> Fault:
        """Return what is wrong, and give up this thread's connection: it may be left inside a transaction."""
        fault = diagnose(error, self._folder.store)
        try:
            opened.store.close()
        except Exception as closing:  # the first error is the one that says what is wrong
            error.add_note(f"closing the connection failed as well: {closing}")
        return fault

    def reopen(self, stale: OpenStore | None, asked: float, *, damaged: bool) -> OpenStore:
        """Open the store in place of ``stale``, unless another thread has done so.

        Args:
            stale: the store that cannot be used any more; None where none was opened.
            asked: when the store was asked for, of ``time.monotonic()``.
            damaged: whether its database is damaged.

        Raises:
            CacheError: It cannot be opened; says why and what to do.
        """
        with self.opening:
            if self._closed:
                raise CacheError("this cache is closed; make a new one")
            if self._opened is not None and self._opened is not stale:
                return self._opened
            if self._not_opened is not None:
                self._not_opened.raise_again(asked)
            deleted = False
            if stale is not None and stale.pid == os.getpid():
                deleted = self._folder.identity() is None
            elif stale is not None:
                # SQLite forbids even closing a connection that came through a fork, so it is kept as it is.
                self._inherited.append(stale)
            self._opened = None
            try:
                opened = self._open(stale.identity if damaged and stale is not None else None, deleted=deleted)
            except CacheError as error:
                self._not_opened = StoreFailure(error)
                raise
            self._opened, self._known_secret = opened, opened.secret
        self._on_open(opened)
        return opened

    def close(self) -> None:
        """Close this thread's connection; those of other threads go with the last reference to the store."""
        with self.opening:
            self._closed = True
            opened, self._opened = self._opened, None
        if opened is not None and opened.pid == os.getpid():
            opened.store.close()

    def _is_current(self, opened: OpenStore) -> bool:
        # A database that was deleted goes on working for the process that has it open, unseen by every other.
        return opened.pid == os.getpid() and self._folder.identity() == opened.identity

    def _open(self, damaged: tuple[int, int] | None, *, deleted: bool) -> OpenStore:
        """Open the store, and make or replace it where that is needed.

        Args:
            damaged: identity of a database that was found damaged; it is moved aside unless another process did so.
            deleted: whether the database that was open before was deleted.
        """
        folder = self._folder
        try:
            folder.prepare()
            with folder.locked(self._options.patience):
                moved = folder.move_store_aside() if damaged is not None and folder.identity() == damaged else None
                folder.prepare_store()
                secret = folder.read_or_make_secret(self._known_secret)
                network = network_file_system(folder.path)
                try:
                    store = self._open_database(network)
                except Exception as error:
                    if diagnose(error, folder.store) is not Fault.CORRUPT or moved is not None:
                        raise
                    moved = folder.move_store_aside()
                    folder.prepare_store()
                    store = self._open_database(network)
                return OpenStore(store, secret, folder.identity(), os.getpid(), network, moved, deleted)
        except CacheError:
            raise
        except Exception as error:  # sqlite3, diskcache and the file system, each in its own words
            raise explain_fault(diagnose(error, folder.path), folder.path, error) from error

    def _open_database(self, network: str | None) -> Store:
        store = Store(
            self._folder.store,
            patience=self._options.patience,
            size_limit=self._options.size_limit,
            eviction_policy=self._options.eviction_policy,
            shared_memory=network is None,
        )
        if type(store.volume()) is not int:  # reads the figures, which a damaged database may not have
            raise DamagedEntryError("the figures are no numbers")
        return store
