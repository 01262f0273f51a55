"""Await a blocking call, and wait for an async call from blocking code."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar, cast

from hokusai_core.runtime.futures import outcome

__all__ = ["Threads", "offload", "run_coroutine"]

T = TypeVar("T")


class Threads(Protocol):
    """Runs blocking calls."""

    def submit(self, call: Callable[[], Any]) -> Future[Any]:
        """Run ``call`` on a thread, in a copy of the caller's context, and return its future."""
        ...


class _OneThreadEach:
    """Starts a thread for every call.

    Unlike the pool that asyncio keeps for such calls, it has no number of workers that calls which hang could use up,
    and as a daemon none of its threads keeps the process from ending.
    """

    def submit(self, call: Callable[[], Any]) -> Future[Any]:
        context, future = contextvars.copy_context(), Future[Any]()

        def work() -> None:
            try:
                future.set_result(context.run(call))
            except BaseException as error:  # raised where the future is awaited
                future.set_exception(error)

        threading.Thread(target=work, name="hokusai-blocking-call", daemon=True).start()
        return future


async def offload(call: Callable[[], T], threads: Threads | None = None) -> T:
    """Run ``call`` on a thread and await it.

    If the awaiting task is cancelled, it ends immediately. The thread finishes its call and the result is discarded.
    """
    future: Future[T] = (threads or _OneThreadEach()).submit(call)
    return await outcome(future)


def run_coroutine(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run the coroutine that ``make`` returns to its end, on an event loop of its own.

    If an event loop runs on this thread already, the coroutine gets another thread, and this one waits for it.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(make())
    return cast("T", _OneThreadEach().submit(lambda: asyncio.run(make())).result())
