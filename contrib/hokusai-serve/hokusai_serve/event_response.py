"""EventResponse: the events of an execution as server-sent events."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from hokusai_core.types import AsyncEventStream, StreamEvent
from hokusai_serve.disconnection import cancelled_with_client
from hokusai_serve.json_text import json_bytes
from hokusai_serve.metrics import ServerMetrics
from hokusai_serve.problems import Problem, problem_of
from hokusai_serve.records import event_record

__all__ = ["EventResponse"]

#: Seconds of silence after which a comment is sent, so that proxies keep the connection.
_SILENCE: Final = 15.0


class EventResponse(Response):
    """Sends events as they happen. An error after the first event is the event ``error``, with problem details.

    Args:
        first: the first event, which shows that the request fits.
        events: the others.
        metrics: counts the execution.
        sensitive: whether a field of the signature is sensitive.
    """

    media_type = "text/event-stream"

    def __init__(
        self, first: StreamEvent, events: AsyncEventStream, metrics: ServerMetrics, *, sensitive: bool
    ) -> None:
        self._first, self._events, self._metrics, self._sensitive = first, events, metrics, sensitive
        super().__init__(headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"})
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send everything."""
        try:
            async with self._events, cancelled_with_client(receive):
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                await self._send_events(send)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except (Problem, TimeoutError):  # the client has gone, or takes nothing; the call is cancelled
            return

    async def _send_events(self, send: Send) -> None:
        await self._event(self._first, send)
        try:
            while True:
                following = asyncio.ensure_future(anext(self._events, None))
                try:
                    while not (await asyncio.wait({following}, timeout=_SILENCE))[0]:
                        await _body(b": waiting\n\n", send)
                finally:
                    following.cancel()
                event = following.result()
                if event is None:
                    return
                await self._event(event, send)
        except TimeoutError:
            raise
        except Exception as error:
            await _body(_message("error", problem_of(error).to_json()), send)

    async def _event(self, event: StreamEvent, send: Send) -> None:
        if event.kind == "finished" and event.step is None:
            self._metrics.execution(event.result)
        await _body(_message(event.kind, json_bytes(event_record(event, sensitive=self._sensitive))), send)


def _message(kind: str, data: bytes) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"


async def _body(data: bytes, send: Send) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": True})
