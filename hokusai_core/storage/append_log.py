r"""AppendLog: an append-only file of checksummed lines.

A line is the CRC-32 of its payload in eight hexadecimal digits, a space, the payload, and a line feed::

    5d4b1cc1 {"key": "a", "ok": true}

A line is appended by one ``write``, so it is the kernel's once ``append`` returns, and neither ``kill -9`` nor a full
disk damages the lines before it. What a kill or a full disk has cut off is removed before the next line is written.
So a line in the middle whose checksum is wrong is always damage, and never the trace of a kill.

The lines of Hokusai 0.1 are read as well. Its batch journals had the checksum at the end, after a tab.
"""

from __future__ import annotations

import errno
import io
import os
import re
import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from hokusai_core.storage.file_lock import lock_descriptor, unlock_descriptor
from hokusai_core.storage.private_folders import open_private_file

__all__ = ["AppendLog", "LogLine", "parse_line", "read_log", "scan_lines"]

_CHUNK = 65_536
#: The end of a line as batch journals of 0.1 wrote it.
_OLD_END = re.compile(rb"\t[0-9a-f]{8}\n?\Z")


class LogLine(NamedTuple):
    """A line of a log, complete or damaged.

    Attributes:
        number: its number in the file, from 1; of what was read, where reading began elsewhere.
        offset: where it begins, in bytes.
        length: its length in bytes, line feed included.
        payload: the content; None where it cannot be trusted.
        torn: whether it was cut off by a kill or a full disk. A line without a payload that is not torn is damaged.
    """

    number: int
    offset: int
    length: int
    payload: bytes | None
    torn: bool

    @property
    def damaged(self) -> bool:
        """Whether the line was written whole, and changed afterwards."""
        return self.payload is None and not self.torn


