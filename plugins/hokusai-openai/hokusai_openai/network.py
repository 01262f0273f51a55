"""Network: how a server is reached, with the proxies and certificates of the environment, which are read once."""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from attrs import field, frozen

from hokusai_core.errors import ConfigurationError

__all__ = ["Network", "Proxy"]

#: Variables that name a file with the certificates of authorities. Those in front win. OpenSSL itself reads the first.
_BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@frozen
class Proxy:
    """An HTTP proxy.

    Args:
        host: its name or address.
        port: its port.
        authorization: value of the header ``Proxy-Authorization``, empty for none.
    """

    host: str
    port: int
    authorization: str = field(default="", repr=False)

    @property
    def url(self) -> str:
        """The address, without user and password."""
        return f"http://{self.host}:{self.port}"


@frozen
class Network:
    """How a server is reached.

    Args:
        scheme: ``http`` or ``https``.
        host: name or address of the server.
        port: its port.
        path: path of the API, such as ``/v1``.
        proxy: the proxy on the way, None for none.
        tls: the certificates that are trusted, None for HTTP.
    """

    scheme: str
    host: str
    port: int
    path: str
    proxy: Proxy | None
    tls: ssl.SSLContext | None

    @classmethod
    def to(cls, base_url: str, environ: Mapping[str, str] = os.environ) -> Network:
        """Return the way to a server.

        The proxies are those of ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``, or of the operating
        system; the certificates those of ``SSL_CERT_FILE``, ``REQUESTS_CA_BUNDLE`` or of the system.

        Args:
            base_url: address of the API.
            environ: where the file of certificates is looked up.

        Raises:
            ConfigurationError: the proxy or the file of certificates cannot be used.
        """
        parts = urlsplit(base_url)
        secure = parts.scheme == "https"
        host, port = parts.hostname or "", parts.port or (443 if secure else 80)
        return cls(
            parts.scheme,
            host,
            port,
            parts.path.rstrip("/"),
            _proxy(parts.scheme, host, port),
            _trusted(environ) if secure else None,
        )

    @property
    def authority(self) -> str:
        """Host and port, as the header ``Host`` has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The address to which requests go."""
        return f"{self.scheme}://{self.authority}{self.path}/chat/completions"

    @property
    def target(self) -> str:
        """What stands in the first line of a request: the whole address where a proxy forwards it."""
        return self.url if self.proxy is not None and self.tls is None else f"{self.path}/chat/completions"


def _proxy(scheme: str, host: str, port: int) -> Proxy | None:
    found = getproxies()
    address = found.get(scheme) or found.get("all")
    if not address or proxy_bypass(host) or proxy_bypass(f"{host}:{port}"):
        return None
    parts = urlsplit(address if "://" in address else f"http://{address}")
    variable = f"{scheme.upper()}_PROXY"
    if parts.scheme != "http" or not parts.hostname:
        raise ConfigurationError(
            f"{variable} names a proxy of the kind {parts.scheme!r}: only http://HOST:PORT is supported; set NO_PROXY "
            f"to {host} if the server is reached without it"
        )
    authorization = ""
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {base64.b64encode(user.encode()).decode()}"
    return Proxy(parts.hostname, parts.port or 80, authorization)


def _trusted(environ: Mapping[str, str]) -> ssl.SSLContext:
    name = next((name for name in _BUNDLES if environ.get(name)), None)
    if name is None:
        return ssl.create_default_context()
    path = environ[name]
    try:
        is_folder = os.path.isdir(path)
        return ssl.create_default_context(cafile=None if is_folder else path, capath=path if is_folder else None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"{name}={path!r} is not a file of certificates ({error}); name a PEM file or unset it"
        ) from None
