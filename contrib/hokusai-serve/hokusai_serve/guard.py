"""Guard: stands before every route. It decides which requests come in, bounds their bodies and counts them."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hokusai_serve.access import Access
from hokusai_serve.gate import Gate
from hokusai_serve.limits import ServeLimits
from hokusai_serve.metrics import ServerMetrics
from hokusai_serve.problems import Problem, problem_of, problem_response

__all__ = ["Guard"]

_LOG: Final = logging.getLogger("hokusai.serve")
#: What holds nothing of the user: it needs no token.
_PUBLIC: Final = ("/", "/health", "/ready")
_ASSETS: Final = "/assets/"
_EXECUTES: Final = ("/v1/execute/", "/v1/stream/")

_PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _PAGE_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
#: Bytes and seconds for which a body that was refused is read on, so that the client sees the answer.
_LINGER_BYTES, _LINGER_SECONDS = 64 * 2**20, 2.0


class Guard:
    """An ASGI middleware.

    Args:
        app: what it guards.
        access: who may send a request.
        gate: how many requests there may be.
        limits: bounds of bodies.
        metrics: counts what happens.
    """

    def __init__(self, app: ASGIApp, access: Access, gate: Gate, limits: ServeLimits, metrics: ServerMetrics) -> None:
        self._app, self._access, self._gate, self._limits, self._metrics = app, access, gate, limits, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it through."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await self._app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
        public = path in _PUBLIC or path.startswith(_ASSETS)
        executes = path.startswith(_EXECUTES)
        headers = Headers(scope=scope)
        exchange = _Exchange(self._limits, headers, receive, send, cached=path.startswith(_ASSETS))
        refusal = self._access.refusal(headers, public=public) or exchange.refusal(scope["method"])
        if refusal is None and not public:
            refusal = self._gate.refusal(executes=executes)
        started = time.perf_counter()
        if refusal is not None:
            await problem_response(refusal)(scope, exchange.receive, exchange.send)
        elif public:
            await self._answer(scope, exchange)
        else:
            self._gate.enter(executes=executes)
            try:
                await self._answer(scope, exchange)
            finally:
                self._gate.leave(executes=executes)
        route = getattr(scope.get("route"), "path", "refused" if refusal is not None else "none")
        self._metrics.request(route, scope["method"], exchange.status, time.perf_counter() - started)

    async def _answer(self, scope: Scope, exchange: _Exchange) -> None:
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except Exception as error:
            if exchange.stalled:
                return  # the server closes the connection
            if exchange.started:
                raise
            _LOG.exception("%s %r failed", scope["method"], scope["path"])
            await problem_response(problem_of(error))(scope, exchange.receive, exchange.send)


class _Exchange:
    """One request and its response."""

    def __init__(self, limits: ServeLimits, headers: Headers, receive: Receive, send: Send, *, cached: bool) -> None:
        self._limits, self._headers = limits, headers
        self._receive, self._send = receive, send
        self._cached = cached
        self._read, self._complete, self._expected_end = 0, False, 0.0
        self.started = self.stalled = False
        #: Status of the response, 499 where there was none because the client has gone.
        self.status = 499

    def refusal(self, method: str) -> Problem | None:
        """Return why the body is refused unread, or None."""
        length = self._headers.get("content-length", "0")
        if length.isascii() and length.isdigit() and int(length) > self._limits.body_bytes:
            return self._too_large()
        has_body = "transfer-encoding" in self._headers or length != "0"
        kind = self._headers.get("content-type", "").partition(";")[0].strip().lower()
        if method in ("POST", "PUT", "PATCH") and (kind or has_body) and kind != "application/json":
            # Any page of the web may make a browser send a form or a text, but JSON only to its own server.
            return Problem(415, "content-type", "send JSON, with the header Content-Type: application/json")
        return None

    async def receive(self) -> Message:
        """Return the next message of the client; a body that is too large or too slow is refused."""
        if self._complete:
            return await self._receive()
        loop = asyncio.get_running_loop()
        self._expected_end = self._expected_end or loop.time() + self._limits.body_seconds
        try:
            async with asyncio.timeout_at(self._expected_end):
                message = await self._receive()
        except TimeoutError:
            detail = f"the body did not arrive within {self._limits.body_seconds:g} seconds"
            raise Problem(408, "slow-body", detail, headers={"Connection": "close"}) from None
        if message["type"] == "http.request":
            self._complete = not message.get("more_body", False)
            self._read += len(message.get("body", b""))
            if self._read > self._limits.body_bytes:
                raise self._too_large()
        return message

    def _too_large(self) -> Problem:
        detail = f"the body is larger than {self._limits.body_bytes} bytes"
        return Problem(413, "body-too-large", detail, headers={"Connection": "close"})

    async def send(self, message: Message) -> None:
        """Send a message, with the headers that every response has; a client that does not take it is given up."""
        if message["type"] == "http.response.start":
            self.status, self.started = message["status"], True
            headers = MutableHeaders(raw=message.setdefault("headers", []))
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-cache" if self._cached else "no-store")
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        unread = last and self.status >= 400 and self.status != 408 and not self._complete
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                await self._send({**message, "more_body": True} if unread else message)
        except TimeoutError:
            self.stalled = True
            raise
        if unread:
            await self._linger()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _linger(self) -> None:
        """Read what a client still sends for a moment: a connection that is closed at once loses the answer."""
        left = _LINGER_BYTES
        try:
            async with asyncio.timeout(_LINGER_SECONDS):
                while left > 0:
                    message: dict[str, Any] = dict(await self._receive())
                    left -= len(message.get("body", b""))
                    if message["type"] != "http.request" or not message.get("more_body", False):
                        return
        except TimeoutError:
            return
