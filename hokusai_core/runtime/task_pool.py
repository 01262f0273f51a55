"""TaskPool: runs a bounded number of executions in the background, one future each."""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from hokusai_core.process import fork_callbacks

if TYPE_CHECKING:
    from hokusai_core.runtime.worker_threads import Threads

__all__ = ["TaskPool"]

T = TypeVar("T")
_Task = tuple["Future[Any]", Callable[[], Any], contextvars.Context]

#: The pools that the running task belongs to.
_inside: contextvars.ContextVar[frozenset[int]] = contextvars.ContextVar("hokusai_task_pools", default=frozenset())


class TaskPool:
    """Runs tasks in the order in which they came.

    A task that is begun from inside a task of the same pool does not wait for a place: its parent holds one and may be
    about to wait for it.

    Args:
        threads: where tasks run.
        width: tasks that run at once at most.
    """

    def __init__(self, threads: Threads, width: int) -> None:
        self._threads, self._width = threads, width
        self._waiting: deque[_Task] = deque()
        self._running = 0
        self._lock = threading.Lock()
        fork_callbacks.add(self._after_fork)

    def _after_fork(self) -> None:
        self._waiting, self._running, self._lock = deque(), 0, threading.Lock()  # the threads stay with the parent

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Run ``work`` in a copy of the caller's context; the future can be cancelled until it begins."""
        future: Future[T] = Future()
        task: _Task = (future, work, contextvars.copy_context())
        with self._lock:
            nested = id(self) in _inside.get()
            if self._running >= self._width and not nested:
                self._waiting.append(task)
                return future
            self._running += 1
        self._begin(task)
        return future

    def _begin(self, task: _Task) -> None:
        try:
            self._threads.submit(lambda: self._run(task))
        except RuntimeError as error:  # the system has no thread left
            self._over()
            task[0].set_exception(error)

    def _run(self, task: _Task) -> None:
        next_task: _Task | None = task
        while next_task is not None:  # the thread goes on with those that wait
            future, work, context = next_task
            if future.set_running_or_notify_cancel():
                context.run(self._work, future, work)
            next_task = self._over()

    def _work(self, future: Future[Any], work: Callable[[], Any]) -> None:
        _inside.set(_inside.get() | {id(self)})
        try:
            result = work()
        except BaseException as error:  # raised where the future is awaited
            future.set_exception(error)
        else:
            future.set_result(result)

    def _over(self) -> _Task | None:
        """Give the place to the next task and return it, or free the place."""
        with self._lock:
            if self._waiting and self._running <= self._width:
                return self._waiting.popleft()
            self._running -= 1
            return None
