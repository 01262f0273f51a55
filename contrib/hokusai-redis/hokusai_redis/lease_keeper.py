"""LeaseKeeper: renews the leases of this process and looks at those of others, on one thread.

All leases that are due go into one request, so the requests do not grow with the executions that wait.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final, Literal

from attrs import define, field

from hokusai_core.errors import CacheError
from hokusai_core.plugin_api import fork_callbacks

__all__ = ["LeaseKeeper"]

#: Seconds between two looks at the leases of others: the least and the most; a tenth of the time waited lies between.
_SOONEST, _LATEST = 0.01, 0.25
#: Seconds after which a thread without work ends.
_IDLE: Final = 10.0
#: Leases in one request.
_PORTION: Final = 500

#: Key and token.
Lease = tuple[str, str]
#: Does something with leases on the server; returns for each whether it is held by its token.
Tend = Callable[[Literal["renew", "end", "look"], Sequence[Lease]], list[int]]


@define(eq=False)
class _Awaited:
    """A lease of another process that executions here wait for."""

    since: float
    end: Future[None] = field(factory=Future)


class LeaseKeeper:
    """The leases of one cache.

    Args:
        tend: renews, ends and looks at leases on the server; raises ``CacheError``.
        seconds: how long a lease lasts without renewal.
    """

    def __init__(self, tend: Tend, seconds: float) -> None:
        self._tend, self._seconds = tend, seconds
        self._changed = threading.Condition()
        #: (key, token) -> when it is to be renewed.
        self._held: dict[Lease, float] = {}
        self._released: list[Lease] = []
        self._awaited: dict[Lease, _Awaited] = {}
        self._next_look = 0.0
        self._thread: threading.Thread | None = None
        self._closed = False
        fork_callbacks.add(self._after_fork)

    def _after_fork(self) -> None:
        # The leases, the thread and those that wait belong to the parent process.
        self._changed = threading.Condition()
        self._held, self._released, self._awaited, self._thread = {}, [], {}, None

    @property
    def held(self) -> int:
        """How many leases this process holds."""
        return len(self._held)

    def hold(self, key: str, token: str) -> None:
        """Renew a lease from now on."""
        with self._changed:
            self._held[key, token] = time.monotonic() + self._seconds / 3
            self._work()

    def drop(self, key: str, token: str) -> bool:
        """Renew a lease no longer; return whether it was held."""
        with self._changed:
            return self._held.pop((key, token), None) is not None

    def release(self, key: str, token: str) -> None:
        """End a lease soon, if it is held."""
        with self._changed:
            if self._held.pop((key, token), None) is not None:
                self._released.append((key, token))
                self._work()

    def end_of(self, key: str, token: str) -> Future[None]:
        """Return a future that is done when another's lease has ended.

        Raises:
            CacheError: this cache is closed.
        """
        with self._changed:
            if self._closed:
                raise CacheError("this cache is closed; make a new one")
            awaited = self._awaited.get((key, token))
            if awaited is None:
                now = time.monotonic()
                awaited = self._awaited[key, token] = _Awaited(now)
                self._next_look = now + _SOONEST
            self._work()
            return awaited.end

    def close(self) -> None:
        """End the leases that are held, wait for that shortly, and let those go on that wait for others."""
        with self._changed:
            self._released += self._held
            self._held.clear()
            self._closed = True
            awaited, self._awaited = list(self._awaited.values()), {}
            thread = self._thread
            self._changed.notify_all()
        for one in awaited:
            one.end.set_exception(CacheError("the cache was closed"))
        if thread is not None and thread is not threading.current_thread():
            thread.join(5.0)

    # -- the thread ---------------------------------------------------------------------------------------------

    def _work(self) -> None:
        """Wake the thread, or start it; the caller has the lock."""
        if self._thread is None and not self._closed:
            thread = threading.Thread(target=self._run, name="hokusai-redis-leases", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no thread left: leases end by themselves, and who waits makes the call
                self._fail(CacheError("the system has no thread left for leases"))
                return
            self._thread = thread
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                pause = self._pause()
                if pause is None:
                    # Woken up, it looks again for what there is to do.
                    if self._closed or not self._changed.wait(_IDLE):
                        self._thread = None
                        return
                    continue
                if pause > 0:
                    self._changed.wait(pause)
                    continue
                work = self._due()
            self._do(*work)

    def _pause(self) -> float | None:
        """Return the seconds until something is due, None where nothing will be; the caller has the lock."""
        if self._released:
            return 0.0
        due = list(self._held.values())
        if self._awaited:
            due.append(self._next_look)
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _due(self) -> tuple[list[Lease], list[Lease], list[Lease]]:
        """Return the leases to renew, to end and to look at; the caller has the lock."""
        now = time.monotonic()
        renewed = [lease for lease, due in self._held.items() if due <= now]
        for lease in renewed:
            self._held[lease] = now + self._seconds / 3
        released, self._released = self._released, []
        awaited: list[Lease] = []
        if self._awaited and self._next_look <= now:
            awaited = list(self._awaited)
            waited = now - max(one.since for one in self._awaited.values())
            self._next_look = now + min(max(waited / 10, _SOONEST), _LATEST)
        return renewed, released, awaited

    def _do(self, renewed: list[Lease], released: list[Lease], awaited: list[Lease]) -> None:
        try:
            lost = self._over("renew", renewed)
            self._over("end", released)
            ended = self._over("look", awaited)
        except CacheError as error:  # leases end by themselves; executions that wait make the call
            with self._changed:
                self._fail(error)
            return
        with self._changed:
            for lease in lost:
                self._held.pop(lease, None)
            ends = [self._awaited.pop(lease).end for lease in ended if lease in self._awaited]
        for end in ends:
            end.set_result(None)

    def _over(self, what: Literal["renew", "end", "look"], leases: list[Lease]) -> list[Lease]:
        """Ask the server to do something with leases; return those that are not held by their token any more."""
        over = []
        for first in range(0, len(leases), _PORTION):
            portion = leases[first : first + _PORTION]
            over += [lease for lease, held in zip(portion, self._tend(what, portion), strict=True) if not held]
        return over

    def _fail(self, error: CacheError) -> None:
        awaited, self._awaited = list(self._awaited.values()), {}
        for one in awaited:
            one.end.set_exception(CacheError(str(error)))
