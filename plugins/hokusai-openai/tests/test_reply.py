"""Replies that are read, and replies that are refused, over a real pair of sockets."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from typing import Any

import pytest

from hokusai_openai.connections import Connection
from hokusai_openai.reply import Reply

Ask = Callable[..., Reply]
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def body_of(reply: Reply) -> bytes:
    return b"".join(reply.pieces())


@pytest.fixture
def ask() -> Any:
    """What a client gets of a server that sends these pieces and, unless it stays, closes the connection."""
    pairs = []

    def answered(*pieces: bytes, stays: bool = False, seconds: float = 5) -> Reply:
        ours, theirs = socket.socketpair()
        pairs.extend([ours, theirs])
        for piece in pieces:
            theirs.sendall(piece)
        if not stays:
            theirs.shutdown(socket.SHUT_WR)
        return Connection(ours).ask(b"", time.monotonic() + seconds)

    yield answered
    for one in pairs:
        one.close()


@pytest.mark.parametrize(
    "head",
    [
        LENGTH + b"\r\n",
        b"HTTP/1.1 200\nContent-Length: 2\n\n",
        b"HTTP/1.1 200 OK\r\ncontent-length:2 \r\nX-Empty:\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + LENGTH + b"\r\n",
        LENGTH + b"X-Long: one\r\n two\r\n\r\n",
    ],
)
def test_usual_heads_keep_the_connection(ask: Ask, head: bytes) -> None:
    reply = ask(head + b"{}", stays=True)
    assert (reply.status, reply.header("Content-Length"), body_of(reply)) == (200, "2", b"{}")
    assert reply.reusable


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", b"{}"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n", b"{}"),
        (LENGTH + b"Connection: Close\r\n\r\n", b"{}"),
        (b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", b""),
    ],
)
def test_other_heads_end_it(ask: Ask, head: bytes, body: bytes) -> None:
    reply = ask(head + b"{}")
    assert body_of(reply) == body
    assert not reply.reusable


@pytest.mark.parametrize("step", [1, 7, 1_000])
def test_chunks_are_put_together_and_go_before_a_length(ask: Ask, step: int) -> None:
    sent = LENGTH + b"Transfer-Encoding: Chunked\r\n\r\n3;a=b\r\n{  \r\n0001\n}\n0\r\nX-Sum: 1\r\n\r\n"
    reply = ask(*(sent[start : start + step] for start in range(0, len(sent), step)), stays=True)
    assert (body_of(reply), reply.reusable) == (b"{  }", True)


def test_what_follows_a_reply_unasked_ends_the_connection(ask: Ask) -> None:
    reply = ask(LENGTH + b"\r\n{}HTTP/1.1 200 OK\r\n", stays=True)
    assert (body_of(reply), reply.reusable) == (b"{}", False)


def test_a_body_that_is_not_read_ends_the_connection(ask: Ask) -> None:
    assert not ask(LENGTH + b"\r\n{}", stays=True).reusable


def test_a_silent_server_ends_the_wait(ask: Ask) -> None:
    with pytest.raises(TimeoutError):
        ask(LENGTH, stays=True, seconds=0.05)


def test_headers_have_the_values_that_http_client_reads(ask: Ask) -> None:
    head = LENGTH + b"Retry-After: 3\r\nX-Request-Id:  a b\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nX-Name: \xe9\r\n"
    head += b"\r\n"
    reply = ask(head + b"{}")
    ours, theirs = socket.socketpair()
    theirs.sendall(head + b"{}")
    usual = HTTPResponse(ours, method="POST")
    usual.begin()
    for name in ("retry-after", "x-request-id", "Set-Cookie", "x-name", "content-length", "x-none"):
        assert reply.header(name) == usual.getheader(name)
    usual.close()
    ours.close()
    theirs.close()


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"SSH-2.0-OpenSSH_9\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        LENGTH + b"no colon\r\n\r\n",
        LENGTH + b"Name : blank\r\n\r\n",
        LENGTH + b": nameless\r\n\r\n",
        LENGTH + b"Content-Length: 3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1_0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 140_000 + b"\r\n\r\n",
    ],
)
def test_heads_that_cannot_be_read_are_refused(ask: Ask, head: bytes) -> None:
    with pytest.raises(HTTPException):
        ask(head)


@pytest.mark.parametrize(
    "sent",
    [
        LENGTH + b"\r\n1",
        LENGTH + b"\r\n",
        CHUNKS + b"3\r\n{ ",
        CHUNKS + b"2\r\n{}\r\n",
        CHUNKS + b"2\r\n{}\r\n0\r\n",
        CHUNKS + b"1\r\n{}\r\n0\r\n\r\n",
        CHUNKS + b"-2\r\n{}\r\n0\r\n\r\n",
        CHUNKS + b"0x2\r\n{}\r\n0\r\n\r\n",
        CHUNKS + b"\r\n",
        CHUNKS + b"a" * 3_000,
    ],
)
def test_bodies_that_break_off_are_refused(ask: Ask, sent: bytes) -> None:
    reply = ask(sent)
    with pytest.raises(HTTPException):
        body_of(reply)
    assert not reply.reusable
