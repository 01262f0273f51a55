"""Await a future that a thread sets."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any, TypeVar

__all__ = ["outcome"]

T = TypeVar("T")


async def outcome(future: Future[T]) -> T:
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
