"""``async_twin``: the asynchronous version of a blocking method."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar

from hokusai_core.runtime.drivers import outcome
from hokusai_core.runtime.task_pool import TaskPool
from hokusai_core.runtime.worker_threads import WorkerThreads

__all__ = ["async_twin"]

S = TypeVar("S")
P = ParamSpec("P")
R = TypeVar("R")


def async_twin(
    method: Callable[Concatenate[S, P], R], *, threads: int = 8
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """Return the asynchronous version of a blocking method, which runs it on a thread.

    The method runs in a copy of the caller's context. A caller that is cancelled, such as by its deadline, goes on at
    once; the thread finishes its call and the result is dropped. The threads are daemons, so a call that hangs does not
    keep the process alive. A subclass that overrides the method gets its own version.

    Args:
        method: the method.
        threads: calls that run at once, of all objects of the class; further ones wait.

    Example:
        >>> class Shelf:
        ...     def get(self, key: str) -> str:
        ...         return key.upper()
        ...
        ...     aget = async_twin(get)
        >>> import asyncio
        >>> asyncio.run(Shelf().aget("a"))
        'A'
    """
    pool = TaskPool(WorkerThreads(keep=threads), threads)
    name = method.__name__

    async def twin(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        work: Callable[[], R] = partial(getattr(self, name), *args, **kwargs)
        return await outcome(pool.submit(work))

    twin.__name__ = f"a{name}"
    twin.__qualname__ = f"{method.__qualname__.removesuffix(name)}a{name}"
    twin.__module__ = method.__module__
    twin.__doc__ = f"Async version of ``{name}``."
    return twin
