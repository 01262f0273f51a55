"""DSPy's HTTP transports, with deadlines for blocking calls and a bound on the connections that nothing uses."""

from __future__ import annotations

import time
from concurrent.futures import Future
from functools import partial
from typing import Any

from dspy import settings
from dspy._vendor.lm15.transports import ConnectTimeout, StdlibAsyncTransport, StdlibTransport

from hokusai_core.runtime.worker_threads import WorkerThreads

__all__ = ["AsyncTransport", "DeadlineTransport"]

#: Bytes that are sent at once; the deadline is looked at in between.
_SENT_AT_ONCE = 262_144
#: Connections that are kept for later calls. A wide batch must not leave hundreds of them open.
_MOST_IDLE = 128


class DeadlineTransport(StdlibTransport):
    """Keeps to the deadline that the DSPy setting ``hokusai_deadline`` gives, from the connection to the last byte.

    DSPy's own transport bounds each wait for the network by itself. An answer that trickles in would never end.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._threads = WorkerThreads(keep=0)

    def _open(self, *target: Any, **options: Any) -> Any:
        connect = partial(super()._open, *target, **options)
        remaining = _remaining()
        connection = connect() if remaining is None else self._within(remaining, connect)
        connection.sock = _DeadlineSocket(connection.sock)
        return connection

    def _make_release(self, connection: Any, keep_alive: bool) -> Any:
        return super()._make_release(connection, keep_alive and self.pool_stats()["idle"] < _MOST_IDLE)

    def _within(self, seconds: float, connect: Any) -> Any:
        """Connect on a thread, since nothing bounds how long the look-up of a host's name takes."""
        future = self._threads.submit(connect)
        try:
            return future.result(timeout=max(0.0, seconds))
        except TimeoutError:
            raise ConnectTimeout("the deadline passed before the connection was there") from None
        finally:
            if not future.done():
                future.add_done_callback(_close_late)


class AsyncTransport(StdlibAsyncTransport):
    """DSPy's asynchronous transport. Cancelling a call closes its connection."""

    def _make_release(self, connection: Any, keep_alive: bool) -> Any:
        return super()._make_release(connection, keep_alive and self.pool_stats()["idle"] < _MOST_IDLE)


def _close_late(future: Future[Any]) -> None:
    if future.exception() is None:
        future.result().close()


def _remaining() -> float | None:
    deadline = settings.get("hokusai_deadline")
    return None if deadline is None else deadline - time.monotonic()


class _DeadlineSocket:
    """A socket whose operations end at the deadline of the call that uses it, or earlier if their own timeout does.

    Args:
        sock: a connected socket, with TLS or without.
    """

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self.close, self.fileno, self.settimeout = sock.close, sock.fileno, sock.settimeout

    def recv(self, size: int) -> bytes:
        """Receive at most ``size`` bytes."""
        self._limit()
        received: bytes = self._sock.recv(size)
        return received

    def sendall(self, data: bytes) -> None:
        """Send all of ``data``."""
        for start in range(0, len(data), _SENT_AT_ONCE):
            self._limit()
            self._sock.sendall(data[start : start + _SENT_AT_ONCE])

    def _limit(self) -> None:
        remaining = _remaining()
        if remaining is None:
            return
        if remaining <= 0:
            raise TimeoutError("the deadline passed")
        timeout = self._sock.gettimeout()
        if timeout is None or remaining < timeout:
            self._sock.settimeout(remaining)
