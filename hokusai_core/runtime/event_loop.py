"""EventLoopThread: an event loop on its own thread, for blocking callers of an async language model."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from hokusai_core.process import fork_callbacks

__all__ = ["EventLoopThread", "beside_loop", "is_large"]

T = TypeVar("T")

#: Characters of text beyond which work on it would hold an event loop up for milliseconds.
_LARGE: Final = 256 * 1024


def is_large(values: Iterable[Any]) -> bool:
    """Return whether the texts among ``values`` are too large to be worked on beside other tasks of an event loop."""
    return sum(len(value) for value in values if isinstance(value, str)) > _LARGE


async def beside_loop(texts: Iterable[Any], work: Callable[[], T]) -> T:
    """Return what ``work`` on some texts returns; it is done on a thread if they are large."""
    return await asyncio.to_thread(work) if is_large(texts) else work()


class EventLoopThread:
    """One event loop for the lifetime of an executor, started when it is first needed.

    Clients of language models keep connections that belong to an event loop; a loop for each batch would leave them
    behind with every batch.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # reentrant: the garbage collector may close it inside
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        #: Event loops of parent processes. They are kept, since closing one would disturb the parent, with which this
        #: process shares the loop's selector.
        self._inherited: list[asyncio.AbstractEventLoop] = []
        fork_callbacks.add(self._after_fork)

    def _after_fork(self) -> None:
        self._lock = threading.RLock()
        if self._loop is not None:
            self._inherited.append(self._loop)
        self._loop = self._thread = None

    @property
    def inside(self) -> bool:
        """Whether the caller runs on this event loop, and so must not wait for it."""
        return threading.current_thread() is self._thread

    def start(self) -> bool:
        """Start the event loop if it does not run; return whether the system had a thread and files for it."""
        try:
            self._running()
        except (OSError, RuntimeError):
            return False
        return True

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run ``work`` in a copy of the caller's context and return its future; cancelling that cancels the work."""
        return asyncio.run_coroutine_threadsafe(work, self._running())

    def close(self) -> None:
        """Cancel what runs and end the thread."""
        with self._lock:
            loop, self._loop, self._thread = self._loop, None, None
        if loop is not None:
            loop.call_soon_threadsafe(_end, loop)

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                thread = threading.Thread(target=_serve, args=(loop,), name="hokusai-event-loop", daemon=True)
                try:
                    thread.start()
                except BaseException:
                    loop.close()
                    raise
                self._loop, self._thread = loop, thread
            return self._loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


def _end(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    closing = asyncio.gather(*tasks, return_exceptions=True)
    closing.add_done_callback(lambda _: loop.stop())
