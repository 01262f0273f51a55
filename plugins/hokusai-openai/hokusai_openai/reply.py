"""Reply: reads a reply of HTTP/1.1 from a socket, until the deadline of its call.

The reader of ``http.client`` takes a tenth of the CPU of a whole call: it has headers read by the parser for e-mails.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from http.client import BadStatusLine, HTTPException, IncompleteRead, RemoteDisconnected

__all__ = ["Reply"]

_RECEIVED_AT_ONCE = 65_536
#: Bytes of the head, and of a line between two chunks, at most.
_LONGEST_HEAD = 65_536
_LONGEST_LINE = 1_024

_head_end = re.compile(rb"\r?\n\r?\n")
_fold = re.compile(r"\r?\n[ \t]+")
_status_line = re.compile(r"HTTP/1\.([01]) ([1-9]\d\d)(?: (.*))?")
_chunk_size = re.compile(rb"[0-9a-fA-F]{1,15}")


class Reply:
    """The reply to one request.

    Args:
        sock: the socket of the connection.
        deadline: when the call must be over, as ``time.monotonic()`` tells it.

    Attributes:
        received: whether any byte of the reply has come.
        status: the status, such as 200.
        reason: what the server says of it.
        length: bytes of the body; None where it ends with its last chunk or with the connection.
    """

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock, self._deadline = sock, deadline
        self.received = self._chunked = self._stays = self._complete = False
        self.status, self.reason = 0, ""
        self.length: int | None = None
        self._fields: dict[str, str] = {}
        #: What has come and is not read yet.
        self._rest = bytearray()

    def begin(self) -> None:
        """Wait for status and headers.

        Raises:
            TimeoutError: the deadline passed.
            OSError, HTTPException: the connection failed, or what comes is no reply.
        """
        minor = self._read_head()
        while 100 <= self.status < 200 and self.status != 101:  # the final one comes later
            minor = self._read_head()
        header = self._fields.get
        coding, length, connection = header("transfer-encoding"), header("content-length"), header("connection", "")
        self._stays = "keep-alive" in connection.lower() if minor == "0" else "close" not in connection.lower()
        if self.status < 200 or self.status in (204, 304):
            self.length = 0
        elif coding is not None:
            if coding.lower() != "chunked":
                raise HTTPException(f"the transfer encoding {coding[:80]!r} is not supported")
            self._chunked = True
        elif length is not None:
            if not (length.isascii() and length.isdigit()):
                raise HTTPException(f"the length {length[:80]!r} is not a number")
            self.length = int(length)
        else:
            self._stays = False

    def header(self, name: str) -> str | None:
        """Return the value of a header, None where there is none; several values are separated by commas."""
        return self._fields.get(name.lower())

    @property
    def reusable(self) -> bool:
        """Whether another request may be sent on the connection: the reply was read to its end, and nothing follows."""
        return self._stays and self._complete and not self._rest

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it comes.

        Raises:
            TimeoutError: the deadline passed.
            OSError, HTTPException: the connection failed, or broke off before the end of the body.
        """
        if self._chunked:
            yield from self._chunks()
        elif self.length is None:
            while self._rest or self._receive():
                yield self._take(len(self._rest))
        else:
            yield from self._taken(self.length)
        self._complete = True

    def _read_head(self) -> str:
        """Read one head and return the minor version of HTTP."""
        while (end := _head_end.search(self._rest)) is None:
            if len(self._rest) > _LONGEST_HEAD:
                raise HTTPException(f"the head of the reply has more than {_LONGEST_HEAD:,} bytes")
            if not self._receive():
                raise RemoteDisconnected("the server closed the connection before the head of its reply was complete")
        head = self._rest[: end.start()].decode("latin-1")
        del self._rest[: end.end()]
        if "\n " in head or "\n\t" in head:
            head = _fold.sub(" ", head)
        first, *lines = head.split("\n")
        found = _status_line.fullmatch(first.rstrip("\r"))
        if found is None:
            raise BadStatusLine(first[:80])
        self.status, self.reason = int(found[2]), (found[3] or "").strip()
        fields: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            name = name.lower()
            if not colon or not name or name != name.strip():
                raise HTTPException(f"the reply has a malformed header: {line[:80]!r}")
            value = value.strip()
            fields[name] = f"{fields[name]}, {value}" if name in fields else value
        self._fields = fields
        return found[1]

    def _chunks(self) -> Iterator[bytes]:
        while size := self._size_of_chunk():
            yield from self._taken(size)
            if self._line():
                raise HTTPException("a chunk of the reply is longer than it says")
        while self._line():  # headers that follow the body
            pass

    def _size_of_chunk(self) -> int:
        size = self._line().partition(b";")[0].strip()
        if not _chunk_size.fullmatch(size):
            raise HTTPException(f"a chunk of the reply has the size {bytes(size[:80])!r}")
        return int(size, 16)

    def _line(self) -> bytes:
        while (end := self._rest.find(b"\n")) < 0:
            if len(self._rest) > _LONGEST_LINE:
                raise HTTPException("the reply has a line of more bytes than a chunk may begin with")
            if not self._receive():
                raise IncompleteRead(b"")
        return self._take(end + 1).rstrip(b"\r\n")

    def _taken(self, size: int) -> Iterator[bytes]:
        """Yield so many bytes as they come."""
        while size:
            if not self._rest and not self._receive():
                raise IncompleteRead(b"", size)
            piece = self._take(size)
            size -= len(piece)
            yield piece

    def _take(self, most: int) -> bytes:
        piece = bytes(self._rest[:most])
        del self._rest[:most]
        return piece

    def _receive(self) -> bool:
        """Wait for more; return whether any came before the end."""
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(remaining)
        piece = self._sock.recv(_RECEIVED_AT_ONCE)
        if piece:
            self.received = True
            self._rest += piece
        return bool(piece)
