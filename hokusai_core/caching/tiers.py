"""The cache stage: the memory tier and an optional persistent tier, whose failures do not fail an execution."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from hokusai_core.cache_entry import CacheEntry
from hokusai_core.errors import CacheError, CacheWarning
from hokusai_core.loggers import AreaLogger
from hokusai_core.process import check_fork_safe, fork_callbacks, made_after_fork
from hokusai_core.protocols import CacheLeases, secret_problems
from hokusai_core.redaction import scrub

if TYPE_CHECKING:
    from concurrent.futures import Future

    from hokusai_core.cache_lease import CacheLease
    from hokusai_core.caching import MemoryCache
    from hokusai_core.protocols import Cache

__all__ = ["CacheTiers"]

T = TypeVar("T")

#: Seconds for which a persistent tier that failed is left alone: the first time, and the longest.
_LOG: Final = AreaLogger("cache")
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 15.0
#: Different causes that are warned about; a cache whose every message is new must not flood the log.
_WARNINGS = 8


class CacheTiers:
    """Looks answers up and stores them.

    Reading and writing are given up and tried again apart from each other: a store that is full or locked against
    writers goes on serving what it has.

    Args:
        memory: the first tier.
        persistent: the tier behind it, or None.
        name: how the persistent tier is called in warnings.
        remake: makes the persistent tier again in a forked process; None for one that the host has passed.
    """

    def __init__(
        self,
        memory: MemoryCache,
        persistent: Cache | None,
        name: str = "",
        *,
        remake: Callable[[], Cache | None] | None = None,
    ) -> None:
        self.memory, self._persistent, self._name, self._remake = memory, persistent, name, remake
        #: The persistent tier of the parent process, until it is known what takes its place here.
        self._inherited: list[Cache] = []
        self._undecided = False
        self._reading, self._writing, self._asking, self._leasing = _Health(), _Health(), _Health(), _Health()
        self._leases_of: tuple[Cache | None, bool] = None, False
        self._lock = threading.Lock()
        self._warned: set[str] = set()
        self._last_error: str | None = None
        self._secret: bytes | None = None
        fork_callbacks.add(self._after_fork)

    @property
    def persistent(self) -> Cache | None:
        """The second tier, or None.

        Raises:
            ForkError: it was made before this process was forked and does not work here.
        """
        if self._undecided:
            self._take_over()
        return self._persistent

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        self._reading, self._writing, self._asking, self._leasing = _Health(), _Health(), _Health(), _Health()
        self._undecided = self._persistent is not None

    def _take_over(self) -> None:
        """Decide in a forked process, at the first use, what becomes of the parent's persistent tier."""
        with self._lock:
            inherited = self._persistent
            if not self._undecided or inherited is None:
                return
            if self._remake is None:
                check_fork_safe("cache", self._name, inherited)
            elif made_after_fork(inherited):
                self._inherited.append(inherited)  # kept, as closing it would close what the parent uses
                self._persistent = self._remake()
            self._undecided = False

    @property
    def secret(self) -> bytes:
        """The secret that sensitive inputs are hashed with; the memory tier's own while the store has none to give.

        A store that was down is not asked again here, where an event loop would stand still for it: the first
        look-up that succeeds brings its secret along.
        """
        if self._secret is None and not self._reading.failures and not self._asking.failures:
            self._learn_secret()
        return self._secret or self.memory.secret

    def remembered(self, key: str, now: float, ttl: float | None) -> CacheEntry | None:
        """Return the entry of the memory tier that may be served at ``now``."""
        entry = self.memory.get(key)
        if entry is None or (ttl is None and entry.expires_at is None):
            return entry
        return None if entry.expired(now, ttl) else entry

    def look_up(
        self, key: str, now: float, ttl: float | None, fits: Callable[[CacheEntry], bool] | None = None
    ) -> CacheEntry | None:
        """Return the entry of the persistent tier that may be served; remembering it is left to the caller.

        Args:
            key: what it is stored under.
            now: seconds since the epoch.
            ttl: age in seconds from which on it may not be served.
            fits: says whether the outputs in it are those of the signature; one that does not fit is never served.
        """
        entry = self._guarded(lambda cache: _checked(key, cache.get(key)), self._reading)
        self._learn_secret()
        return self._served(entry, now, ttl, fits)

    async def alook_up(
        self, key: str, now: float, ttl: float | None, fits: Callable[[CacheEntry], bool] | None = None
    ) -> CacheEntry | None:
        """Async version of ``look_up``."""

        async def read(cache: Cache) -> CacheEntry | None:
            return _checked(key, await cache.aget(key))

        entry = await self._aguarded(read, self._reading)
        self._learn_secret()
        return self._served(entry, now, ttl, fits)

    def read(self, key: str) -> CacheEntry | None:
        """Return the entry of the persistent tier, whether it may be served or not, and let through what goes wrong."""
        cache = self.persistent
        return None if cache is None else _checked(key, cache.get(key))

    def remember(self, entry: CacheEntry) -> None:
        """Keep ``entry`` in the memory tier."""
        self.memory.put(entry)

    def persist(self, entry: CacheEntry, lease: CacheLease | None = None) -> None:
        """Store ``entry`` in the persistent tier.

        Args:
            entry: what to store.
            lease: the lease on its key, where the caller holds it; if another process has it by now, nothing is stored.
        """
        if lease is None:
            self._guarded(lambda cache: cache.put(entry), self._writing)
        elif self._guarded(lambda cache: _leases(cache).publish(entry, lease), self._writing) is False:
            _note_fenced(entry)

    async def apersist(self, entry: CacheEntry, lease: CacheLease | None = None) -> None:
        """Async version of ``persist``."""
        if lease is None:
            await self._aguarded(lambda cache: cache.aput(entry), self._writing)
        elif await self._aguarded(lambda cache: _leases(cache).apublish(entry, lease), self._writing) is False:
            _note_fenced(entry)

    # -- leases -------------------------------------------------------------------------------------------------

    @property
    def gives_leases(self) -> bool:
        """Whether processes that share the persistent tier share calls."""
        cache = self.persistent
        known, gives = self._leases_of
        if known is not cache:  # looking at all methods takes a while
            gives = isinstance(cache, CacheLeases)
            self._leases_of = cache, gives
        return gives

    def lease(self, key: str) -> CacheLease | None:
        """Take the lease on ``key``, or return that of who has it; None where the tier does not answer."""
        if self._reading.resting:
            return None
        return self._guarded(lambda cache: _leases(cache).lease(key), self._leasing)

    async def alease(self, key: str) -> CacheLease | None:
        """Async version of ``lease``."""
        if self._reading.resting:
            return None
        return await self._aguarded(lambda cache: _leases(cache).alease(key), self._leasing)

    def lease_end(self, lease: CacheLease) -> Future[None] | None:
        """Return a future that is done when another's lease has ended; None where the tier does not answer."""
        return self._guarded(lambda cache: _leases(cache).lease_end(lease), self._leasing)

    def lease_failed(self, error: Exception) -> None:
        """Count a failure of the tier while a lease was waited for."""
        self._failed(error, self._leasing, time.monotonic())

    def release(self, lease: CacheLease) -> None:
        """End a lease; harmless after ``persist``."""
        self._guarded(lambda cache: _leases(cache).release(lease), _Health())

    def stats(self) -> dict[str, Any]:
        """Return the figures of every tier, and how often the persistent one failed."""
        figures: dict[str, Any] = {"memory": dict(self.memory.stats())}
        cache = self.persistent
        if cache is not None:
            describe = getattr(cache, "stats", None)
            described = None if describe is None else self._guarded(lambda _cache: dict(describe()), self._reading)
            figures["persistent"] = {
                "tier": cache.tier,
                **(described or {}),
                "failures": sum(
                    health.failures for health in (self._reading, self._writing, self._asking, self._leasing)
                ),
                "last_error": self._last_error,
            }
        return figures

    def close(self) -> None:
        """Close every tier."""
        self.memory.close()
        if not self._undecided:  # else it belongs to the parent process
            self._guarded(lambda cache: cache.close(), _Health())

    def _learn_secret(self) -> None:
        if self._secret is None and not self._reading.resting:
            self._secret = self._guarded(_secret_of, self._asking)

    def _served(
        self, entry: CacheEntry | None, now: float, ttl: float | None, fits: Callable[[CacheEntry], bool] | None
    ) -> CacheEntry | None:
        if entry is None or entry.expired(now, ttl):
            return None
        if fits is not None and not fits(entry):
            self._note(f"an entry of {entry.signature} holds no outputs of that signature; it was not served")
            return None
        return entry

    def _guarded(self, work: Callable[[Cache], T], health: _Health) -> T | None:
        cache = self.persistent
        if cache is None or health.resting:
            return None
        began = time.monotonic()
        try:
            value = work(cache)
        except Exception as error:  # whatever a cache does wrong must not stop an execution
            self._failed(error, health, began)
            return None
        health.succeeded()
        return value

    async def _aguarded(self, work: Callable[[Cache], Awaitable[T]], health: _Health) -> T | None:
        cache = self.persistent
        if cache is None or health.resting:
            return None
        began = time.monotonic()
        try:
            value = await work(cache)
        except Exception as error:
            self._failed(error, health, began)
            return None
        health.succeeded()
        return value

    def _failed(self, error: Exception, health: _Health, began: float) -> None:
        health.failed(began)
        self._note(scrub(str(error)) or type(error).__name__)

    def _note(self, cause: str) -> None:
        _LOG.warning("cache %s is out of order: %s", self._name, cause)
        with self._lock:
            self._last_error = cause
            if cause in self._warned or len(self._warned) >= _WARNINGS:
                return
            self._warned.add(cause)
        warnings.warn(
            f"cache {self._name!r}: {cause}. Executions go on with the memory cache, and the persistent one is tried "
            "again from time to time; executor.stats()['cache'] counts failures",
            CacheWarning,
            stacklevel=3,
        )


