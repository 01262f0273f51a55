"""Access: who may send a request, by token, host and origin."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from hokusai_core.errors import ConfigurationError
from hokusai_serve.problems import Problem

__all__ = ["LOOPBACK_HOSTS", "Access"]

#: Names by which a browser on this machine may ask.
LOOPBACK_HOSTS: Final = ("localhost", "127.0.0.1", "::1")
_SHORTEST_TOKEN: Final = 16


class Access:
    """Refuses requests that this server must not answer.

    Args:
        tokens: any of them opens the server; empty for a server without a token.
        hosts: host names that requests may have; None for any.

    Raises:
        ConfigurationError: a token is too short.
    """

    def __init__(self, tokens: Sequence[str], hosts: Sequence[str] | None) -> None:
        if any(len(token) < _SHORTEST_TOKEN for token in tokens):
            raise ConfigurationError(
                f"a token needs at least {_SHORTEST_TOKEN} characters; "
                'make one with python -c "import secrets; print(secrets.token_urlsafe(32))"'
            )
        self._tokens = [_digest(token) for token in tokens]
        self._hosts = None if hosts is None else frozenset(host.lower().strip("[]") for host in hosts)

    @property
    def needs_token(self) -> bool:
        """Whether a request needs a token."""
        return bool(self._tokens)

    def refusal(self, headers: Headers, *, public: bool) -> Problem | None:
        """Return why a request is refused, or None.

        Args:
            headers: its headers.
            public: whether what it asks for holds nothing, such as the page or the health.
        """
        hosts = headers.getlist("host")
        if len(hosts) != 1 or (self._hosts is not None and _name_of(hosts[0]) not in self._hosts):
            detail = "this server does not answer under that host name; --allowed-host allows further ones"
            return Problem(421, "host", detail)
        if public:
            return None
        return self._cross_site(headers, hosts[0]) or self._wrong_token(headers)

    def _cross_site(self, headers: Headers, host: str) -> Problem | None:
        """Refuse what another web site has made a browser send."""
        origin = headers.get("origin")
        if (origin is not None and _place_of(origin) != host.lower()) or headers.get("sec-fetch-site") in (
            "cross-site",
            "same-site",
        ):
            return Problem(403, "cross-site", "requests of other web sites are refused")
        return None

    def _wrong_token(self, headers: Headers) -> Problem | None:
        if not self._tokens:
            return None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        found = [hmac.compare_digest(_digest(given.strip()), token) for token in self._tokens]  # all, in constant time
        if scheme.lower() == "bearer" and any(found):
            return None
        detail = "a token is needed: send the header Authorization: Bearer TOKEN"
        return Problem(401, "token", detail, headers={"WWW-Authenticate": 'Bearer realm="hokusai"'})


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _place_of(origin: str) -> str:
    """Return host and port of an ``Origin`` header, empty where it names none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _name_of(host: str) -> str:
    """Return the name in a ``Host`` header, without the port."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()
