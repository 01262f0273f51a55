"""HostThreads: runs work on the threads of a pool that the host has made."""

from __future__ import annotations

import contextvars
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, Final, TypeVar

from hokusai_core.process import fork_callbacks
from hokusai_core.runtime.worker_threads import WorkerThreads

__all__ = ["HostThreads"]

T = TypeVar("T")

#: Seconds that work waits for a thread of the pool before it gets one of the executor's own.
_PATIENCE: Final = 1.0


class _Work:
    """A piece of work. It is run once, by the first thread that comes for it."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.future: Future[Any] = Future()
        self.future.set_running_or_notify_cancel()  # the caller cannot cancel what its thread is going to set
        self.begun = threading.Event()
        self.late_at = time.monotonic() + _PATIENCE
        self._call, self._context, self._turn = call, contextvars.copy_context(), threading.Lock()

    def run(self) -> None:
        """Run it, unless another thread has."""
        if not self._turn.acquire(blocking=False):
            return
        self.begun.set()
        try:
            result = self._context.run(self._call)
        except BaseException as error:  # raised where the future is waited for
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class HostThreads:
    """Threads of the host's pool.

    Work that no thread of the pool has begun after a second gets a thread of the executor's own. The pool may be full
    of callers that wait for this very work.

    Args:
        pool: the pool; it is not ended here.
        own: threads of the executor's own.
    """

    def __init__(self, pool: Executor, own: WorkerThreads) -> None:
        self._pool: Executor | None = pool
        self._own = own
        self._waiting: deque[_Work] = deque()
        self._lock = threading.Lock()
        self._watched = False
        fork_callbacks.add(self._after_fork)

    def _after_fork(self) -> None:
        self._pool = None  # its threads stay with the parent
        self._waiting, self._lock, self._watched = deque(), threading.Lock(), False

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Run ``call`` on a thread, in a copy of the caller's context, and return its future.

        Raises:
            ResourcesExhausted: The system has no thread left; the call has not begun.
        """
        if self._pool is None:
            return self._own.submit(call)
        work = _Work(call)
        try:
            self._pool.submit(work.run)
        except RuntimeError:  # the host has ended its pool
            return self._own.submit(call)
        self._watch(work)
        return work.future

    def _watch(self, work: _Work) -> None:
        """See to it that the work is begun."""
        with self._lock:
            self._waiting.append(work)
            if not self._watched:
                try:
                    self._own.submit(self._help)
                    self._watched = True
                except RuntimeError:  # the system has no thread left but those of the pool
                    self._waiting.clear()

    def _help(self) -> None:
        """Run work that the pool leaves waiting on own threads, until none waits."""
        while (work := self._oldest()) is not None:
            if not work.begun.wait(work.late_at - time.monotonic()):
                try:
                    self._own.submit(work.run)
                    work.begun.wait()
                except RuntimeError:  # the system has no thread left; the pool may have one later
                    work.late_at += _PATIENCE

    def _oldest(self) -> _Work | None:
        """Return the oldest work that has not begun; None where there is none."""
        with self._lock:
            while self._waiting and self._waiting[0].begun.is_set():
                self._waiting.popleft()
            self._watched = bool(self._waiting)
            return self._waiting[0] if self._waiting else None
