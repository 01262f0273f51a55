"""Run a function on a thread of its own, so that one that hangs holds up nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

__all__ = ["in_own_thread"]


async def in_own_thread(function: Callable[[], Any]) -> Any:
    """Return what ``function`` returns, and wait for it on the event loop.

    The loop's own threads are few, and the end of the loop waits for them. A function that is given up, because it
    hangs, keeps this thread only.
    """
    loop = asyncio.get_running_loop()
    over: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()
    context = copy_context()

    def settle(result: Any, failure: BaseException | None) -> None:
        if not over.done():  # else it was given up
            over.set_result((result, failure))

    def work() -> None:
        result, failure = None, None
        try:
            result = context.run(function)
        except BaseException as error:  # raised where it is waited for
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=work, name="hokusai-strategy", daemon=True).start()
    result, failure = await over
    if failure is not None:
        raise failure
    return result
