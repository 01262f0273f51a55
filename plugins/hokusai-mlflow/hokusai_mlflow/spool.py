"""The spool: files of checksummed lines that a tracker appends to and the writer reads.

A line is eight hexadecimal digits, the CRC-32 of what follows the space, and a JSON record. Each tracker appends to a
segment of its own, with one unbuffered write a record: once ``append`` returns, the record is the kernel's and survives
the death of the process. The tracker holds an advisory lock on its segment for as long as it may append; a segment
that can be locked belongs to nobody any more and is deleted once its records are in the ledger.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hokusai_mlflow import reserve

__all__ = ["SEGMENTS", "SegmentAppender", "is_abandoned", "parse_line", "segment_files", "spool_bytes"]

#: Subfolder that holds the segments.
SEGMENTS: Final = "segments"
_SUFFIX: Final = ".seg"
#: Bytes after which a tracker begins a new segment, so that delivered ones can be deleted.
_ROTATION: Final = 16 * 2**20


class SegmentAppender:
    """Appends records to a segment of its own; safe to call from many threads.

    Args:
        folder: the spool folder; made when the first record comes.
        limit: bytes that may wait in it.
    """

    def __init__(self, folder: Path, limit: int = _ROTATION) -> None:
        self._folder = folder / SEGMENTS
        self._rotation = min(_ROTATION, limit // 8)
        self._lock = threading.Lock()
        self._descriptor = -1
        self._size = 0
        self._torn = False
        self._contexts: set[int] = set()
        #: How many records were appended that have to be delivered.
        self.records = 0
        #: Whether somebody has deleted a segment under this process, for whoever says so to set back.
        self.lost = False

    def append(self, record: bytes, context: int, describe_context: bytes, *, counts: bool = True) -> None:
        """Write one record.

        Args:
            record: JSON.
            context: number of the context that it refers to.
            describe_context: record that defines the context; written once in each segment.
            counts: whether it has to be delivered; false for what only concerns the writer.

        Raises:
            OSError: it could not be written whole; what was written of it will be recognized as torn.
        """
        with self._lock:
            self._look()
            if self._descriptor < 0 or self._size >= self._rotation:
                self._open()
            line = _line(record)
            if context not in self._contexts:
                line = _line(describe_context) + line
            if self._torn:
                line = b"\n" + line
            self._write(line)
            self._contexts.add(context)
            self.records += counts

    def close(self) -> None:
        """Give the segment up; the next record begins a new one."""
        with self._lock:
            self._release()

    def look(self) -> bool:
        """Find out whether the segment is still there, or was deleted under this process."""
        with self._lock:
            self._look()
            return not self.lost

    def after_fork(self) -> None:
        """Begin anew in a forked process; the parent goes on with its segment."""
        # The lock may be held by a thread of the parent that does not exist here.
        inherited, self._descriptor, self._lock = self._descriptor, -1, threading.Lock()
        self.records = 0
        if inherited >= 0:
            os.close(inherited)

    def _look(self) -> None:
        if self._descriptor >= 0 and os.fstat(self._descriptor).st_nlink == 0:
            self._release()
            self.lost = True

    def _write(self, line: bytes) -> None:
        written = 0
        try:
            written = os.write(self._descriptor, line)
        finally:
            self._torn = written != len(line)
            self._size += written
        if self._torn:
            raise OSError(f"only {written} of {len(line)} bytes fit on the disk of the spool folder")

    def _open(self) -> None:
        self._release()
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = f"{time.time_ns():020d}-{os.getpid()}-{secrets.token_hex(4)}"
        hidden, final = self._folder / f"{name}.new", self._folder / f"{name}{_SUFFIX}"
        descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            hidden.rename(final)  # visible to the writer only once it is locked
        except OSError:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                hidden.unlink()
            raise
        self._descriptor, self._size, self._torn, self._contexts = descriptor, 0, False, set()

    def _release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _line(record: bytes) -> bytes:
    return b"%08x %s\n" % (zlib.crc32(record), record)


def parse_line(line: bytes) -> bytes | None:
    """Return the record of a line without its line break, or None where it is damaged."""
    if len(line) < 10 or line[8:9] != b" ":
        return None
    record = line[9:]
    return record if b"%08x" % zlib.crc32(record) == line[:8] else None


def segment_files(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield the segments of a spool folder, oldest first."""
    try:
        with os.scandir(folder / SEGMENTS) as entries:
            found = [entry for entry in entries if entry.name.endswith(_SUFFIX)]
    except (FileNotFoundError, NotADirectoryError):
        return
    yield from sorted(found, key=lambda entry: entry.name)


def spool_bytes(*folders: Path) -> int:
    """Return how many bytes are in the files of ``folders``, but for what is set aside."""
    total = 0
    for where in folders:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(where) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # delivered and deleted meanwhile
                    total += entry.stat().st_size if entry.is_file() and entry.name != reserve.NAME else 0
    return total


def is_abandoned(path: str) -> bool:
    """Return whether nobody will append to the segment any more."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
