"""ConcurrencyWindow: limits how many executions of a batch run at once, and adapts to rate limits.

The window has a fixed greatest width. Where a provider asks to slow down, the window is halved and nothing new begins
until the time that it asked for has passed; every success widens it again. That is the additive increase and
multiplicative decrease by which TCP shares a line (Chiu and Jain 1989). An execution that was stopped gives its place
away, waits, and goes before those that have not begun.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from attrs import define, field

if TYPE_CHECKING:
    from hokusai_core.errors import ExecutionError
    from hokusai_core.runtime.deadline import Deadline, DeadlineWatch

__all__ = ["ConcurrencyWindow", "Permit"]

#: The longest wait in seconds that a provider may ask for. Past it, waiting executions begin anyway and fail with the
#: provider's message: a batch must not stand still for an hour.
_LONGEST_BLOCK = 120.0
#: Seconds of the first and the longest wait where the provider does not say how long.
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
_FOREVER = 3_600.0


class ConcurrencyWindow:
    """The window of one batch, for threads and event loops.

    Args:
        width: executions that run at once at most.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        # Not down to one: a single row that hangs would then hold up all others until its deadline.
        self._least = float(min(width, max(2, width // 8)))
        self._limit = float(width)
        self._taken = self._aside = 0
        #: Executions that were turned away, in that order. The one that waits longest goes first, so that none starves.
        self._returning: deque[Permit] = deque()
        self._blocked_until = self._cut_at = 0.0
        self._storms = 0
        self._open = True
        self._changed = threading.Condition()
        self._waiters: deque[asyncio.Future[None]] = deque()

    @property
    def limit(self) -> int:
        """Executions that may run at once right now."""
        return int(self._limit)

    @property
    def taken(self) -> int:
        """Executions that run right now."""
        return self._taken

    def enter(self) -> Permit | None:
        """Wait for a place, blocking; None where the window was shut."""
        permit = Permit(self)
        with self._changed:
            while self._open:
                wait = self._take()
                if wait <= 0.0:
                    permit.held = True
                    return permit
                self._changed.wait(wait)
        return None

    async def aenter(self) -> Permit | None:
        """Async version of ``enter``."""
        permit = Permit(self)
        while self._open:
            with self._changed:
                wait = self._take()
                if wait <= 0.0:
                    permit.held = True
                    return permit
                waiter = self._queue_up()
            await _asleep(waiter, wait)
        return None

    def shut(self) -> None:
        """Let no more executions enter. Those inside go on."""
        with self._changed:
            self._open = False
            self._wake()

    def slow_down(self, error: ExecutionError, began: float) -> float:
        """Note that the provider asked to slow down and return the seconds to wait.

        Args:
            error: how it asked.
            began: when the call that it turned away began, as ``time.monotonic()`` tells it.
        """
        now = time.monotonic()
        with self._changed:
            # One storm turns away every call under way; only those that began after the last cut say anything new.
            if began >= self._cut_at:
                self._limit = max(self._least, self._limit / 2)
                self._cut_at = now
                self._storms += 1
            wait = error.retry_after
            if wait is None:
                longest = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(self._storms - 1, 16))
                wait = longest * random.uniform(0.5, 1.0)  # noqa: S311  # no secret
            wait = max(0.0, wait)
            self._blocked_until = max(self._blocked_until, now + wait)
        return wait

    def succeeded(self) -> None:
        """Note that a call went well: the window widens by one for half a window of successes."""
        if self._limit < self.width or self._storms:
            with self._changed:
                self._storms = 0
                self._limit = min(float(self.width), self._limit + 2.0 / self._limit)
                self._wake()

    def _take(self, returning: Permit | None = None) -> float:
        """Take a place and return 0, or return the seconds after which to ask again at the latest."""
        blocked = self._blocked_until - time.monotonic()
        if blocked > 0.0 and (returning or blocked <= _LONGEST_BLOCK):
            return blocked
        # Those aside may wait for the very one who returns, so they keep out only those who have not begun.
        inside = self._taken - self._aside if returning else self._taken
        if inside >= self.limit or (self._returning and self._returning[0] is not returning):
            return _FOREVER
        self._taken += 1
        return 0.0

    def _leave(self) -> None:
        with self._changed:
            self._taken -= 1
            self._wake()

    def _step_aside(self, count: int) -> None:
        with self._changed:
            self._aside += count
            if count > 0 and self._returning:
                self._wake()

    def _come_back(self, permit: Permit, seconds: float) -> bool:
        """Wait for a place once more, blocking; whether there was one in time."""
        end = time.monotonic() + seconds
        with self._changed:
            self._give_up(permit)
            try:
                while (wait := self._take(permit)) > 0.0:
                    remaining = end - time.monotonic()
                    if remaining <= 0.0:
                        return False
                    self._changed.wait(min(wait, remaining))
                permit.held = True
                return True
            finally:
                self._returning.remove(permit)
                self._wake()

    async def _acome_back(self, permit: Permit, seconds: float) -> bool:
        end = time.monotonic() + seconds
        with self._changed:
            self._give_up(permit)
        try:
            while True:
                with self._changed:
                    wait = self._take(permit)
                    if wait <= 0.0:
                        permit.held = True
                        return True
                    waiter = self._queue_up()
                remaining = end - time.monotonic()
                if remaining <= 0.0:
                    return False
                await _asleep(waiter, min(wait, remaining))
        finally:
            with self._changed:
                self._returning.remove(permit)
                self._wake()

    def _give_up(self, permit: Permit) -> None:
        self._returning.append(permit)
        if permit.held:
            permit.held = False
            self._taken -= 1
            self._wake()

    def _wake(self) -> None:
        self._changed.notify_all()
        while self._waiters:
            _release(self._waiters.popleft())

    def _queue_up(self) -> asyncio.Future[None]:
        # Under the lock in which there was no place, so that a place that is given away right after wakes it.
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        return waiter


def _nothing() -> None:
    """Take over nothing: without a watch, no call is given up."""


@define(eq=False)
class Permit:
    """One execution's place in the window.

    Args:
        window: the window.
        held: whether the execution counts right now.
        watch: looks after the deadlines of blocking calls; None where each gets a thread for that.
        take_over: goes on with the execution on another thread.
        path: the execution as it is driven, for the thread that goes on with it.
    """

    window: ConcurrencyWindow = field()
    held: bool = False
    watch: DeadlineWatch | None = None
    take_over: Callable[[], None] = _nothing
    path: Any = None

    def leave(self) -> None:
        """Return the permit, as the execution is over; harmless if it was given away already."""
        self.watch, self.take_over, self.path = None, _nothing, None
        if self.held:
            self.held = False
            self.window._leave()

    def end_task(self, _: object) -> None:
        """Return the permit of a task that has ended, however it did; a callback of tasks."""
        self.leave()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Say of the time inside that this execution calls nothing itself, but waits for others that do."""
        if not self.held:
            yield
            return
        self.window._step_aside(1)
        try:
            yield
        finally:
            self.window._step_aside(-1)

    def beside(self) -> Permit:
        """Return a place for a call that this execution waits for; it counts once the provider turned it away."""
        return Permit(self.window)

    def come_back(self, deadline: Deadline) -> bool:
        """Give the place away and wait for another; whether there was one before the deadline."""
        remaining = deadline.remaining()
        return self.window._come_back(self, _FOREVER if remaining is None else remaining)

    async def acome_back(self, deadline: Deadline) -> bool:
        """Async version of ``come_back``."""
        remaining = deadline.remaining()
        return await self.window._acome_back(self, _FOREVER if remaining is None else remaining)


async def _asleep(waiter: asyncio.Future[None], seconds: float) -> None:
    timer = waiter.get_loop().call_later(seconds, _set, waiter)
    try:
        await waiter
    finally:
        timer.cancel()


def _release(waiter: asyncio.Future[None]) -> None:
    loop = waiter.get_loop()
    if loop is asyncio._get_running_loop():
        _set(waiter)
        return
    try:
        loop.call_soon_threadsafe(_set, waiter)
    except RuntimeError:  # the event loop is closed, so there is nothing left to wake
        if not loop.is_closed():
            raise


def _set(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
