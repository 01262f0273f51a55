"""OpenAIEngine: asks an OpenAI-compatible server, blocking, on connections of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from typing import Any, Self

from dspy import settings
from dspy.lm15 import LM15Error, ProviderError, Request, Response

from hokusai_openai.chat_format import ChatFormat, Header, too_large
from hokusai_openai.connections import Connection, Connections
from hokusai_openai.network import Network
from hokusai_openai.options import ServerOptions

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
        with self._failures("no complete answer came in time"), self._asked(body, deadline) as (response, header):
            received = self._body(response)
            if response.status >= 300:
                raise self.format.error(response.status, received, header)
            return self.format.answer(request, received, header)

    def stream(self, request: Request) -> Iterator[Any]:
        """Answer piece by piece. Closing the iterator closes the connection, so that the server can stop.

        Raises:
            LM15Error: the server refused, failed or could not be reached, or the deadline passed.
        """
        deadline, body = self.deadline(), self.format.body(request, stream=True)
        with self._failures("the stream did not end in time"), self._asked(body, deadline) as (response, header):
            if response.status >= 300:
                raise self.format.error(response.status, self._body(response), header)
            events = self.format.events(request)
            for line in self._lines(response):
                yield from events.of_line(line)
            yield from events.end()

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

    @contextmanager
    def _asked(self, body: bytes, deadline: float) -> Iterator[tuple[HTTPResponse, Header]]:
        """Send a request and yield the reply, whose body is still to be read, and its headers.

        Afterwards the connection is kept if the whole reply was read, and closed otherwise.
        """
        connection, response = self._ask(b"%b%d\r\n\r\n%b" % (self._head, len(body), body), deadline)
        keep = False
        try:
            yield response, response.getheader
            keep = True
        except ProviderError as error:
            keep = error.status is not None  # the server has answered in full that it refuses
            raise
        finally:
            if keep and response.isclosed() and not response.will_close:
                self._connections.give_back(connection)
            else:
                connection.close()

    def _ask(self, request: bytes, deadline: float) -> tuple[Connection, HTTPResponse]:
        """Send a request.

        A connection that was used before may have been closed by the server meanwhile. If it dies before any byte of
        the reply, the request is sent once more, on a new connection.
        """
        connection = self._connections.take(deadline)
        try:
            return connection, connection.ask(request, deadline)
        except BaseException as error:
            connection.close()
            died = isinstance(error, (ConnectionError, HTTPException)) and not connection.answered
            if not connection.used or not died:
                raise
        connection = self._connections.connect(deadline)
        try:
            return connection, connection.ask(request, deadline)
        except BaseException:
            connection.close()
            raise

    def _body(self, response: HTTPResponse) -> bytes | bytearray:
        limit = self.options.max_answer_bytes
        if response.length is not None:
            if response.length > limit:
                raise too_large(limit)
            return response.read()
        received = bytearray()
        while piece := response.read(_PIECE):
            received += piece
            if len(received) > limit:
                raise too_large(limit)
        return received

    def _lines(self, response: HTTPResponse) -> Iterator[bytes]:
        left = self.options.max_answer_bytes
        while line := response.readline(left + 1):
            left -= len(line)
            if left < 0:
                raise too_large(self.options.max_answer_bytes)
            yield line
