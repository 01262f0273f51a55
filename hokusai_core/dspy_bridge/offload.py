"""Awaiting a call that can only block."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from hokusai_core.runtime.futures import outcome

__all__ = ["Threads", "offload"]

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
            except BaseException as error:  # belongs to whoever awaits the future
                future.set_exception(error)

        threading.Thread(target=work, name="hokusai-blocking-call", daemon=True).start()
        return future


async def offload(call: Callable[[], T], threads: Threads | None = None) -> T:
    """Run ``call`` on a thread and await it.

    Where the awaiting task is cancelled it goes on at once; the thread finishes its call and nobody hears of it.
    """
    future: Future[T] = (threads or _OneThreadEach()).submit(call)
    return await outcome(future)
