"""ChatServer: a server of chat completions on loopback, for tests and benchmarks; it misbehaves where it is asked to.

It is written by hand on ``asyncio``, because the server of the standard library sends the header and the body of an
answer in two packets. With Nagle's algorithm and delayed acknowledgements, each answer of that server takes 40 ms.

As a process of its own, for benchmarks, it prints its address and runs until its standard input is closed::

    python -m hokusai_core.testing.chat_server --answer-file answer.txt --delay 0.04
"""

from __future__ import annotations

import argparse
import asyncio
import re
import ssl
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from attrs import asdict, define

from hokusai_core.testing.chat_behaviours import Behaviour, behaviour_of, completion, http_answer
from hokusai_core.testing.chat_exchange import ChatExchange, ChatRequest

__all__ = ["ChatServer", "ServerCounts"]

_HEADERS_END = b"\r\n\r\n"
_TAG = re.compile(rb"tag-\d+")


@define
class ServerCounts:
    """What a ``ChatServer`` has counted.

    Attributes:
        connections: connections that clients have opened.
        requests: requests that have arrived whole.
        in_flight: requests that are being answered.
        most_in_flight: the most that were being answered at once.
        cancelled: requests whose connection the client closed before the answer was complete.
    """

    connections: int = 0
    requests: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    cancelled: int = 0


class ChatServer:
    """A server of chat completions on 127.0.0.1, with an event loop and a thread of its own.

    The name of the model decides what happens: ``ok``, or any name that is not known, is answered properly. The others
    are in ``hokusai_core.testing.chat_behaviours``, for example ``status-500``, ``retry-after-date`` or ``half-body``.
    ``GET /v1/models`` lists ``ok``; any other ``GET`` returns the counts.

    Args:
        answer: the text of every answer. ``{tag}`` in it is replaced by the first ``tag-<digits>`` of the request, so
            that a test can tell whose answer it got.
        delay: seconds that every answer takes.
        token_delay: seconds between the pieces of a stream.
        tls: the context of a server of HTTPS; None for HTTP.
        keep_requests: whether ``received`` keeps every request.

    Attributes:
        received: the requests so far, where ``keep_requests``.
        counts: what has been counted so far.

    Example:
        >>> with ChatServer("Seven.") as server:
        ...     server.base_url.startswith("http://127.0.0.1:")
        True
    """

    def __init__(
        self,
        answer: str = "[[ ## answer ## ]]\nSeven.\n\n[[ ## completed ## ]]",
        *,
        delay: float = 0.0,
        token_delay: float = 0.0,
        tls: ssl.SSLContext | None = None,
        keep_requests: bool = True,
    ) -> None:
        self.answer, self.delay, self.token_delay, self.tls = answer, delay, token_delay, tls
        self.keep_requests = keep_requests
        self.received: list[ChatRequest] = []
        self.counts = ServerCounts()
        self.port = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._ready, self._connections = threading.Event(), set[_Connection]()
        self._stop: Callable[[], Any] = lambda: None
        self._proper: dict[tuple[str, str], bytes] = {}

    def __enter__(self) -> Self:
        """Start the server."""
        self._thread = threading.Thread(target=lambda: asyncio.run(self.serve()), name="chat-server", daemon=True)
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the chat server did not start within 10 s")
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server and close its connections."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._stop)
            self._thread.join(10)

    @property
    def base_url(self) -> str:
        """The address of the API, such as ``http://127.0.0.1:41234/v1``."""
        return f"{'https' if self.tls else 'http'}://{'localhost' if self.tls else '127.0.0.1'}:{self.port}/v1"

    async def serve(self, started: Callable[[str], None] = lambda url: None) -> None:
        """Serve until the server is stopped.

        Args:
            started: is called with the address when the server listens.
        """
        self._loop = loop = asyncio.get_running_loop()
        stopped = asyncio.Event()
        self._stop = stopped.set
        server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, ssl=self.tls, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        started(self.base_url)
        try:
            await stopped.wait()
        finally:
            server.close()
            for connection in list(self._connections):
                connection.abort()

    def proper_answer(self, request: ChatRequest) -> bytes:
        """Return the whole answer to a request, as it goes over the wire."""
        if "{tag}" in self.answer:
            return http_answer(200, completion(self.text(request), model=request.body.get("model", "ok")))
        key = (self.answer, request.body.get("model", "ok"))
        if key not in self._proper:
            self._proper[key] = http_answer(200, completion(self.answer, model=key[1]))
        return self._proper[key]

    def text(self, request: ChatRequest) -> str:
        """Return the text of the answer to a request."""
        found = _TAG.search(request.raw_body)
        return self.answer.replace("{tag}", found[0].decode() if found else "tag-none")


