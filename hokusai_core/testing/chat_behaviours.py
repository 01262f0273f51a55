"""What a ``ChatServer`` does besides answering properly, by the name of the model that is asked for.

====================== ===============================================================================================
Model                  Answer
====================== ===============================================================================================
``status-<number>``    an error with that status
``retry-after``        429 with ``Retry-After: 7``
``retry-after-date``   429 with a date 30 s ahead in ``Retry-After``
``echo-key``           401 whose text quotes the key
``context-length``     400, the prompt is too long
``error-in-answer``    200 whose body is an error
``broken-json``        200 whose body is cut off, though its length is right
``html``               200 with a page of HTML
``empty``              200 without a body
``no-choices``         200 with an empty list of choices
``half-body``          the connection is closed in the middle of the body
``short-length``       ``Content-Length`` is smaller than the body
``chunked``            a proper answer in chunks
``once``               a proper answer to the first request of a connection, which is closed at the second one
``closing``            a proper answer, after which the server closes the connection and says so
``stale``              a proper answer, after which the server closes the connection and does not say so
``disconnect``         the connection is closed before any byte
``reset``              the connection is reset before any byte
``silent``             nothing at all
``drip``               a proper answer, one byte every 50 ms
``header-drip``        header lines without end, one every 50 ms
``huge``               a body without end
``redirect``           307 to another server
``content-filter``     an answer that was withheld
``length``             an answer that was cut off at its token limit
``stream-half``        a stream that ends in the middle without a word
``stream-reset``       a stream whose connection is reset in the middle
``stream-error``       a stream that reports an error in the middle
``stream-garbage``     a stream with an event that is not JSON
``stream-huge``        a stream without end
``stream-silent``      a stream that says no more after two pieces
====================== ===============================================================================================
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from hokusai_core.testing.chat_exchange import ChatExchange

__all__ = ["RETRY_AFTER_DATE", "RETRY_AFTER_SECONDS", "Behaviour", "behaviour_of", "completion", "http_answer"]

#: What ``retry-after`` and ``retry-after-date`` ask for, in seconds.
RETRY_AFTER_SECONDS, RETRY_AFTER_DATE = 7, 30

Behaviour = Callable[[ChatExchange], Coroutine[Any, Any, None]]

_USAGE = {"prompt_tokens": 120, "completion_tokens": 40, "total_tokens": 160}
_PIECE = re.compile(r"\s*\S+|\s+")
_FINISH = {"content-filter": "content_filter", "length": "length"}
_STATUS = re.compile(r"status-(\d{3})")


def completion(text: str, *, model: str = "ok", finish_reason: str = "stop") -> dict[str, Any]:
    """Return the body of a proper answer."""
    message = {"role": "assistant", "content": text}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        "usage": _USAGE,
    }


def http_answer(status: int, body: Any, headers: Mapping[str, str] | None = None) -> bytes:
    """Return an answer as it goes over the wire.

    Args:
        status: such as 200.
        body: bytes, or what becomes JSON.
        headers: further headers, which replace those of the same name.
    """
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {"Content-Type": "application/json", "Content-Length": str(len(content)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{head}\r\n".encode() + content


def behaviour_of(body: Mapping[str, Any]) -> Behaviour | None:
    """Return what answers a request, None for a proper answer at once."""
    model, streams = str(body.get("model", "")), bool(body.get("stream"))
    if (found := _STATUS.fullmatch(model)) is not None:
        return _fixed(_error(int(found[1])))
    if model in _ANYWAY:
        return _ANYWAY[model]
    if streams:
        return _STREAMS.get(model, _stream)
    return _WHOLE.get(model)


def _error(status: int, headers: Mapping[str, str] | None = None, **error: Any) -> bytes:
    body = {"message": f"the server was asked to answer with status {status}", "type": "test_error", **error}
    return http_answer(status, {"error": body}, {"x-request-id": "req-1", **(headers or {})})


def _fixed(answer: bytes, *, close: bool = False) -> Behaviour:
    async def behave(exchange: ChatExchange) -> None:
        await exchange.send(answer)
        if close:
            exchange.close()

    return behave


def _proper(exchange: ChatExchange, **changes: Any) -> bytes:
    return http_answer(200, completion(exchange.text, **changes))


def _finished(reason: str) -> Behaviour:
    async def behave(exchange: ChatExchange) -> None:
        await exchange.send(_proper(exchange, finish_reason=reason))

    return behave


async def _retry_after_date(exchange: ChatExchange) -> None:
    await exchange.send(_error(429, {"Retry-After": formatdate(time.time() + RETRY_AFTER_DATE, usegmt=True)}))


async def _half_body(exchange: ChatExchange) -> None:
    answer = _proper(exchange)
    await exchange.send(answer[: len(answer) - 40])
    exchange.close()


async def _short_length(exchange: ChatExchange) -> None:
    body = json.dumps(completion(exchange.text)).encode()
    await exchange.send(http_answer(200, body, {"Content-Length": str(len(body) - 40)}))


async def _chunked(exchange: ChatExchange) -> None:
    body = json.dumps(completion(exchange.text)).encode()
    await exchange.send(_stream_head("application/json"))
    for start in range(0, len(body), 50):
        await exchange.send(_chunk(body[start : start + 50]))
    await exchange.send(_chunk(b""))


async def _closing(exchange: ChatExchange) -> None:
    body = completion(exchange.text)
    await exchange.send(http_answer(200, body, {"Connection": "close"}))
    exchange.close()


async def _stale(exchange: ChatExchange) -> None:
    await exchange.send(_proper(exchange))
    exchange.close()


async def _once(exchange: ChatExchange) -> None:
    if exchange.number == 1:
        await exchange.send(_proper(exchange))
    else:
        exchange.close()


async def _echo_key(exchange: ChatExchange) -> None:
    sent = exchange.request.headers.get("authorization", "no key")
    await exchange.send(_error(401, message=f"the key {sent} is not known here"))


async def _disconnect(exchange: ChatExchange) -> None:
    exchange.close()


async def _reset(exchange: ChatExchange) -> None:
    exchange.abort()


async def _silent(exchange: ChatExchange) -> None:
    await asyncio.sleep(3600)


async def _drip(exchange: ChatExchange) -> None:
    for byte in _proper(exchange):
        await exchange.send(bytes([byte]))
        await asyncio.sleep(0.05)


async def _header_drip(exchange: ChatExchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await exchange.send(b"X-Filler: 1\r\n")
        await asyncio.sleep(0.05)


async def _huge(exchange: ChatExchange) -> None:
    await exchange.send(_stream_head("application/json") + _chunk(b'{"choices": [{"message": {"content": "'))
    while True:
        await exchange.send(_chunk(b"a" * 65_536))


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def _stream_head(kind: str = "text/event-stream") -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()


def _event(data: Any) -> bytes:
    return _chunk(b"data: " + (data if isinstance(data, bytes) else json.dumps(data).encode()) + b"\n\n")


def _stream_chunk(model: str, delta: Mapping[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice]}


def _pieces(exchange: ChatExchange) -> Iterator[bytes]:
    """Yield the events of a proper stream without its end."""
    model = exchange.request.body.get("model", "ok")
    yield _event(_stream_chunk(model, {"role": "assistant", "content": ""}))
    for piece in _PIECE.findall(exchange.text):
        yield _event(_stream_chunk(model, {"content": piece}))


async def _stream(exchange: ChatExchange) -> None:
    body = exchange.request.body
    model = body.get("model", "ok")
    await asyncio.sleep(exchange.delay)
    await exchange.send(_stream_head())
    for event in _pieces(exchange):
        await exchange.send(event)
        if exchange.token_delay:
            await asyncio.sleep(exchange.token_delay)
    await exchange.send(_event(_stream_chunk(model, {}, _FINISH.get(model, "stop"))))
    if (body.get("stream_options") or {}).get("include_usage"):
        await exchange.send(_event({**_stream_chunk(model, {}), "choices": [], "usage": _USAGE}))
    await exchange.send(_event(b"[DONE]") + _chunk(b""))


async def _begin_stream(exchange: ChatExchange) -> None:
    await exchange.send(_stream_head())
    for _, event in zip(range(3), _pieces(exchange), strict=False):
        await exchange.send(event)


async def _stream_half(exchange: ChatExchange) -> None:
    await _begin_stream(exchange)
    await exchange.send(_chunk(b""))


async def _stream_reset(exchange: ChatExchange) -> None:
    await _begin_stream(exchange)
    await asyncio.sleep(0.05)
    exchange.abort()


async def _stream_error(exchange: ChatExchange) -> None:
    await _begin_stream(exchange)
    await exchange.send(_event({"error": {"message": "the engine stopped", "type": "server_error"}}) + _chunk(b""))


async def _stream_garbage(exchange: ChatExchange) -> None:
    await _begin_stream(exchange)
    await exchange.send(_event(b'{"choices": [{"delta"') + _chunk(b""))


async def _stream_huge(exchange: ChatExchange) -> None:
    await exchange.send(_stream_head())
    event = _event(_stream_chunk("stream-huge", {"content": "a" * 8_192}))
    while True:
        await exchange.send(event)


async def _stream_silent(exchange: ChatExchange) -> None:
    await _begin_stream(exchange)
    await asyncio.sleep(3600)


#: Whether the client asks for a stream or not.
_ANYWAY: dict[str, Behaviour] = {
    "retry-after": _fixed(_error(429, {"Retry-After": str(RETRY_AFTER_SECONDS)})),
    "retry-after-date": _retry_after_date,
    "context-length": _fixed(_error(400, code="context_length_exceeded", message="the prompt has too many tokens")),
    "echo-key": _echo_key,
    "redirect": _fixed(http_answer(307, b"", {"Location": "http://127.0.0.1:9/v1/chat/completions"})),
    "disconnect": _disconnect,
    "reset": _reset,
    "silent": _silent,
    "header-drip": _header_drip,
}
_WHOLE: dict[str, Behaviour] = {
    "error-in-answer": _fixed(http_answer(200, {"error": {"message": "the engine stopped", "code": "server_error"}})),
    "broken-json": _fixed(http_answer(200, b'{"choices": [{"message": {"content": "Sev')),
    "html": _fixed(http_answer(200, b"<html>Please log in.</html>", {"Content-Type": "text/html"})),
    "empty": _fixed(http_answer(200, b"")),
    "no-choices": _fixed(http_answer(200, {**completion(""), "choices": []})),
    "half-body": _half_body,
    "short-length": _short_length,
    "chunked": _chunked,
    "closing": _closing,
    "once": _once,
    "stale": _stale,
    "drip": _drip,
    "huge": _huge,
    "content-filter": _finished("content_filter"),
    "length": _finished("length"),
}
_STREAMS: dict[str, Behaviour] = {
    "stream-half": _stream_half,
    "stream-reset": _stream_reset,
    "stream-error": _stream_error,
    "stream-garbage": _stream_garbage,
    "stream-huge": _stream_huge,
    "stream-silent": _stream_silent,
}
