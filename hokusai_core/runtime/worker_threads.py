"""Threads for calls that a deadline bounds.

Python cannot stop a thread. A call whose deadline passes is therefore abandoned: the caller goes on at once, the
thread finishes whatever it waits for and then serves again. Threads are daemons, so an abandoned call never keeps the
process alive, and there is no upper bound that abandoned calls could fill up and so block the calls of others.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from hokusai_core.errors import ResourcesExhausted
from hokusai_core.process import fork_callbacks

__all__ = ["Threads", "WorkerThreads"]

T = TypeVar("T")


class Threads(Protocol):
    """Where work can run: threads of the executor or of its host."""

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Run ``call`` on a thread, in a copy of the caller's context, and return its future.

        Raises:
            ResourcesExhausted: The system has no thread left; the call has not begun.
        """
        ...


class _Worker(threading.Thread):
    """A thread that does one call at a time and goes back to the idle ones."""

    def __init__(self, owner: WorkerThreads) -> None:
        super().__init__(name="hokusai-call", daemon=True)
        self._owner = owner
        self.work: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()

    def run(self) -> None:
        while (item := self.work.get()) is not None:
            future, call = item
            result, failure = None, None
            try:
                result = call()
            except BaseException as error:  # raised in the waiting thread, which decides what it means
                failure = error
            # Idle again before the caller wakes up, else its next call would find no idle thread and start another.
            stays = self._owner.retire(self)
            if failure is not None:
                future.set_exception(failure)
            else:
                future.set_result(result)
            del item, future, call, result, failure  # an idle thread must not keep the last call's data alive
            if not stays:
                return


class WorkerThreads:
    """A pool that grows with the calls under way and shrinks to ``keep`` idle threads.

    Args:
        keep: threads that are kept for the next call.
    """

    def __init__(self, keep: int = 32) -> None:
        self._keep = keep
        self._idle: list[_Worker] = []
        # Reentrant: the garbage collector may run inside, and close the pool of an executor that was never closed.
        self._lock = threading.RLock()
        self._closed = False
        fork_callbacks.add(self._after_fork)

    def _after_fork(self) -> None:
        self._idle, self._lock = [], threading.RLock()  # a child inherits the list, not the threads

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Run ``call`` on a thread, in a copy of the caller's context, and return its future.

        Raises:
            ResourcesExhausted: The system has no thread left; the call has not begun.
        """
        context = contextvars.copy_context()
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()  # the caller cannot cancel what its thread is going to set
        with self._lock:
            worker = self._idle.pop() if self._idle else None
        if worker is None:
            worker = _Worker(self)
            try:
                worker.start()
            except RuntimeError as error:
                raise ResourcesExhausted(
                    f"the system has no thread left ({error}); run fewer rows at once with max_workers=..., or "
                    "raise the limit of processes and threads (ulimit -u)"
                ) from error
        worker.work.put((future, lambda: context.run(call)))
        return future

    def close(self) -> None:
        """End the idle threads; a busy one ends after its call."""
        with self._lock:
            idle, self._idle, self._closed = self._idle, [], True
        for worker in idle:
            worker.work.put(None)

    def retire(self, worker: _Worker) -> bool:
        """Take ``worker`` back after a call and return whether it is to stay."""
        with self._lock:
            if self._closed or len(self._idle) >= self._keep:
                return False
            self._idle.append(worker)
            if self._closed and worker in self._idle:  # closed by the garbage collector, between these lines
                self._idle.remove(worker)
                return False
            return True
