"""Cancels what a request has begun when its client goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import Receive

from hokusai_serve.problems import Problem

__all__ = ["cancelled_with_client"]


@asynccontextmanager
async def cancelled_with_client(receive: Receive) -> AsyncIterator[None]:
    """Cancel the body of the ``async with`` block when the client goes away.

    Args:
        receive: gives the messages of the client; the body of the request has been read.

    Raises:
        Problem: the client has gone. Nothing is sent; figures show the status 499.
    """
    task = asyncio.current_task()
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            pass
        gone = True
        if task is not None:
            task.cancel()

    watcher = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        if not gone or task is None:
            raise
        task.uncancel()
        raise Problem(499, "client-gone", "the client has gone") from None
    finally:
        watcher.cancel()
