"""Runs an application until a signal ends it: bounds the time of headers, and lets requests finish at the end."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from hokusai_serve.gate import Gate
from hokusai_serve.limits import ServeLimits
from hokusai_serve.problems import MEDIA_TYPE, Problem

__all__ = ["listen", "make_server"]

#: Bytes of the headers of a request.
_HEADER_BYTES: Final = 64 * 1024
_KEEP_ALIVE: Final = 15


class _Server(uvicorn.Server):
    """Refuses new requests after a signal, and ends when those in flight are over or the time has passed."""

    def __init__(
        self, config: uvicorn.Config, gate: Gate, limits: ServeLimits, tell: Callable[[str], None] | None
    ) -> None:
        super().__init__(config)
        self._gate, self._limits, self._tell = gate, limits, tell
        self._end: float | None = None

    async def startup(self, sockets: Any = None) -> None:
        """Listen, and tell the address."""
        await super().startup(sockets)
        if self.started and self._tell is not None:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self._tell(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end; a second signal ends at once."""
        if self._end is None:  # it is not raised again at the end: what follows `run` still has to be closed
            self._end = time.monotonic() + self._limits.drain_seconds
            self._gate.drain()
        else:
            self.should_exit = self.force_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Return whether the server ends now."""
        if self._end is not None and (self._gate.active == 0 or time.monotonic() >= self._end):
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: Any = None) -> None:
        """Close what is open. Requests that are still in flight have had their time, and are cancelled."""
        self.config.timeout_graceful_shutdown = 1
        await super().shutdown(sockets)


def _protocol_class(limits: ServeLimits) -> type[H11Protocol]:
    """Return the protocol of a connection that closes it where the headers of a request do not arrive in time."""

    class _BoundedHeaders(H11Protocol):
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
            super().connection_made(transport)
            self._await_headers()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._await_headers()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._await_headers()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            """Report a request that is not HTTP, in the form that all errors have."""
            body = Problem(400, "http", msg).to_json()
            headers = [("content-type", MEDIA_TYPE), ("content-length", str(len(body))), ("connection", "close")]
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                response = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
                for event in (response, h11.Data(data=body), h11.EndOfMessage()):
                    self.transport.write(self.conn.send(event) or b"")
            self.transport.close()

        def _await_headers(self) -> None:
            """Start the clock where no request is being answered, and stop it where one is."""
            answering = self.cycle is not None and not self.cycle.response_complete
            if answering or self.transport.is_closing():
                self._stop_waiting()
            elif self._timer is None:
                self._timer = self.loop.call_later(limits.header_seconds + self._idle, self._give_up)

        @property
        def _idle(self) -> float:
            """Seconds that a connection may be idle before its next request."""
            return 0.0 if self.cycle is None else float(self.timeout_keep_alive)

        def _stop_waiting(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _give_up(self) -> None:
            self._timer = None
            if not self.transport.is_closing():
                self.transport.close()

    return _BoundedHeaders


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to an address.

    Args:
        host: name or address.
        port: port; 0 for a free one.

    Raises:
        OSError: it cannot be bound.
    """
    found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    family, kind, protocol, _, address = min(found, key=lambda info: info[0] != socket.AF_INET)
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


def make_server(app: FastAPI, limits: ServeLimits, started: Callable[[str], None] | None = None) -> uvicorn.Server:
    """Return a server; its ``run(sockets=[...])`` blocks until SIGTERM or SIGINT.

    Args:
        app: what ``create_app`` has returned.
        limits: bounds.
        started: is called with the address when the server listens.
    """
    config = uvicorn.Config(
        app,
        http=_protocol_class(limits),
        ws="none",
        h11_max_incomplete_event_size=_HEADER_BYTES,
        timeout_keep_alive=_KEEP_ALIVE,
        backlog=2048,
        access_log=False,
        server_header=False,
        log_config=None,
    )
    return _Server(config, app.state.gate, limits, started)
