"""OpenAIEngine: asks an OpenAI-compatible server, blocking, on connections of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from typing import Any, Self

from dspy import settings
from dspy.lm15 import LM15Error, Request, Response

from hokusai_openai.chat_format import ChatFormat, too_large
from hokusai_openai.connections import Connection, Connections
from hokusai_openai.network import Network
from hokusai_openai.options import ServerOptions
from hokusai_openai.reply import Reply

__all__ = ["EngineFacts", "OpenAIEngine", "request_headers"]

_PIECE = 65_536


class EngineFacts:
    """What both engines say of themselves to DSPy and to Hokusai.

    Args:
        options: the server and the model.
    """

    supports_function_calling = True
    supports_reasoning = False
    #: A call ends by the deadline of itself, so it needs no thread that is given up.
    keeps_deadline = True
    #: A child process opens connections of its own.
    fork_safe = True

    def __init__(self, options: ServerOptions) -> None:
        self.options = options
        self.free = options.free
        self.price_entry = options.price_entry
        self.supports_response_schema = options.structured_outputs
        self.supported_params = frozenset({
            "max_tokens", "temperature", "top_p", "seed", "stop", "frequency_penalty", "presence_penalty", "logprobs",
            "tools", "tool_choice", *(["response_format"] if options.structured_outputs else []),
        })  # fmt: skip
        self.format = ChatFormat(options)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # copies of a language model share the connections

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.options.name}>"

    @property
    def credentials(self) -> frozenset[str]:
        """The texts that must not be shown."""
        return self.options.credentials

    def dump_state(self) -> dict[str, Any]:
        """Return what decides about answers, for keys of caches; no credential."""
        return {"name": self.options.name, "server": self.options.kind, "headers": dict(self.options.headers)}

    def deadline(self) -> float:
        """Return when a call that begins now must be over, as ``time.monotonic()`` tells it."""
        latest = time.monotonic() + self.options.timeout
        given = settings.get("hokusai_deadline")
        return latest if given is None or given > latest else given

    def sends_twice(self) -> bool:
        """Return whether a request may be sent once more whose connection died; it may then be charged for twice."""
        return settings.get("hokusai_send_once") is not True


def request_headers(network: Network, options: ServerOptions) -> list[tuple[str, str]]:
    """Return the headers of every request, without its length."""
    headers = [
        ("Host", network.authority),
        ("User-Agent", "hokusai-openai"),
        # A compressed answer could be of any size, however few bytes come.
        ("Accept-Encoding", "identity"),
        ("Content-Type", "application/json"),
        *options.headers.items(),
    ]
    if options.api_key and not any(name.lower() == "authorization" for name in options.headers):
        headers.append(("Authorization", f"Bearer {options.api_key}"))
    if network.proxy is not None and network.proxy.authorization and network.tls is None:
        headers.append(("Proxy-Authorization", network.proxy.authorization))
    return headers


class OpenAIEngine(EngineFacts):
    """An engine of DSPy for an OpenAI-compatible server.

    Args:
        options: the server and the model.
        network: how the server is reached; None for what the environment says now.

    Example:
        >>> from hokusai_openai import OpenAIEngine, ServerOptions
        >>> OpenAIEngine(ServerOptions("http://127.0.0.1:8000/v1", "llama-3.1-8b"))
        <OpenAIEngine http://127.0.0.1:8000/v1#llama-3.1-8b>
    """

    def __init__(self, options: ServerOptions, network: Network | None = None) -> None:
        super().__init__(options)
        self.network = network or Network.to(options.base_url)
        self._connections = Connections(self.network, options.connect_timeout)
        lines = "".join(f"{name}: {value}\r\n" for name, value in request_headers(self.network, options))
        self._head = f"POST {self.network.target} HTTP/1.1\r\n{lines}Content-Length: ".encode("latin-1")

    def complete(self, request: Request) -> Response:
        """Answer.

        Raises:
            LM15Error: the server refused, failed or could not be reached, or the deadline passed.
        """
        deadline, body = self.deadline(), self.format.body(request)
        try:
            connection, reply = self._ask(body, deadline)
            try:
                received = self._body(reply)
            finally:
                self._release(connection, reply)
        except (OSError, HTTPException):
            with self._failures("no complete answer came in time"):
                raise
        if reply.status >= 300:
            raise self.format.error(reply.status, received, reply.header)
        return self.format.answer(request, received, reply.header)

    def stream(self, request: Request) -> Iterator[Any]:
        """Answer piece by piece. Closing the iterator closes the connection, so that the server can stop.

        Raises:
            LM15Error: the server refused, failed or could not be reached, or the deadline passed.
        """
        deadline, body = self.deadline(), self.format.body(request, stream=True)
        with self._failures("the stream did not end in time"):
            connection, reply = self._ask(body, deadline)
            try:
                if reply.status >= 300:
                    raise self.format.error(reply.status, self._body(reply), reply.header)
                events = self.format.events(request)
                for line in self._lines(reply):
                    yield from events.of_line(line)
                yield from events.end()
            finally:
                self._release(connection, reply)

    def close(self) -> None:
        """Close the connections that no call uses; the engine can be used again."""
        self._connections.close()

    @contextmanager
    def _failures(self, late: str) -> Iterator[None]:
        """Raise what DSPy expects of an engine for what a connection raises."""
        try:
            yield
        except LM15Error:
            raise
        except TimeoutError:
            raise self.format.timeout_error(late) from None
        except (OSError, HTTPException) as error:
            raise self.format.transport_error("the connection failed", error) from error

    def _release(self, connection: Connection, reply: Reply) -> None:
        """Keep a connection whose reply was read to its end, and close any other."""
        if reply.reusable:
            self._connections.give_back(connection)
        else:
            connection.close()

    def _ask(self, body: bytes, deadline: float) -> tuple[Connection, Reply]:
        """Send a request and return the connection and the reply, whose body is still to be read.

        A connection that was used before may have been closed by the server meanwhile. If it dies before any byte of
        the reply, the request is sent once more, on a new connection.
        """
        request = b"%b%d\r\n\r\n%b" % (self._head, len(body), body)
        connection = self._connections.take(deadline)
        try:
            return connection, connection.ask(request, deadline)
        except BaseException as error:
            connection.close()
            died = isinstance(error, (ConnectionError, HTTPException)) and not connection.answered
            if not connection.used or not died or not self.sends_twice():
                raise
        connection = self._connections.connect(deadline)
        try:
            return connection, connection.ask(request, deadline)
        except BaseException:
            connection.close()
            raise

    def _body(self, reply: Reply) -> bytes:
        limit = self.options.max_answer_bytes
        if (reply.length or 0) > limit:
            raise too_large(limit)
        pieces: list[bytes] = []
        left = limit
        for piece in reply.pieces():
            left -= len(piece)
            if left < 0:
                raise too_large(limit)
            pieces.append(piece)
        return b"".join(pieces)

    def _lines(self, reply: Reply) -> Iterator[bytes]:
        left, begun = self.options.max_answer_bytes, b""
        for piece in reply.pieces():
            left -= len(piece)
            if left < 0:
                raise too_large(self.options.max_answer_bytes)
            *whole, begun = (begun + piece).split(b"\n")
            yield from whole
        if begun:
            yield begun
