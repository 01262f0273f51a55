"""Proxies and certificates of the environment, over real connections."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from dspy.lm15 import Message, Request, Response, TransportError

from hokusai_core.errors import ConfigurationError
from hokusai_core.testing.chat_server import ChatServer
from hokusai_openai import AsyncOpenAIEngine, OpenAIEngine, ServerOptions
from hokusai_openai.network import Network


class Proxy:
    """A small forward proxy on loopback: it forwards requests for whole addresses, and opens tunnels."""

    def __init__(self, refuse: bool = False) -> None:
        self.heads: list[str] = []
        self.refuse, self.port = refuse, 0
        self._ready = threading.Event()
        self._loop: Any = None
        self._clients: list[asyncio.Task[Any]] = []

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._client, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.append(task)
        writers = [writer]
        try:
            await self._pass_on(reader, writer, writers)
        finally:
            for one in writers:
                one.close()
            await asyncio.gather(*(one.wait_closed() for one in writers), return_exceptions=True)

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, writers: list[asyncio.StreamWriter]
    ) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head.decode())
        method, target, _ = head.decode().split("\r\n")[0].split(" ")
        if self.refuse:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            return
        rest = target.partition("://")[2] or target
        host, _, port = rest.partition("/")[0].partition(":")
        upstream_reader, upstream = await asyncio.open_connection(host, int(port))
        writers.append(upstream)
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            upstream.write(head)
        copies = [asyncio.ensure_future(_copy(reader, upstream)), asyncio.ensure_future(_copy(upstream_reader, writer))]
        try:
            await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for copy in copies:
                copy.cancel()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65_536):
            target.write(data)
            await target.drain()
    except ConnectionError:
        pass


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as proxy:
        yield proxy


REQUEST = Request(model="x", messages=(Message.user("How many?"),))
Ask = Callable[[str], Response]


def ask_sync(base_url: str) -> Response:
    engine = OpenAIEngine(ServerOptions(base_url, "ok", timeout=10))
    try:
        return engine.complete(REQUEST)
    finally:
        engine.close()


def ask_async(base_url: str) -> Response:
    async def ask() -> Any:
        engine = AsyncOpenAIEngine(ServerOptions(base_url, "ok", timeout=10))
        try:
            return await engine.complete(REQUEST)
        finally:
            await engine.aclose()

    return asyncio.run(ask())


@pytest.fixture(params=[ask_sync, ask_async])
def ask(request: pytest.FixtureRequest) -> Ask:
    chosen: Ask = request.param
    return chosen


def text(response: Response) -> str:
    return response.message.text or ""


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_the_certificates_of_the_environment_are_trusted(
    ask: Ask, tls_server: ChatServer, certificate: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(certificate))
    assert "Seven." in text(ask(tls_server.base_url))


def test_other_certificates_are_refused(ask: Ask, tls_server: ChatServer) -> None:
    with pytest.raises(TransportError, match=r"(?i)certificate"):
        ask(tls_server.base_url)
    assert tls_server.counts.requests == 0


def test_a_certificate_for_another_name_is_refused(
    ask: Ask, tls_server: ChatServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with pytest.raises(TransportError, match=r"(?i)certificate"):
        ask(tls_server.base_url.replace("localhost", "127.0.0.1"))


@pytest.mark.parametrize("content", [None, "this is not a certificate"])
def test_a_file_without_certificates_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    path = tmp_path / "bundle.pem"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))
    with pytest.raises(ConfigurationError, match=r"REQUESTS_CA_BUNDLE=.*bundle\.pem"):
        Network.to("https://localhost/v1")


def test_a_proxy_forwards_plain_requests(
    ask: Ask, server: ChatServer, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://me:p%40ss@127.0.0.1:{proxy.port}")
    assert "Seven." in text(ask(server.base_url))
    (head,) = proxy.heads
    assert head.startswith(f"POST {server.base_url}/chat/completions HTTP/1.1")
    assert "proxy-authorization: basic bwu6cebzcw==" in head.lower()


def test_a_proxy_opens_a_tunnel_for_tls(
    ask: Ask, tls_server: ChatServer, proxy: Proxy, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:p%40ss@127.0.0.1:{proxy.port}")
    assert "Seven." in text(ask(tls_server.base_url))
    (head,) = proxy.heads
    assert head.startswith(f"CONNECT localhost:{tls_server.port} HTTP/1.1")
    assert "proxy-authorization: basic bwu6cebzcw==" in head.lower()
    assert "proxy-authorization" not in tls_server.received[0].headers


@pytest.mark.parametrize("hosts", ["127.0.0.1", "localhost,127.0.0.1", "*"])
def test_hosts_that_need_no_proxy_are_asked_directly(
    ask: Ask, server: ChatServer, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, hosts: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.address}")
    monkeypatch.setenv("NO_PROXY", hosts)
    assert "Seven." in text(ask(server.base_url))
    assert proxy.heads == []


def test_the_environment_is_read_once(server: ChatServer, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = OpenAIEngine(ServerOptions(server.base_url, "ok"))
    monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.address}")
    assert "Seven." in text(engine.complete(REQUEST))
    engine.close()
    assert proxy.heads == []


def test_a_proxy_that_refuses_is_an_error(
    ask: Ask, tls_server: ChatServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with Proxy(refuse=True) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret-pass@127.0.0.1:{proxy.port}")
        with pytest.raises(TransportError, match="403") as caught:
            ask(tls_server.base_url)
    assert "secret-pass" not in f"{caught.value} {caught.value.__cause__}"


@pytest.mark.parametrize("address", ["socks5://127.0.0.1:1080", "https://127.0.0.1:1080"])
def test_other_kinds_of_proxies_are_refused_by_name(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", address)
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY"):
        Network.to("https://models.example/v1")


def test_a_host_that_does_not_exist_is_an_error(ask: Ask) -> None:
    with pytest.raises(TransportError):
        ask("http://no-such-host.invalid:8000/v1")
