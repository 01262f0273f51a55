"""Opening a store: the folder is checked, the secret read, and a database that is damaged makes room for a new one."""

from __future__ import annotations

import os
from pathlib import Path

from attrs import frozen

from hokusai_core.errors import CacheError
from hokusai_diskcache.codec import Damaged
from hokusai_diskcache.faults import Fault, diagnose, explain_fault
from hokusai_diskcache.folder import Folder
from hokusai_diskcache.mounts import network_file_system
from hokusai_diskcache.store import Store

__all__ = ["Opened", "StoreOptions", "open_store"]


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
class Opened:
    """An opened store.

    Args:
        store: the database.
        secret: the store's secret.
        identity: what tells the database from one that takes its place.
        pid: process that opened it; a connection must not cross a fork.
        network: type of the network file system that it is on, or None.
        moved_aside: where a damaged database was put when this one was opened.
    """

    store: Store
    secret: bytes
    identity: tuple[int, int] | None
    pid: int
    network: str | None = None
    moved_aside: Path | None = None


def open_store(
    folder: Folder, options: StoreOptions, *, known_secret: bytes | None = None, damaged: tuple[int, int] | None = None
) -> Opened:
    """Open the store in ``folder``, and make or replace it where that is needed.

    Args:
        folder: where it is.
        options: how to open it.
        known_secret: the secret that this process has used with it so far.
        damaged: identity of a database that was found damaged; it is moved aside unless another process did so.

    Raises:
        CacheError: it cannot be opened; says why and what to do.
    """
    try:
        folder.prepare()
        with folder.locked(options.patience):
            moved = folder.move_store_aside() if damaged is not None and folder.identity() == damaged else None
            folder.prepare_store()
            secret = folder.read_or_make_secret(known_secret)
            network = network_file_system(folder.path)
            try:
                store = _open(folder, options, network)
            except Exception as error:
                if diagnose(error, folder.store) is not Fault.CORRUPT or moved is not None:
                    raise
                moved = folder.move_store_aside()
                folder.prepare_store()
                store = _open(folder, options, network)
            return Opened(store, secret, folder.identity(), os.getpid(), network, moved)
    except CacheError:
        raise
    except Exception as error:  # sqlite3, diskcache and the file system, each in its own words
        fault = diagnose(error, folder.path)
        raise explain_fault(fault, folder.path, error) from error


def _open(folder: Folder, options: StoreOptions, network: str | None) -> Store:
    store = Store(
        folder.store,
        patience=options.patience,
        size_limit=options.size_limit,
        eviction_policy=options.eviction_policy,
        shared_memory=network is None,
    )
    if type(store.volume()) is not int:  # reads the figures, which a damaged database may not have
        raise Damaged("the figures are no numbers")
    return store
