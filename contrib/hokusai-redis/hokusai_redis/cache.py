"""RedisCache: answers on a Redis or Valkey server that processes and machines share."""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final

from hokusai_core.errors import CacheError, CacheWarning, ConfigurationError, DamagedEntryError
from hokusai_core.plugin_api import CacheEntry, CacheLease
from hokusai_redis.faults import FAULTS, explain_fault
from hokusai_redis.lease_keeper import LeaseKeeper
from hokusai_redis.maintenance import count_entries, read_entries, remove_entries
from hokusai_redis.names import KeyNames
from hokusai_redis.scripts import DROP, FIND_SECRET, LEASE, STORE, TEND
from hokusai_redis.server import Server

__all__ = ["RedisCache"]

#: Seconds for which the record of a lease outlives the lease, so that a holder that was paused may still store.
_PATIENCE: Final = 600.0


class RedisCache:
    """A cache of executions on a Redis or Valkey server. Nothing that is read back is executed.

    Nothing is connected before the first use. Identical executions at the same time make one call, also across
    processes and machines: one holds a lease and calls, and the others wait for its answer.

    Args:
        url: ``redis://user:password@host:6379/0``, ``rediss://`` for TLS, ``unix://`` or ``valkey://``. Left out,
            ``HOKUSAI_REDIS_URL``, else ``redis://127.0.0.1:6379/0``. ``HOKUSAI_REDIS_USERNAME`` and
            ``HOKUSAI_REDIS_PASSWORD`` hold where the URL has none.
        prefix: what all keys on the server begin with; left out, ``HOKUSAI_REDIS_PREFIX``, else ``hokusai``.
        timeout: seconds to wait for a connection, and for each answer of the server.
        lease: seconds after which another process makes the call of one that was killed.
        max_age: seconds after which the server forgets an answer that has no time to live of its own; None for never.

    Raises:
        ConfigurationError: an argument has a value that cannot be used.

    Example::

        with Executor(cache=RedisCache("redis://127.0.0.1:6379/0", prefix="mails")) as executor:
            executor.execute_signature("EmailDraft", inputs)
    """

    tier = "redis"
    fork_safe = True

    def __init__(
        self,
        url: str | None = None,
        *,
        prefix: str | None = None,
        timeout: float = 2.0,
        lease: float = 10.0,
        max_age: float | None = None,
    ) -> None:
        for name, seconds, low, high in (("timeout", timeout, 0.01, 60.0), ("lease", lease, 0.1, 3600.0)):
            if not low <= seconds <= high:
                raise ConfigurationError(f"{name}={seconds!r}: expected {low:g} to {high:g} seconds")
        if max_age is not None and not max_age >= 1:
            raise ConfigurationError(f"max_age={max_age!r}: expected at least one second, or None")
        self._server = Server(url, timeout)
        self._names = KeyNames(prefix or os.environ.get("HOKUSAI_REDIS_PREFIX") or "hokusai")
        self._max_age, self._lease_ms = max_age, int(lease * 1000)
        self._known_secret: bytes | None = None
        self._keeper = LeaseKeeper(self._tend, lease)
        self._damaged = 0
        self._warned: set[str] = set()

    @property
    def secret(self) -> bytes:
        """The secret of the store, 32 random bytes that all processes share.

        Raises:
            CacheError: the server does not answer.
        """
        return self._known_secret or self._learn_secret()

    def get(self, key: str) -> CacheEntry | None:
        """Return the entry stored under ``key``; None if there is none, or no entry that this store wrote.

        Raises:
            CacheError: the server does not answer; says why and what to do.
        """
        client = self._server.client()
        data = b""
        try:
            data = client.get(self._names.entry(key))
            return None if data is None else CacheEntry.from_bytes(key, data, self.secret)
        except DamagedEntryError:
            return self._read_again(key, data)
        except CacheError:
            raise
        except FAULTS as error:
            if _is_foreign(error):
                return None
            raise explain_fault(error, self._server.address) from error

    async def aget(self, key: str) -> CacheEntry | None:
        """Async version of ``get``."""
        client = await self._server.loop_client()
        data = b""
        try:
            if self._known_secret is None:  # the property would block the event loop
                await self._alearn_secret()
            data = await client.get(self._names.entry(key))
            return None if data is None else CacheEntry.from_bytes(key, data, self.secret)
        except DamagedEntryError:
            entry = self._entry(key, data, await self._alearn_secret())
            if entry is None:
                await self._arun(DROP, [self._names.entry(key)], [data])
            return entry
        except CacheError:
            raise
        except FAULTS as error:
            if _is_foreign(error):
                return None
            raise explain_fault(error, self._server.address) from error

    def put(self, entry: CacheEntry) -> None:
        """Store ``entry`` under its key, replacing what was there.

        Raises:
            CacheError: the server does not take it; says why and what to do.
        """
        self._store(entry, "")

    async def aput(self, entry: CacheEntry) -> None:
        """Async version of ``put``."""
        await self._astore(entry, "")

    # -- leases -------------------------------------------------------------------------------------------------

    def lease(self, key: str) -> CacheLease:
        """Take the lease on ``key`` if no one holds it.

        Raises:
            CacheError: the server does not answer.
        """
        token = _make_token()
        return self._leased(key, token, self._run(LEASE, [self._names.lease(key)], self._lease_options(token)))

    async def alease(self, key: str) -> CacheLease:
        """Async version of ``lease``."""
        token = _make_token()
        holder = await self._arun(LEASE, [self._names.lease(key)], self._lease_options(token))
        return self._leased(key, token, holder)

    def lease_end(self, lease: CacheLease) -> Future[None]:
        """Return a future that is done when another's lease has ended; it raises ``CacheError`` if the server fails."""
        return self._keeper.end_of(lease.key, lease.token)

    def publish(self, entry: CacheEntry, lease: CacheLease) -> bool:
        """Store ``entry`` and end the lease; return False if a later lease was given, and store nothing.

        Raises:
            CacheError: the server does not take it.
        """
        stored = self._store(entry, lease.token)
        self._keeper.drop(lease.key, lease.token)
        return stored

    async def apublish(self, entry: CacheEntry, lease: CacheLease) -> bool:
        """Async version of ``publish``."""
        stored = await self._astore(entry, lease.token)
        self._keeper.drop(lease.key, lease.token)
        return stored

    def release(self, lease: CacheLease) -> None:
        """End a held lease without an answer, soon and in the background; harmless after ``publish``."""
        self._keeper.release(lease.key, lease.token)

    # -- maintenance --------------------------------------------------------------------------------------------

    def entries(self, signature: str | None = None) -> Iterator[CacheEntry]:
        """Yield the stored entries, of one signature where it is named. What is damaged is dropped on the way.

        Raises:
            CacheError: the server does not answer.
        """
        client, secret = self._server.client(), self._learn_secret()
        try:
            for name, key, data in read_entries(client, self._names):
                entry = self._entry(key, data, secret)
                if entry is None:
                    self._run(DROP, [name], [data])
                elif signature is None or entry.signature == signature:
                    yield entry
        except CacheError:
            raise
        except FAULTS as error:
            raise explain_fault(error, self._server.address) from error

    def remove(self, *, signature: str | None = None, older_than: float | None = None) -> int:
        """Remove entries of one signature, or stored more than ``older_than`` seconds ago, or all; return how many.

        Raises:
            CacheError: the server does not answer, or takes no writes.
        """
        client = self._server.client()
        before = None if older_than is None else time.time() - older_than
        try:
            if signature is None and before is None:
                return remove_entries(client, self._names)
            doomed = (entry.key for entry in self.entries(signature) if before is None or entry.created_at < before)
            return remove_entries(client, self._names, doomed)
        except CacheError:
            raise
        except FAULTS as error:
            raise explain_fault(error, self._server.address) from error

    def stats(self) -> Mapping[str, Any]:
        """Return JSON-able figures: where the store is, entries, bytes, and the damage that this object has met.

        Counting goes through the keys of the server. It ends after a second; ``counted`` then says ``in part``.

        Raises:
            CacheError: the server does not answer.
        """
        try:
            entries, size, whole = count_entries(self._server.client(), self._names)
        except FAULTS as error:
            raise explain_fault(error, self._server.address) from error
        return {
            "tier": self.tier,
            "location": self._server.address,
            "prefix": self._names.prefix,
            "entries": entries,
            "bytes": size,
            "counted": "in full" if whole else "in part",
            "damaged_entries": self._damaged,
            "leases_held": self._keeper.held,
        }

    def close(self) -> None:
        """End leases and connections; calling it twice is harmless."""
        self._keeper.close()
        self._server.close()

    # -- one request --------------------------------------------------------------------------------------------

    def _run(self, script: str, keys: Sequence[str | bytes], arguments: Sequence[Any]) -> Any:
        client = self._server.client()
        try:
            return client.register_script(script)(keys, arguments)
        except FAULTS as error:
            raise explain_fault(error, self._server.address) from error

    async def _arun(self, script: str, keys: Sequence[str | bytes], arguments: Sequence[Any]) -> Any:
        client = await self._server.loop_client()
        try:
            return await client.register_script(script)(keys, arguments)
        except FAULTS as error:
            raise explain_fault(error, self._server.address) from error

    def _store(self, entry: CacheEntry, token: str) -> bool:
        keys, secret = self._store_keys(entry), self.secret
        for _ in range(3):
            stored = self._run(STORE, keys, self._store_arguments(entry, secret, token))
            if not isinstance(stored, bytes):
                return bool(stored)
            secret = self._learn_secret()  # the store was emptied, and another process has made a secret
        raise CacheError(f"the secret of the store at {self._server.address} changes all the time")

    async def _astore(self, entry: CacheEntry, token: str) -> bool:
        keys, secret = self._store_keys(entry), self._known_secret or await self._alearn_secret()
        for _ in range(3):
            stored = await self._arun(STORE, keys, self._store_arguments(entry, secret, token))
            if not isinstance(stored, bytes):
                return bool(stored)
            secret = await self._alearn_secret()
        raise CacheError(f"the secret of the store at {self._server.address} changes all the time")

    def _store_keys(self, entry: CacheEntry) -> list[bytes]:
        return [self._names.entry(entry.key), self._names.secret, self._names.lease(entry.key)]

    def _store_arguments(self, entry: CacheEntry, secret: bytes, token: str) -> list[Any]:
        try:
            data = entry.to_bytes(secret)
        except (TypeError, ValueError) as error:
            raise CacheError(f"an answer of {entry.signature} cannot be stored ({type(error).__name__})") from error
        ages = [] if self._max_age is None else [self._max_age]
        if entry.expires_at is not None:
            ages.append(max(0.001, entry.expires_at - time.time()))
        return [data, max(1, int(min(ages) * 1000)) if ages else 0, secret, token]

    def _learn_secret(self) -> bytes:
        secret: bytes = self._run(FIND_SECRET, [self._names.secret], [secrets.token_bytes(32)])
        self._known_secret = secret
        return secret

    async def _alearn_secret(self) -> bytes:
        secret: bytes = await self._arun(FIND_SECRET, [self._names.secret], [secrets.token_bytes(32)])
        self._known_secret = secret
        return secret

    def _read_again(self, key: str, data: bytes) -> CacheEntry | None:
        """Read what did not fit the secret that was known; drop it if it does not fit the one of the store, either."""
        entry = self._entry(key, data, self._learn_secret())
        if entry is None:
            self._run(DROP, [self._names.entry(key)], [data])
        return entry

    def _entry(self, key: str, data: bytes, secret: bytes) -> CacheEntry | None:
        try:
            return CacheEntry.from_bytes(key, data, secret)
        except (DamagedEntryError, UnicodeError):
            self._damaged += 1
            self._warn(
                f"the cache at {self._server.address} held entries that it never wrote, or that were damaged; they are "
                "dropped. If this goes on, look at who can write to that server"
            )
            return None

    # -- leases, inside -----------------------------------------------------------------------------------------

    def _lease_options(self, token: str) -> list[Any]:
        return [token, self._lease_ms, self._lease_ms + int(_PATIENCE * 1000)]

    def _leased(self, key: str, token: str, holder: bytes) -> CacheLease:
        found = holder.decode("ascii", "replace")
        held = found == token
        if held:
            self._keeper.hold(key, token)
        own, _, thread = found.partition(":")[0].rpartition("-")
        return CacheLease(key, found, held, int(thread) if own == _process() and thread.isdecimal() else 0)

    def _tend(self, what: str, leases: Sequence[tuple[str, str]]) -> list[int]:
        keys = [self._names.lease(key) for key, _ in leases]
        options = [what, self._lease_ms, self._lease_ms + int(_PATIENCE * 1000)]
        held: list[int] = self._run(TEND, keys, [*options, *(token for _, token in leases)])
        return held

    def _warn(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            warnings.warn(message, CacheWarning, stacklevel=4)


def _process() -> str:
    """Return what tells this process from others, without saying which it is."""
    return hashlib.blake2b(f"{socket.gethostname()} {os.getpid()}".encode(), digest_size=8).hexdigest()


def _make_token() -> str:
    return f"{_process()}-{threading.get_ident()}:{secrets.token_hex(8)}"


def _is_foreign(error: BaseException) -> bool:
    """Return whether a key holds something else than text, which this cache never stores."""
    return str(error).startswith("WRONGTYPE")