class _Connection(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, server: ChatServer) -> None:
        self._server, self._received, self._number = server, b"", 0
        self._answering: asyncio.Task[None] | asyncio.TimerHandle | None = None
        self.writable = asyncio.Event()
        self.writable.set()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._server.counts.connections += 1
        self._server._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server._connections.discard(self)
        self.writable.set()
        if self._answering is not None:
            self._answering.cancel()
            self._answering = None
            self._server.counts.cancelled += 1
            self._server.counts.in_flight -= 1

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def abort(self) -> None:
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._answering is None and (request := self._take()) is not None:
            self._answer(request)

    def _take(self) -> ChatRequest | None:
        """Return the first request of what was received, None while it is not complete."""
        head, found, rest = self._received.partition(_HEADERS_END)
        if not found:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return None
        self._received = rest[length:]
        method, target = first.split(" ")[:2]
        return ChatRequest(method, target, headers, rest[:length])

    def _answer(self, request: ChatRequest) -> None:
        server, counts = self._server, self._server.counts
        if request.method == "GET":
            models = {"object": "list", "data": [{"id": "ok", "object": "model"}]}
            self.transport.write(http_answer(200, models if request.target.endswith("/models") else asdict(counts)))
            return
        if server.keep_requests:
            server.received.append(request)
        counts.requests += 1
        self._number += 1
        counts.in_flight += 1
        counts.most_in_flight = max(counts.most_in_flight, counts.in_flight)
        behaviour = behaviour_of(request.body)
        if behaviour is None and not server.delay:
            self.transport.write(server.proper_answer(request))
            counts.in_flight -= 1
        elif behaviour is None:
            self._answering = asyncio.get_running_loop().call_later(server.delay, self._finish, request)
        else:
            self._answering = asyncio.get_running_loop().create_task(self._misbehave(behaviour, request))

    def _finish(self, request: ChatRequest) -> None:
        self.transport.write(self._server.proper_answer(request))
        self._done()

    async def _misbehave(self, behaviour: Behaviour, request: ChatRequest) -> None:
        server = self._server
        text = server.text(request)
        exchange = ChatExchange(
            request, self._number, text, server.delay, server.token_delay, self.transport, self.writable
        )
        try:
            await behaviour(exchange)
        except ConnectionResetError:
            return  # connection_lost counts it
        self._done()

    def _done(self) -> None:
        self._answering = None
        self._server.counts.in_flight -= 1
        if self._received:
            self.data_received(b"")


async def _run(server: ChatServer) -> None:
    loop = asyncio.get_running_loop()
    task = loop.create_task(server.serve(lambda url: print(url, flush=True)))  # noqa: T201  # the caller reads it
    await loop.run_in_executor(None, sys.stdin.read)
    task.cancel()


def main() -> None:
    """Serve until standard input is closed."""
    parser = argparse.ArgumentParser(description="Serve chat completions on 127.0.0.1 until standard input is closed.")
    parser.add_argument("--answer-file", type=Path, help="file with the text of every answer")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds that every answer takes")
    parser.add_argument("--token-delay", type=float, default=0.0, help="seconds between the pieces of a stream")
    options = parser.parse_args()
    answer = {"answer": options.answer_file.read_text(encoding="utf-8")} if options.answer_file else {}
    asyncio.run(_run(ChatServer(**answer, delay=options.delay, token_delay=options.token_delay, keep_requests=False)))


if __name__ == "__main__":
    main()
