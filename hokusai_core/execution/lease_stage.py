"""The lease stage: processes that share a cache make one call for identical executions at the same time."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from hokusai_core.errors import CacheError
from hokusai_core.execution.attempts import too_late, under_way
from hokusai_core.runtime.drivers import Abandoned, Operation, OwnThread, Step, Wait

if TYPE_CHECKING:
    from hokusai_core.cache_entry import CacheEntry
    from hokusai_core.cache_lease import CacheLease
    from hokusai_core.caching.tiers import CacheTiers
    from hokusai_core.execution.state import ExecutionState

__all__ = ["take_lead"]

Found = Generator[Operation, Any, tuple["CacheEntry | None", str]]


def take_lead(state: ExecutionState, cache: CacheTiers, look_up: Callable[[ExecutionState], Found]) -> Found:
    """Take the lease on the key of an execution, or wait for its holder; return the answer that is there by then.

    Without an answer, the execution makes the call: with ``state.lease``, or without one if the cache fails.

    Args:
        state: the execution.
        cache: the cache tiers, which give leases.
        look_up: looks into the persistent tier.

    Raises:
        DeadlineExceeded: the time of the execution ends before that of the holder's call.
    """
    key = state.key or ""
    while True:
        lease: CacheLease | None = yield Step(lambda: cache.lease(key), lambda: cache.alease(key))
        if lease is None:
            return None, ""
        if lease.held:
            state.lease = lease
        elif not (yield from _wait(state, cache, lease)):
            return None, ""
        entry, tier = yield from look_up(state)  # an earlier holder may just have stored it
        if entry is not None or lease.held:
            return entry, tier


def _wait(state: ExecutionState, cache: CacheTiers, lease: CacheLease) -> Generator[Operation, Any, bool]:
    """Wait until a lease of another process has ended; return whether to look again."""
    future = cache.lease_end(lease)
    if future is None:
        return False
    try:
        yield Wait(future, lease.thread, state.deadline, state.permit)
    except OwnThread:  # the holder is a task of an event loop that this thread blocks
        return False
    except CacheError as error:
        cache.lease_failed(error)
        return False
    except Abandoned as abandoned:
        raise too_late(state, under_way(stopped=abandoned.stopped)) from None
    return True