class AppendLog:
    """A log that this process appends to; safe to use from many threads.

    Args:
        path: the file; made where it is missing, readable by this user alone. Its folder must exist.
        shared: whether other processes append to it at the same time. The lock is then held for each line only. A log
            that is not shared is locked until it is closed.
        follow_links: whether ``path`` may be a symbolic link.
        sync_every: seconds after which an appended line brings the file to the disk itself; None leaves that to the
            kernel, which survives the death of the process, though not a power cut.

    Raises:
        BlockingIOError: Another process appends to the log, and it is not shared.
        OSError: It cannot be opened or locked.

    Attributes:
        path: the file.
        dropped: how many bytes of a torn last line were removed when it was opened.

    Example:
        >>> from hokusai_core.storage import AppendLog, read_log
        >>> with AppendLog("rows.log") as log:
        ...     log.append(b'{"row": 1}')
        >>> [line.payload for line in read_log("rows.log")]
        [b'{"row": 1}']
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        shared: bool = False,
        follow_links: bool = False,
        sync_every: float | None = None,
    ) -> None:
        self.path = Path(path)
        self.dropped = 0
        self._shared, self._sync_every = shared, sync_every
        self._mutex = threading.Lock()
        self._synced = time.monotonic()
        self._descriptor = open_private_file(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, follow_links=follow_links)
        try:
            if not lock_descriptor(self._descriptor, None if shared else 0.0):
                raise BlockingIOError(errno.EAGAIN, "in use by another process", os.fspath(path))
            self.dropped = self._drop_torn_end()
            self._clean = True
            if shared:
                unlock_descriptor(self._descriptor)
        except BaseException:
            self._close()
            raise

    def append(self, *payloads: bytes) -> None:
        """Append one line per payload, all in one write.

        Raises:
            OSError: They cannot be written whole, say because the disk is full. A line that was cut off is removed.
            ValueError: The log is closed, or a payload holds a line feed.
        """
        for payload in payloads:
            if b"\n" in payload:  # several times as fast as to count them in the joined lines
                raise ValueError("a payload of a log line cannot hold a line feed")
        data = b"".join([b"%08x %b\n" % (zlib.crc32(payload), payload) for payload in payloads])
        with self._mutex:
            if self._descriptor < 0:
                raise ValueError(f"the log {self.path} is closed")
            if self._shared:
                lock_descriptor(self._descriptor, None)
            try:
                if self._shared or not self._clean:
                    self._drop_torn_end()
                self._write(data)
            finally:
                if self._shared:
                    unlock_descriptor(self._descriptor)

    def scan(self) -> Iterator[LogLine]:
        """Yield the lines, oldest first."""
        yield from scan_lines(io.BufferedReader(_PositionedReader(self._descriptor), _CHUNK))

    def read_at(self, offset: int, length: int) -> bytes | None:
        """Return the payload of the line at a position that ``scan`` gave, or None if the line is damaged."""
        return parse_line(os.pread(self._descriptor, length, offset))

    def size(self) -> int:
        """Return the size of the file in bytes."""
        return os.fstat(self._descriptor).st_size

    def is_deleted(self) -> bool:
        """Return whether the file was deleted while it was open."""
        return os.fstat(self._descriptor).st_nlink == 0

    def clear(self) -> None:
        """Remove every line."""
        with self._mutex:
            os.ftruncate(self._descriptor, 0)

    def rename(self, path: str | os.PathLike[str]) -> None:
        """Move the file; the lock stays with it."""
        os.rename(self.path, path)
        self.path = Path(path)

    def sync(self) -> None:
        """Flush every line to the disk.

        Raises:
            OSError: The disk reports an error.
        """
        with self._mutex:
            if self._descriptor >= 0:
                os.fsync(self._descriptor)

    def close(self) -> None:
        """Close and unlock the file; calling it twice is harmless. Lines that the kernel holds are still written."""
        with self._mutex:
            self._close()

    @property
    def closed(self) -> bool:
        """Whether the log was closed."""
        return self._descriptor < 0

    def after_fork(self) -> None:
        """Close the log in a forked child; the parent keeps it, with its lock."""
        self._mutex = threading.Lock()  # a thread that does not exist here may hold the old one
        self._close()

    def __enter__(self) -> AppendLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            self._close()

    # -- inside -------------------------------------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        self._clean = False
        try:
            written = os.write(self._descriptor, data)
            while written < len(data):  # a signal came, or the disk is full, and then this raises
                written += os.write(self._descriptor, data[written:])
        except OSError:
            with suppress(OSError):
                self._drop_torn_end()
                self._clean = True
            raise
        self._clean = True
        if self._sync_every is not None and time.monotonic() - self._synced >= self._sync_every:
            os.fsync(self._descriptor)
            self._synced = time.monotonic()

    def _drop_torn_end(self) -> int:
        """Remove what follows the last line feed, and return its length in bytes."""
        size = end = os.fstat(self._descriptor).st_size
        while end > 0:
            start = max(0, end - _CHUNK)
            found = os.pread(self._descriptor, end - start, start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            os.ftruncate(self._descriptor, end)
        return size - end

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def parse_line(line: bytes) -> bytes | None:
    """Return the payload of a line, with or without its line feed; None where its checksum is wrong.

    Lines of batch journals of 0.1, whose checksum stands at the end, are read as well.
    """
    body = line[:-1] if line.endswith(b"\n") else line
    if body[8:9] == b" " and body[:8] == b"%08x" % zlib.crc32(body[9:]):
        return body[9:]
    body, separator, checksum = body.rpartition(b"\t")
    return body if separator and checksum == b"%08x" % zlib.crc32(body) else None


def scan_lines(lines: Iterable[bytes], offset: int = 0) -> Iterator[LogLine]:
    """Yield the lines of a log from an iterable of raw lines.

    Args:
        lines: the lines with their line feeds, such as a file opened in binary mode.
        offset: the place of the first one, in bytes.
    """
    for number, line in enumerate(lines, 1):
        whole = line.endswith(b"\n")
        payload = parse_line(line) if whole else None
        yield LogLine(number, offset, len(line), payload, payload is None and not (whole and _was_complete(line)))
        offset += len(line)


def read_log(path: str | os.PathLike[str], start: int = 0) -> Iterator[LogLine]:
    """Yield the lines of a log, which another process may be appending to.

    Args:
        path: the file.
        start: where to begin, in bytes; the beginning of a line.

    Raises:
        OSError: It cannot be read.
    """
    with open(path, "rb") as file:
        file.seek(start)
        yield from scan_lines(file, start)


class _PositionedReader(io.RawIOBase):
    """Reads a descriptor without moving its position, which other readers of it share."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._position = descriptor, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # the base class allows more kinds
        data = os.pread(self._descriptor, len(buffer), self._position)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def _was_complete(line: bytes) -> bool:
    """Return whether a wrong line was once written whole; journals of 0.1 hold pieces of lines in the middle."""
    return not line.startswith(b"{") or _OLD_END.search(line) is not None
