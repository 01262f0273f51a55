"""The models loaded in this process, and the number of users of each."""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
import weakref
from collections.abc import Callable

from attrs import define

from hokusai_local.native_server_guard import Interrupted
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
    and after a fork: a child process starts with no model, loads its own, and keeps it until its end.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._entries: dict[ServerSettings, _Entry] = {}
        # Those that were given back count as well: an abandoned call may still be using one.
        self._alive: weakref.WeakSet[LlamaServer] = weakref.WeakSet()
        # Whether this process has loaded any; whether the one did that it was forked from; whether it is ending.
        self._used = self._forked = self._ended = False
        reference = weakref.ref(self)
        atexit.register(lambda: _end(reference))
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=lambda: _forget(reference))

    def lease(self, settings: ServerSettings) -> Lease:
        """Return a share in the model with ``settings``, which is loaded where it is not yet.

        Raises:
            ImportError: where xllamacpp is not installed.
            RuntimeError: where llama.cpp cannot load the file.
            Interrupted: where the process is ending.
        """
        # Loading under the lock makes a second caller wait for the first one's model instead of loading another.
        with self._lock:
            if self._ended:
                raise Interrupted("the process is ending")
            entry = self._entries.get(settings)
            if entry is None:
                self._used = True
                entry = self._entries[settings] = _Entry(LlamaServer(settings), 0)
                self._alive.add(entry.server)
                if self._forked:
                    entry.server.gate.leak()
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
            if entry.users == 0 and self._entries.get(settings) is entry and not self._forked:
                del self._entries[settings]

    def end(self) -> None:
        """Stop every call, free every model and load no further one."""
        with self._lock:
            self._ended = True
            alive = list(self._alive)
        for server in alive:
            server.gate.close()

    def _forget_parent(self) -> None:
        # Destroying a server waits for threads of llama.cpp, which do not survive a fork: for those of the parent's
        # servers, and for one that all servers of a process share, so that the child must not destroy its own either.
        for server in self._alive:
            server.gate.leak()
        if self._used and not self._forked:
            self._forked = True
            _leave_without_destructors()
        self._lock = threading.RLock()
        self._entries = {}
        self._alive = weakref.WeakSet()


def _end(reference: weakref.ref[ServerRegistry]) -> None:
    registry = reference()
    if registry is not None:
        registry.end()


def _forget(reference: weakref.ref[ServerRegistry]) -> None:
    registry = reference()
    if registry is not None:
        registry._forget_parent()


def _leave_without_destructors() -> None:
    # Those of llama.cpp's static objects wait for threads, too. Handlers run in the reverse order of registration:
    # this one comes before them, and ends the process with the status that it was about to end with.
    libc = ctypes.CDLL(None)
    if hasattr(libc, "on_exit"):
        libc.on_exit(libc._exit, None)


# The only module-level state of this package. Native weights are a resource of the process: two executors that load
# the same file must meet somewhere outside both, or each would hold its own 400 MB of it. Access is locked, entries go
# when their last user does, and nothing in it can change an answer.
_PROCESS = ServerRegistry()


def process_registry() -> ServerRegistry:
    """Return the registry that every engine of this process shares."""
    return _PROCESS
