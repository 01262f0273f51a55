"""Threads that run awaited calls."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

__all__ = ["Workers"]

_Item = tuple[Future[Any], Callable[[], Any]] | None


class Workers:
    """A few daemon threads that make blocking calls.

    Those of ``concurrent.futures`` would keep the process from ending until the model has written the last word of an
    answer that no caller waits for.

    Args:
        most: threads at most; further calls wait for one of them.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._started = 0
        self._lock = threading.Lock()
        self._work: SimpleQueue[_Item] = SimpleQueue()
        #: Ends the threads after the calls that were submitted so far; runs by itself when this object is garbage.
        self.close = weakref.finalize(self, self._work.put, None)
        self.close.atexit = False

    def submit(self, call: Callable[[], Any]) -> Future[Any]:
        """Have a thread make ``call``, and return its future; cancelling that works until the call begins."""
        future: Future[Any] = Future()
        self._work.put((future, call))
        with self._lock:
            begin = self._started < self._most
            self._started += begin
        if begin:
            threading.Thread(target=_serve, args=(self._work,), name="hokusai-local-async", daemon=True).start()
        return future


def _serve(work: SimpleQueue[_Item]) -> None:
    while (item := work.get()) is not None:
        future, call = item
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(call())
            except BaseException as error:  # raised where the future is awaited
                future.set_exception(error)
        del item, future, call  # an idle thread must not keep the last call's data alive
    work.put(None)  # for the next thread
