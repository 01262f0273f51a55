"""Drivers: run the waits of the execution pipeline either blocking on a thread or awaited on an event loop.

The pipeline itself (``execution/pipeline.py``) is written once, as a generator that yields operations.
``drive`` runs it on a thread and ``adrive`` on an event loop. Neither has any logic of its own, so they
behave alike.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from attrs import frozen

from hokusai_core.runtime.deadline import Deadline, Superseded
from hokusai_core.runtime.worker_threads import WorkerThreads

if TYPE_CHECKING:
    from hokusai_core.runtime.window import Permit

__all__ = [
    "Abandoned",
    "Call",
    "Operation",
    "OwnThread",
    "Pause",
    "Standby",
    "Step",
    "Wait",
    "adrive",
    "blocking",
    "drive",
    "go_on",
    "outcome",
]

R = TypeVar("R")

#: The threads that wait for what runs in this context, and can do nothing else meanwhile.
_blocked: ContextVar[frozenset[int]] = ContextVar("hokusai_blocked_threads", default=frozenset())


class Abandoned(TimeoutError):
    """The deadline passed during an operation.

    Args:
        stopped: whether the operation was really stopped; False if it runs on in a thread whose result is discarded.
    """

    def __init__(self, *, stopped: bool) -> None:
        super().__init__("deadline passed")
        self.stopped = stopped


class OwnThread(Exception):
    """What is waited for has to be done by a thread that is blocked until the waiting is over."""


@contextmanager
def blocking() -> Iterator[None]:
    """Say that this thread waits for what is begun inside on others, which must not wait for one of its tasks."""
    token = _blocked.set(_blocked.get() | {threading.get_ident()})
    try:
        yield
    finally:
        _blocked.reset(token)


class Operation(Protocol):
    """Something that takes time."""

    def run(self) -> Any:
        """Do it, blocking this thread."""
        ...

    async def arun(self) -> Any:
        """Do it without blocking the event loop."""
        ...


@frozen
class Call:
    """A call that a deadline bounds.

    Args:
        call: does it, blocking.
        acall: does it asynchronously; None where there is only the blocking way, which then gets a thread.
        deadline: when to give up.
        threads: where a blocking call runs so that it can be given up.
        inline: whether the blocking call keeps to the deadline by itself and needs no thread of its own.
        permit: the execution's permit in a batch, which may have a watch that makes a thread needless.
    """

    call: Callable[[], Any]
    acall: Callable[[], Awaitable[Any]] | None
    deadline: Deadline
    threads: WorkerThreads
    inline: bool = False
    permit: Permit | None = None

    def run(self) -> Any:
        """Make the call, on another thread where only that lets the caller go in time."""
        if self.deadline.passed:
            raise Abandoned(stopped=True)
        if self.inline or self.deadline.at is None:
            return self.call()
        if self.permit is not None and self.permit.watch is not None:
            return self.permit.watch.call(self.call, self.deadline.at, self.permit.take_over)
        future = self.threads.submit(self.call)
        try:
            return future.result(self.deadline.remaining())
        except TimeoutError:
            if future.done():
                return future.result()  # it finished, or failed with a timeout of its own
            raise Abandoned(stopped=False) from None

    async def arun(self) -> Any:
        """Await the call; one that can only block gets a thread."""
        if self.deadline.passed:
            raise Abandoned(stopped=True)
        if self.acall is None:
            return await _bounded(outcome(self.threads.submit(self.call)), self.deadline, stoppable=False)
        if self.deadline.at is None:
            return await self.acall()
        return await _bounded(self.acall(), self.deadline, stoppable=True)


@frozen
class Step:
    """Work that needs no deadline of its own, such as a look-up in a local store.

    Args:
        call: does it, blocking.
        acall: does it without blocking the event loop.
    """

    call: Callable[[], Any]
    acall: Callable[[], Awaitable[Any]]

    def run(self) -> Any:
        """Do the work here."""
        return self.call()

    async def arun(self) -> Any:
        """Await the work."""
        return await self.acall()


@frozen
class Wait:
    """Waiting for a call that another caller makes.

    Args:
        future: its outcome.
        leader: identifier of the thread on which its leader works.
        deadline: when to give up.
        permit: the execution's permit in a batch; its leader may be another row, and need room there.
    """

    future: Future[Any]
    leader: int
    deadline: Deadline
    permit: Permit | None = None

    def run(self) -> Any:
        """Wait for the call, blocking.

        Raises:
            OwnThread: the leader is a task of an event loop that would be blocked by that.
        """
        self._check_leader(_blocked.get() | {threading.get_ident()})
        try:
            with self._aside():
                return self.future.result(self.deadline.remaining())
        except TimeoutError:
            if self.future.done():
                return self.future.result()
            raise Abandoned(stopped=True) from None

    async def arun(self) -> Any:
        """Async version of ``run``."""
        self._check_leader(_blocked.get())
        with self._aside():
            return await _bounded(outcome(self.future), self.deadline, stoppable=True)

    def _check_leader(self, blocked: frozenset[int]) -> None:
        if self.leader in blocked and not self.future.done():
            raise OwnThread

    def _aside(self) -> AbstractContextManager[None]:
        return nullcontext() if self.permit is None else self.permit.aside()


@frozen
class Pause:
    """Waiting before another try.

    Args:
        seconds: for how long.
        deadline: when to give up.
    """

    seconds: float
    deadline: Deadline

    def run(self) -> None:
        """Sleep."""
        time.sleep(self._within())

    async def arun(self) -> None:
        """Sleep without blocking the event loop."""
        await asyncio.sleep(self._within())

    def _within(self) -> float:
        remaining = self.deadline.remaining()
        if remaining is not None and remaining <= self.seconds:
            raise Abandoned(stopped=True)  # the deadline would pass during the wait, so fail now
        return self.seconds


@frozen
class Standby:
    """Waiting until the window of a batch lets an execution go on that the provider turned away.

    Args:
        permit: its permit in the window.
        seconds: what the provider asked for.
        deadline: when to give up.
    """

    permit: Permit
    seconds: float
    deadline: Deadline

    def run(self) -> None:
        """Wait, blocking."""
        if self._in_vain() or not self.permit.come_back(self.deadline):
            raise Abandoned(stopped=True)

    async def arun(self) -> None:
        """Wait without blocking the event loop."""
        if self._in_vain() or not await self.permit.acome_back(self.deadline):
            raise Abandoned(stopped=True)

    def _in_vain(self) -> bool:
        remaining = self.deadline.remaining()
        return remaining is not None and remaining <= self.seconds


def drive(path: Generator[Operation, Any, R]) -> R:
    """Run ``path`` on this thread and return what it returns."""
    try:
        return _drive(path, next(path))
    except StopIteration as done:
        result: R = done.value
        return result


def go_on(path: Generator[Operation, Any, R]) -> R:
    """Run the rest of a path on this thread, whose own is stuck in a call beyond its deadline."""
    try:
        return _drive(path, path.throw(Abandoned(stopped=False)))
    except StopIteration as done:
        result: R = done.value
        return result


def _drive(path: Generator[Operation, Any, R], operation: Operation) -> R:
    while True:
        try:
            value = operation.run()
        except Superseded:  # the path is no longer this thread's
            raise
        except BaseException as error:  # the path decides what an error means; KeyboardInterrupt included
            operation = path.throw(error)
        else:
            operation = path.send(value)


async def adrive(path: Generator[Operation, Any, R]) -> R:
    """Run ``path`` on this event loop and return what it returns."""
    try:
        operation = next(path)
        while True:
            try:
                value = await operation.arun()
            except BaseException as error:  # cancellation included: the path has to leave its shared call
                operation = path.throw(error)
            else:
                operation = path.send(value)
    except StopIteration as done:
        result: R = done.value
        return result


async def _bounded(work: Awaitable[R], deadline: Deadline, *, stoppable: bool) -> R:
    scope = asyncio.timeout(deadline.remaining())
    try:
        async with scope:
            return await work
    except TimeoutError:
        if scope.expired():
            raise Abandoned(stopped=stoppable) from None
        raise  # a timeout of the language model's own


async def outcome(future: Future[R]) -> R:
    """Await ``future`` on the running event loop and return its result.

    Unlike ``asyncio.wrap_future`` it leaves the future alone where the awaiting task is cancelled, as others may wait
    for it and its thread is going to set it; and it does not mind that the event loop is closed by then.
    """
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def wake(_: Future[Any]) -> None:
        try:
            loop.call_soon_threadsafe(_release, waiter)
        except RuntimeError:  # the event loop was closed, and the waiting task with it
            if not loop.is_closed():
                raise

    future.add_done_callback(wake)
    await waiter
    return future.result()


def _release(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():  # else its task was cancelled
        waiter.set_result(None)
