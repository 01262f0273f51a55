"""Single flight: identical executions at the same time share one call of the language model.

The first caller of a key leads and works; the others wait. Threads and event loops may be mixed. Where the leader
fails, each waiter gets that error. Where the leader goes away (cancelled, or its deadline passed), nothing is known
about the answer, so one of the waiters takes the lead and the rest go on waiting.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Generic, TypeVar

from hokusai_core.process import fork_callbacks

__all__ = ["LeaderGone", "SharedCall", "SharedCalls"]

T = TypeVar("T")


class LeaderGone(Exception):
    """The leader went away without an answer; try to take the lead."""


class SharedCall(Generic[T]):
    """One piece of work that several callers want.

    Args:
        key: what tells it from others.
        retries: tries after the first that its leader makes.

    Attributes:
        outcome: the answer or the error, once there is one.
        thread: identifier of the thread on which its leader works.
    """

    def __init__(self, key: str, retries: int = 0) -> None:
        self.key, self.retries = key, retries
        self.outcome: Future[T] = Future()
        self.thread = threading.get_ident()


class SharedCalls(Generic[T]):
    """The shared calls under way in one executor."""

    def __init__(self) -> None:
        self._calls: dict[str, SharedCall[T]] = {}
        self._lock = threading.Lock()
        fork_callbacks.add(self._after_fork)

    def _after_fork(self) -> None:
        self._calls, self._lock = {}, threading.Lock()  # a child inherits the calls, but not their leaders

    def under_way(self, key: str) -> bool:
        """Return whether a call for ``key`` is in progress."""
        return key in self._calls

    def join(self, key: str, retries: int = 0) -> tuple[SharedCall[T], bool]:
        """Return the shared call of ``key`` and whether the caller leads it.

        A leader must call ``leave`` in the end, whether it has called ``finish`` before or not.
        """
        with self._lock:
            shared_call = self._calls.get(key)
            if shared_call is not None:
                return shared_call, False
            shared_call = self._calls[key] = SharedCall(key, retries)
            return shared_call, True

    def finish(self, shared_call: SharedCall[T], *, answer: T | None = None, error: Exception | None = None) -> None:
        """Give every waiter the answer, or the error."""
        self._remove(shared_call)
        if error is not None:
            shared_call.outcome.set_exception(error)
        else:
            shared_call.outcome.set_result(answer)  # type: ignore[arg-type]  # exactly one of the two is given

    def leave(self, shared_call: SharedCall[T]) -> None:
        """Go away; where it has not landed, a waiter takes the lead."""
        if not shared_call.outcome.done():
            self._remove(shared_call)
            shared_call.outcome.set_exception(LeaderGone())

    def _remove(self, shared_call: SharedCall[T]) -> None:
        with self._lock:
            if self._calls.get(shared_call.key) is shared_call:
                del self._calls[shared_call.key]
