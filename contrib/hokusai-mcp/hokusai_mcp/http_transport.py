"""The HTTP transport: who may connect, and from where."""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from mcp.server.transport_security import TransportSecuritySettings

from hokusai_core.errors import ConfigurationError
from hokusai_mcp.tool_server import ToolServer

__all__ = ["http_app", "is_loopback", "listen"]

_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
#: Bytes of a request; pictures and files come as data URIs.
_BODY: Final = 32 * 2**20

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


def http_app(
    tools: ToolServer,
    *,
    host: str = "127.0.0.1",
    tokens: Sequence[str] = (),
    allowed_hosts: Sequence[str] = (),
    allowed_origins: Sequence[str] = (),
) -> App:
    """Return an ASGI application that serves tools at ``/mcp`` (streamable HTTP).

    Args:
        tools: what is served.
        host: address that the application is going to listen on.
        tokens: tokens, one of which each request must carry as ``Authorization: Bearer ...``; empty for none.
        allowed_hosts: names that the header ``Host`` may have; empty for ``host`` and the names of this machine, or,
            where ``host`` stands for every address, for any.
        allowed_origins: origins of web pages that may connect, such as ``https://example.org``.

    Raises:
        ConfigurationError: the address can be reached from other machines, and there is no token.
    """
    if not tokens and not is_loopback(host):
        raise ConfigurationError(
            f"{host} can be reached from other machines, so requests need a token: give tokens=..., or listen on "
            "127.0.0.1"
        )
    if any(len(token) < 16 for token in tokens):
        raise ConfigurationError("a token is shorter than 16 characters, and could be guessed")
    app = tools.server.streamable_http_app(
        host=host,
        max_request_body_size=_BODY,
        # The gate below checks both headers, for every address.
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    hosts = set(allowed_hosts) or ({*_LOOPBACK, host.strip("[]")} if not _is_any(host) else set())
    return _Gate(app, tokens, {name.lower() for name in hosts}, set(allowed_origins))


def is_loopback(host: str) -> bool:
    """Return whether an address can be reached from this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_any(host: str) -> bool:
    return host in ("", "0.0.0.0", "::", "[::]")  # noqa: S104  # compared, not listened on


class _Gate:
    """Lets requests with the right headers through.

    ``Host`` and ``Origin`` are checked because a web page may make a browser on this machine send requests here.
    """

    def __init__(self, app: Any, tokens: Sequence[str], hosts: set[str], origins: set[str]) -> None:
        self._app, self._hosts, self._origins = app, hosts, origins
        self._tokens = [token.encode() for token in tokens]

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(headers)
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await _refuse(send, *refusal)

    def _refusal(self, headers: Mapping[str, str]) -> tuple[int, str] | None:
        if self._hosts and _host_name(headers.get("host", "")) not in self._hosts:
            return 421, "this host name is not served here; --allowed-host lets it in"
        origin = headers.get("origin")
        if origin and origin not in self._origins and not self._is_local(origin):
            return 403, "web pages of this origin may not connect; --allowed-origin lets it in"
        if self._tokens:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            known = [hmac.compare_digest(given.strip().encode("latin-1", "replace"), token) for token in self._tokens]
            if scheme.lower() != "bearer" or not any(known):
                return 401, "send one of the server's tokens: Authorization: Bearer ..."
        return None

    def _is_local(self, origin: str) -> bool:
        """Return whether a page is from this machine, where only this machine is served."""
        return bool(self._hosts) and self._hosts <= {*_LOOPBACK} and _host_name(urlsplit(origin).netloc) in _LOOPBACK


def _host_name(value: str) -> str:
    """Return the name in a header ``Host``, without the port."""
    try:
        return (urlsplit(f"//{value}").hostname or "").lower()
    except ValueError:
        return ""


async def _refuse(send: Send, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address.

    Event loops send without delay only on sockets that name their protocol, which those of ``socket.create_server`` do
    not: there, each call takes 40 ms more.

    Args:
        host: an address, or a name.
        port: port; 0 for a free one.

    Raises:
        OSError: it cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host.strip("[]"), port))
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener
