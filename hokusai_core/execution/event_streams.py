"""EventStream and AsyncEventStream: the events of an execution as an iterator, and as an asynchronous one."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Self

from hokusai_core.errors import ClosedError
from hokusai_core.runtime.drivers import blocking
from hokusai_core.stream_events import StreamEvent, StreamReceiver

if TYPE_CHECKING:
    from hokusai_core.execution.services import ExecutorServices

__all__ = ["AsyncEventStream", "EventStream", "StreamedWork"]

#: Makes the coroutine of the work. It gives its events to the receiver, and ends soon after the other is set.
StreamedWork = Callable[[StreamReceiver, threading.Event], Coroutine[Any, Any, Any]]

#: Seconds that closing waits at most for the call that it cancels.
_PATIENCE = 5.0


class EventStream(Iterator[StreamEvent]):
    """The events of an execution, as they happen. Its error is raised where the next event is asked for.

    Leaving it early (``close``, the end of a ``with`` block, or forgetting it) cancels the call. A call that cannot be
    cancelled ends with the next piece of its answer.

    Args:
        services: parts of the executor.
        work: what is done.
    """

    def __init__(self, services: ExecutorServices, work: StreamedWork) -> None:
        self._events: SimpleQueue[StreamEvent | None] = SimpleQueue()
        self._closed = threading.Event()
        self._over = False
        self._begun, self._ended = threading.Event(), threading.Event()
        coroutine = _tell_end(work(self._events.put, self._closed), self._begun, self._ended)
        with blocking():  # what this thread waits for must not wait for a task of this thread
            if services.loop.inside:
                self._future: Future[Any] = services.threads.submit(lambda: asyncio.run(coroutine))
            else:
                self._future = services.loop.submit(coroutine)
        events = self._events
        self._future.add_done_callback(lambda _: events.put(None))
        weakref.finalize(self, _cancel, self._closed, self._future).atexit = False

    def __next__(self) -> StreamEvent:
        """Return the next event, and wait for it."""
        event = None if self._over else self._events.get()
        if event is not None:
            return event
        if not self._over:
            self._over = True
            try:
                self._future.result()
            except CancelledError:
                raise ClosedError("the executor was closed before the stream was over") from None
        raise StopIteration

    def close(self) -> None:
        """Cancel the call unless it is over; calling it twice is harmless."""
        self._over = True
        if not self._future.done():
            _cancel(self._closed, self._future)
            if self._begun.is_set():
                self._ended.wait(_PATIENCE)  # so that trackers know of it

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


class AsyncEventStream(AsyncIterator[StreamEvent]):
    """Async version of ``EventStream``. The work begins when the first event is asked for.

    Args:
        work: what is done.
    """

    def __init__(self, work: StreamedWork) -> None:
        self._work = work
        self._closed = threading.Event()
        self._task: asyncio.Task[Any] | None = None
        self._events: asyncio.Queue[StreamEvent | None] = asyncio.Queue()
        self._over = False

    def _start(self) -> asyncio.Task[Any]:
        loop, own, events = asyncio.get_running_loop(), threading.get_ident(), self._events

        def receive(event: StreamEvent | None) -> None:
            if threading.get_ident() == own:
                events.put_nowait(event)
            else:
                loop.call_soon_threadsafe(events.put_nowait, event)

        task = loop.create_task(self._work(receive, self._closed))
        task.add_done_callback(lambda _: receive(None))
        weakref.finalize(self, _cancel_task, self._closed, loop, task).atexit = False
        return task

    async def __anext__(self) -> StreamEvent:
        """Return the next event."""
        if self._over:
            raise StopAsyncIteration
        task = self._task = self._task or self._start()
        try:
            event = await self._events.get()
        except asyncio.CancelledError:
            await self.aclose()
            raise
        if event is not None:
            return event
        self._over = True
        task.result()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Cancel the call unless it is over; calling it twice is harmless."""
        self._over = True
        self._closed.set()
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=_PATIENCE)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.aclose()


async def _tell_end(work: Coroutine[Any, Any, Any], begun: threading.Event, ended: threading.Event) -> None:
    begun.set()
    try:
        await work
    finally:
        ended.set()


def _cancel(closed: threading.Event, future: Future[Any]) -> None:
    closed.set()
    future.cancel()


def _cancel_task(closed: threading.Event, loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> None:
    closed.set()
    if not task.done() and not loop.is_closed():
        loop.call_soon_threadsafe(task.cancel)
