"""Which models are loaded in this process, and by how many they are used."""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Callable

from attrs import define

from hokusai_local.server import LlamaServer, ServerSettings

__all__ = ["Lease", "ServerRegistry", "process_registry"]


@define
class _Entry:
    server: LlamaServer
    users: int


class Lease:
    """A share in a loaded model; the model is freed when its last share is released, or forgotten."""

    def __init__(self, server: LlamaServer, release: Callable[[], None]) -> None:
        self.server = server
        # Runs once: when called, or when the lease is garbage, whichever is first.
        self.release = weakref.finalize(self, release)


class ServerRegistry:
    """Loaded models by their settings, counted by use.

    Threads, executors and event loops of a process share one loaded model per settings. Safe to use from any thread,
    and after a fork: a child process starts with no model and loads its own.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._entries: dict[ServerSettings, _Entry] = {}
        if hasattr(os, "register_at_fork"):
            reference = weakref.ref(self)
            os.register_at_fork(after_in_child=lambda: _forget(reference))

    def lease(self, settings: ServerSettings) -> Lease:
        """Return a share in the model with ``settings``, which is loaded where it is not yet.

        Raises:
            ImportError: where xllamacpp is not installed.
            RuntimeError: where llama.cpp cannot load the file.
        """
        # Loading under the lock makes a second caller wait for the first one's model instead of loading another.
        with self._lock:
            entry = self._entries.get(settings)
            if entry is None:
                entry = self._entries[settings] = _Entry(LlamaServer(settings), 0)
            entry.users += 1
        return Lease(entry.server, lambda: self._release(settings, entry))

    def users(self, settings: ServerSettings) -> int:
        """Return how many shares in the model with ``settings`` are out."""
        with self._lock:
            entry = self._entries.get(settings)
            return entry.users if entry else 0

    def _release(self, settings: ServerSettings, entry: _Entry) -> None:
        with self._lock:
            entry.users -= 1
            # After a fork the entry belongs to the parent and is no longer in the table.
            if entry.users == 0 and self._entries.get(settings) is entry:
                del self._entries[settings]

    def _forget_parent(self) -> None:
        # The threads behind a server do not survive a fork, so that destroying it in the child would wait for ever.
        # A reference that is never given back keeps it from being destroyed, even at the child's exit.
        for entry in self._entries.values():
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(entry.server.native))
        self._lock = threading.RLock()
        self._entries = {}


def _forget(reference: weakref.ref[ServerRegistry]) -> None:
    registry = reference()
    if registry is not None:
        registry._forget_parent()


# The only module-level state of this package. Native weights are a resource of the process: two executors that load
# the same file must meet somewhere outside both, or each would hold its own 400 MB of it. Access is locked, entries go
# when their last user does, and nothing in it can change an answer.
_PROCESS = ServerRegistry()


def process_registry() -> ServerRegistry:
    """Return the registry that every engine of this process shares."""
    return _PROCESS
