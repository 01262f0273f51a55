"""Server: where the answers are, and connections to it for threads and for event loops."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator
from typing import Any, Final
from urllib.parse import urlsplit

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ServerConnectionError
from redis.retry import Retry

from hokusai_core.errors import CacheError, ConfigurationError
from hokusai_core.plugin_api import fork_callbacks

__all__ = ["Server"]

_DEFAULT_URL: Final = "redis://127.0.0.1:6379/0"
_SCHEMES: Final = {"redis": "redis", "rediss": "rediss", "unix": "unix", "valkey": "redis", "valkeys": "rediss"}
#: Connections of the threads of a process, and of each event loop; who finds none free waits for one.
_CONNECTIONS: Final = 64


class Server:
    """A Redis or Valkey server. Connections are made when they are first needed.

    Args:
        url: ``redis://``, ``rediss://`` (TLS), ``unix://``, ``valkey://`` or ``valkeys://``; what follows ``?`` are
            options of redis-py, such as ``ssl_ca_certs``.
        timeout: seconds to wait for a connection, and for each answer.

    Raises:
        ConfigurationError: the URL cannot be used. The message does not show it, because it may hold a password.
    """

    def __init__(self, url: str | None, timeout: float) -> None:
        environ = os.environ
        given = url or environ.get("HOKUSAI_REDIS_URL") or _DEFAULT_URL
        where = "url" if url else "HOKUSAI_REDIS_URL"
        self._url, self.address = _read_url(given, where)
        self._options: dict[str, Any] = {
            "username": environ.get("HOKUSAI_REDIS_USERNAME") or None,
            "password": environ.get("HOKUSAI_REDIS_PASSWORD") or None,
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            "max_connections": _CONNECTIONS,
            "timeout": max(5.0, 2 * timeout),
            "protocol": 2,
        }
        self._lock = threading.Lock()
        self._client: Any = None
        self._loop_clients: dict[asyncio.AbstractEventLoop, tuple[Any, AsyncGenerator[None]]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False
        #: Clients of the parent process. They are kept, since closing one would disturb the parent.
        self._inherited: list[Any] = []
        fork_callbacks.add(self._after_fork)
        try:
            pool = self._make_client().connection_pool
            pool.make_connection()
        except (ValueError, TypeError, redis.RedisError) as error:
            # The text of the error may quote the URL.
            raise ConfigurationError(
                f"{where}: redis-py does not take an option of the URL of the server at {self.address} "
                f"({type(error).__name__})"
            ) from None
        if pool.connection_kwargs.get("decode_responses"):
            raise ConfigurationError(f"{where}: answers are bytes; leave decode_responses out of the URL")

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        self._inherited += [self._client, self._loop_clients, self._closing]
        self._client, self._loop_clients, self._closing = None, {}, set()

    def client(self) -> Any:
        """Return the client for threads.

        Raises:
            CacheError: this cache is closed.
        """
        client = self._client
        if client is None:
            with self._lock:
                self._check_open()
                client = self._client = self._client or self._make_client()
        return client

    async def loop_client(self) -> Any:
        """Return the client for the running event loop; its connections are closed with that loop.

        Raises:
            CacheError: this cache is closed.
        """
        loop = asyncio.get_running_loop()
        found = self._loop_clients.get(loop)
        if found is None:
            self._check_open()
            client = self._make_loop_client()
            closing = self._close_with_loop(loop, client)
            with self._lock:
                for ended in [known for known in self._loop_clients if known.is_closed()]:
                    del self._loop_clients[ended]
                self._loop_clients[loop] = found = client, closing
            await anext(closing)  # event loops end the asynchronous generators that were begun on them
        return found[0]

    def close(self) -> None:
        """Close the connections; calling it twice is harmless."""
        with self._lock:
            self._closed = True
            client, self._client = self._client, None
            loop_clients = list(self._loop_clients.items())
        if client is not None:
            client.connection_pool.disconnect()
        for loop, (_, closing) in loop_clients:
            if loop.is_running():
                try:
                    loop.call_soon_threadsafe(self._close_soon, loop, closing)
                except RuntimeError:  # it was closed meanwhile, and its connections with it
                    continue

    # -- parts --------------------------------------------------------------------------------------------------

    def _make_client(self) -> Any:
        retry = Retry(NoBackoff(), 1, (ServerConnectionError,))  # a server that was restarted has cut connections
        pool = redis.BlockingConnectionPool.from_url(self._url, retry=retry, **self._options)
        return redis.Redis(connection_pool=pool)

    def _make_loop_client(self) -> Any:
        retry = AsyncRetry(NoBackoff(), 1, (ServerConnectionError,))
        pool = redis.asyncio.BlockingConnectionPool.from_url(self._url, retry=retry, **self._options)
        return redis.asyncio.Redis(connection_pool=pool)

    async def _close_with_loop(self, loop: asyncio.AbstractEventLoop, client: Any) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            with self._lock:
                self._loop_clients.pop(loop, None)
            await client.aclose()
            await client.connection_pool.disconnect()

    def _close_soon(self, loop: asyncio.AbstractEventLoop, closing: AsyncGenerator[None]) -> None:
        task = loop.create_task(_end(closing))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _check_open(self) -> None:
        if self._closed:
            raise CacheError("this cache is closed; make a new one")


async def _end(generator: AsyncGenerator[None]) -> None:
    await generator.aclose()


def _read_url(given: str, where: str) -> tuple[str, str]:
    """Return a URL as redis-py takes it, and the address in it without credentials and options."""
    try:
        parts = urlsplit(given)
        port = parts.port
    except ValueError:
        raise ConfigurationError(f"{where}: expected a URL such as {_DEFAULT_URL}; its port is not a number") from None
    scheme = _SCHEMES.get(parts.scheme)
    if scheme is None:
        raise ConfigurationError(f"{where}: expected a URL that begins with {', '.join(f'{s}://' for s in _SCHEMES)}")
    path = parts.path.strip("/")
    if scheme != "unix" and path and not path.isdecimal():
        raise ConfigurationError(f"{where}: expected the number of a database after the port, as in {_DEFAULT_URL}")
    if scheme == "unix":
        address = f"unix://{parts.path}"
    else:
        host = parts.hostname or "localhost"
        address = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port or 6379}/{path or 0}"
    return f"{scheme}://{given.partition('://')[2]}", address