def _checked(key: str, found: Any) -> CacheEntry | None:
    """Return what a cache has found. Raise if it is not an entry for ``key``, because a cache may have a bug."""
    if found is None:
        return None
    if not isinstance(found, CacheEntry):
        raise CacheError(f"its get() returned {type(found).__name__} instead of a CacheEntry")
    if found.key != key or type(found.outputs) is not bytes:
        raise CacheError("its get() returned an entry that was not stored under that key")
    return found


def _secret_of(cache: Cache) -> bytes:
    """Return the secret of a cache. Raise if it is none: without one, keys would tell sensitive values."""
    secret = cache.secret
    if problems := secret_problems(secret):
        raise CacheError(problems[0])
    return secret


def _leases(cache: Any) -> CacheLeases:
    """Return a cache as one that gives leases, as ``gives_leases`` has said."""
    leases: CacheLeases = cache
    return leases


def _note_fenced(entry: CacheEntry) -> None:
    _LOG.info("an answer of %s was not stored: another process has taken over the call", entry.signature)


class _Health:
    """Whether one way of using the persistent tier works, and until when it is left alone where it does not."""

    def __init__(self) -> None:
        self.failures = 0
        self._pause = 0.0
        self._since = self._until = 0.0

    @property
    def resting(self) -> bool:
        """Whether it failed a short while ago: a store that blocks before it fails would slow every execution."""
        return self._pause > 0.0 and time.monotonic() < self._until

    def failed(self, began: float) -> None:
        """Leave it alone, each time for longer; what ``began`` before it was known to fail is the same failure."""
        self.failures += 1
        if self._pause and began <= self._since:
            return
        self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LONGEST_PAUSE)
        self._since = time.monotonic()
        self._until = self._since + self._pause

    def succeeded(self) -> None:
        """Trust it again."""
        if self._pause:
            self._pause = 0.0
