"""ChatRequest and ChatExchange: a request that a ``ChatServer`` has received, and how it is answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

__all__ = ["ChatExchange", "ChatRequest"]


@frozen
class ChatRequest:
    """A request that a ``ChatServer`` has received.

    Args:
        method: such as ``POST``.
        target: path and query; the whole address where a client sends it through a proxy.
        headers: names in lower case.
        raw_body: the body as it came.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    raw_body: bytes = field(repr=False)

    @property
    def body(self) -> dict[str, Any]:
        """The body, read as JSON."""
        return dict(json.loads(self.raw_body))


@frozen(eq=False)
class ChatExchange:
    """One request and the connection on which it is answered.

    Args:
        request: the request.
        number: how many requests have come on this connection, this one included.
        text: the text of a proper answer to it.
        delay: seconds before a proper answer begins.
        token_delay: seconds between the pieces of a stream.
        transport: the connection.
        writable: is set while the client reads as fast as the server sends.
    """

    request: ChatRequest
    number: int
    text: str
    delay: float
    token_delay: float
    transport: asyncio.Transport
    writable: asyncio.Event

    async def send(self, data: bytes) -> None:
        """Send ``data``, and wait while the client reads slower than this.

        Raises:
            ConnectionResetError: the client has closed the connection.
        """
        if self.transport.is_closing():
            raise ConnectionResetError("the client has closed the connection")
        self.transport.write(data)
        await asyncio.sleep(0)  # so that the event loop can see that the client has gone
        await self.writable.wait()

    def close(self) -> None:
        """Close the connection after what was sent."""
        self.transport.close()

    def abort(self) -> None:
        """Reset the connection."""
        self.transport.abort()
