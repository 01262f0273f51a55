"""The deadline of an execution, and the watch that keeps it for many blocking calls from one thread.

A call that a deadline bounds usually runs on a thread of its own, so that its caller can give it up. Where the caller
is itself only a thread for one execution, that is one too many. Such a call runs where it is, and the watch looks
after the deadlines of all of them: when one passes, another thread goes on with the execution, and the one that is
stuck in the call finds out when it comes back that it was superseded.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from attrs import frozen

if TYPE_CHECKING:
    # The commands' help reads the options of an execution, and shall not load what runs threads.
    from hokusai_core.runtime.worker_threads import WorkerThreads

__all__ = ["UNBOUNDED", "Deadline", "DeadlineWatch", "Superseded"]

T = TypeVar("T")


@frozen
class Deadline:
    """The time by which an execution must be over.

    Args:
        timeout: seconds that were asked for, None for no bound.
        at: the point in time as ``time.monotonic()`` tells it, None for no bound.
    """

    timeout: float | None = None
    at: float | None = None

    @classmethod
    def after(cls, timeout: float | None, *, elapsed: float = 0.0) -> Deadline:
        """Return the deadline ``timeout`` seconds from now, or from ``elapsed`` seconds ago."""
        return cls(timeout, None if timeout is None else time.monotonic() + timeout - elapsed)

    def later(self, seconds: float) -> Deadline:
        """Return this deadline, so many seconds later."""
        return self if self.at is None else Deadline(self.timeout, self.at + seconds)

    def within(self, timeout: float | None) -> Deadline:
        """Return the deadline ``timeout`` seconds from now, or this one where it is the earlier."""
        if timeout is None:
            return self
        sooner = Deadline.after(timeout)
        return sooner if self.at is None or sooner.at is None or sooner.at < self.at else self

    def remaining(self) -> float | None:
        """Return the seconds that are left, never below zero; None for no bound."""
        return None if self.at is None else min(max(0.0, self.at - time.monotonic()), threading.TIMEOUT_MAX)

    @property
    def passed(self) -> bool:
        """Whether the time is up."""
        return self.at is not None and time.monotonic() >= self.at


class Superseded(BaseException):
    """Another thread has gone on with this thread's execution; there is nothing left to do."""


@frozen(eq=False)
class _Call:
    at: float
    take_over: Callable[[], None]
    context: contextvars.Context


#: The deadline of what has none.
UNBOUNDED = Deadline()


class DeadlineWatch:
    """Looks after the calls of one batch.

    Args:
        threads: where it runs, and where executions go on whose deadline has passed.
    """

    def __init__(self, threads: WorkerThreads) -> None:
        self._threads = threads
        self._calls: set[_Call] = set()
        self._changed = threading.Condition()
        self._next = float("inf")
        self._running = self._closed = False

    def call(self, work: Callable[[], T], at: float, take_over: Callable[[], None]) -> T:
        """Return what ``work`` returns.

        Args:
            work: the call.
            at: when to go on without it, as ``time.monotonic()`` tells it.
            take_over: goes on; is called on another thread, in a copy of this context.

        Raises:
            Superseded: ``take_over`` was called.
        """
        entry = _Call(at, take_over, contextvars.copy_context())
        with self._changed:
            if not self._running:
                self._threads.submit(self._run)  # raises where the system has no thread left; then nothing has begun
                self._running = True
            self._calls.add(entry)
            if at < self._next:
                self._next = at
                self._changed.notify()
        try:
            return work()
        finally:
            with self._changed:
                superseded = entry not in self._calls
                self._calls.discard(entry)
            if superseded:
                raise Superseded  # whatever came back of the call comes too late

    def close(self) -> None:
        """Look after no further call."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _run(self) -> None:
        while (late := self._wait()) is not None:
            while late:
                self._give_up(late.pop())

    def _wait(self) -> list[_Call] | None:
        """Wait for calls whose deadline has passed and return them, or None if this watch is closed."""
        with self._changed:
            while True:
                now = time.monotonic()
                late = [entry for entry in self._calls if entry.at <= now]
                if late:
                    self._calls.difference_update(late)
                    return late
                if self._closed:
                    return None
                self._next = min((entry.at for entry in self._calls), default=float("inf"))
                self._changed.wait(min(self._next - now, threading.TIMEOUT_MAX))

    def _give_up(self, call: _Call) -> None:
        try:
            self._threads.submit(lambda: call.context.run(call.take_over))
        except RuntimeError:  # the system has no thread left: here it holds up others, nowhere it would be lost
            call.context.run(call.take_over)
