"""The outbox: logs that trackers append to, and that are delivered from.

A log is called a segment. It belongs to one ``Outbox`` in one process and to one destination, which its first line
describes. A record is appended with one unbuffered write: once ``append`` returns, the record is the kernel's and
survives the death of the process. An ``Outbox`` holds the lock of its segments for as long as it may append. What
delivers deletes a segment that is delivered and that nothing locks.

A segment is called ``DESTINATION-TIME-OUTBOX.seg``.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from attrs import define, frozen

from hokusai_core.storage.append_log import AppendLog, parse_line
from hokusai_core.storage.file_lock import is_locked
from hokusai_core.storage.private_folders import private_folder

__all__ = ["Outbox", "OutboxDestination", "OutboxFolder", "OutboxPart"]

_FOLDER: Final = "outbox"
_SUFFIX: Final = ".seg"
_UNFINISHED: Final = ".new"
#: Bytes that checksum and line feed add to a record.
_FRAME: Final = 10
#: Bytes that are read at a time.
_PART: Final = 4 * 2**20
#: Bytes after which an outbox begins a new segment, so that delivered ones can be deleted.
_ROTATION: Final = 16 * 2**20
#: Segments of passing destinations that are kept open, and seconds after the last record when one is closed.
_PASSING_SEGMENTS: Final = 32
_PASSING_IDLE: Final = 60.0


class OutboxDestination(Protocol):
    """Where records belong."""

    @property
    def key(self) -> str:
        """What tells it apart from others: letters and digits, as it is part of file names."""

    @property
    def header(self) -> bytes:
        """The record that describes it, as JSON; the first one of each segment."""

    @property
    def lasting(self) -> bool:
        """Whether records may come for as long as the outbox is open; else its segment is closed when it is idle."""


@define(eq=False)
class _Segment:
    """An open segment."""

    name: str
    log: AppendLog
    lasting: bool
    size: int
    used_at: float = 0.0


class Outbox:
    """Appends records to segments; safe to use from many threads. ``DurableOutbox`` also delivers them.

    Args:
        folder: the spool folder. It is made when the first record comes.
        limit: bytes that may wait in it.
    """

    def __init__(self, folder: Path, limit: int = _ROTATION) -> None:
        self._folder = folder / _FOLDER
        self._rotation = min(_ROTATION, limit // 8)
        self._lock = threading.Lock()
        self._open: dict[str, _Segment] = {}
        #: Segment -> bytes that were appended to it; those that are delivered and deleted are forgotten.
        self._sizes: dict[str, int] = {}
        self._token = secrets.token_hex(3)
        #: How many events were appended.
        self.records = 0
        #: Whether a segment was deleted under this process; set back by the caller that reports it.
        self.lost = False

    def append(self, destination: OutboxDestination, record: bytes, *, counts: bool = True) -> None:
        """Write one record.

        Args:
            destination: where it belongs.
            record: JSON.
            counts: whether it is an event of the caller's.

        Raises:
            OSError: It cannot be written whole.
        """
        with self._lock:
            segment = self._open.get(destination.key)
            if segment is not None and segment.log.is_deleted():
                self._forget_deleted()
                segment = None
            if segment is None or segment.size >= self._rotation:
                segment = self._begin(destination)
            segment.log.append(record)
            segment.size += len(record) + _FRAME
            segment.used_at = time.monotonic()
            self._sizes[segment.name] = segment.size
            self.records += counts

    def is_open(self, destination: OutboxDestination) -> bool:
        """Return whether records were appended for a destination since the outbox was last closed."""
        return destination.key in self._open

    def positions(self) -> dict[str, int]:
        """Return segment -> bytes, of every segment that is not delivered and deleted yet."""
        with self._lock:
            for name in [name for name in self._sizes if not (self._folder / name).exists()]:
                del self._sizes[name]
            return dict(self._sizes)

    def look(self) -> bool:
        """Close what has not been used for long. Return False where segments were deleted under this process."""
        now = time.monotonic()
        with self._lock:
            if any(segment.log.is_deleted() for segment in self._open.values()):
                self._forget_deleted()
            for key in [
                key for key, one in self._open.items() if not one.lasting and now - one.used_at > _PASSING_IDLE
            ]:
                self._open.pop(key).log.close()
            return not self.lost

    def close(self) -> None:
        """Release the segments. The next record begins a new one."""
        with self._lock:
            self._close_all()

    def after_fork(self) -> None:
        """Begin anew in a forked process; the parent goes on with its segments."""
        # A thread that does not exist here may hold the lock.
        inherited, self._open, self._lock = self._open, {}, threading.Lock()
        self._sizes, self._token, self.records = {}, secrets.token_hex(3), 0
        for segment in inherited.values():
            segment.log.after_fork()

    def _begin(self, destination: OutboxDestination) -> _Segment:
        segment = self._make(destination)
        # Closed after its successor is there: without any segment a destination counts as over.
        before = self._open.pop(destination.key, None)
        self._open[destination.key] = segment
        passing = [key for key, other in self._open.items() if not other.lasting]
        closing = [] if before is None else [before]
        closing += [self._open.pop(key) for key in passing[:-_PASSING_SEGMENTS]]
        for other in closing:
            other.log.close()
        return segment

    def _make(self, destination: OutboxDestination) -> _Segment:
        private_folder(self._folder)
        name = f"{destination.key}-{time.time_ns():016x}-{self._token}{_SUFFIX}"
        final = self._folder / name
        unfinished = final.with_suffix(_UNFINISHED)
        log = AppendLog(unfinished)
        try:
            log.append(destination.header)
            log.rename(final)  # it is delivered only once it is locked and described
        except OSError:
            log.close()
            with contextlib.suppress(OSError):
                unfinished.unlink()
            raise
        return _Segment(name, log, destination.lasting, len(destination.header) + _FRAME)

    def _forget_deleted(self) -> None:
        self.lost = True
        self._close_all()
        self._sizes.clear()

    def _close_all(self) -> None:
        for segment in self._open.values():
            segment.log.close()
        self._open.clear()


@frozen
class OutboxPart:
    """A stretch of a segment.

    Args:
        start: where it begins, in bytes.
        end: where it ends, after a line break.
        records: offset and record of each line that is whole. The line at offset 0 is the header of the destination.
        damaged: how many lines are not whole.
    """

    start: int
    end: int
    records: list[tuple[int, bytes]]
    damaged: int = 0


@frozen
class OutboxFolder:
    """Reads the segments that any process has written to a spool folder, and removes those that are over.

    Args:
        spool: the spool folder, as ``Outbox`` is given it.
    """

    spool: Path

    @property
    def path(self) -> Path:
        """The folder that holds the segments."""
        return self.spool / _FOLDER

    def segment(self, name: str) -> Path:
        """Return the path of a segment."""
        return self.path / name

    @staticmethod
    def destination_key(name: str) -> str:
        """Return the key of the destination that a segment of that name belongs to."""
        return name.partition("-")[0]

    def segments(self) -> list[os.DirEntry[str]]:
        """Return the segments, by destination and oldest first."""
        try:
            with os.scandir(self.path) as entries:
                found = [entry for entry in entries if entry.name.endswith(_SUFFIX)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(found, key=lambda entry: entry.name)

    def sizes(self) -> dict[str, int]:
        """Return segment -> bytes, in the order of ``segments``."""
        found: dict[str, int] = {}
        for entry in self.segments():
            with contextlib.suppress(FileNotFoundError):  # delivered and deleted meanwhile
                found[entry.name] = os.stat(entry.path).st_size
        return found

    def read(self, name: str, start: int, *, end: int | None = None, limit: int = _PART) -> OutboxPart:
        """Return the next records of a segment; none of one that was deleted.

        Args:
            name: the segment.
            start: where to begin.
            end: where to end; None for as far as there are whole lines.
            limit: bytes to read at most, where a single record is not larger.
        """
        try:
            with open(self.segment(name), "rb") as segment:
                segment.seek(start)
                data = segment.read(limit if end is None else end - start)
                while end is None and data and b"\n" not in data and (more := segment.read(limit)):
                    data += more
        except FileNotFoundError:
            return OutboxPart(start, start, [])
        whole = data.rfind(b"\n") + 1
        found, damaged, offset = [], 0, start
        for line in data[:whole].split(b"\n")[:-1]:
            if line:  # an empty one follows a torn one
                record = parse_line(line)
                if record is None:
                    damaged += 1
                else:
                    found.append((offset, record))
            offset += len(line) + 1
        return OutboxPart(start, start + whole, found, damaged)

    def lines(self, name: str, offset: int) -> Iterator[bytes]:
        """Yield the whole lines of a segment from an offset on, with their checksums."""
        with contextlib.suppress(FileNotFoundError), open(self.segment(name), "rb") as segment:
            segment.seek(offset)
            for line in segment:
                if line.endswith(b"\n"):
                    yield line

    def is_finished(self, name: str, offset: int) -> bool:
        """Return whether a segment is read up to ``offset`` and nothing will follow but a torn last line."""
        if is_locked(self.segment(name)):
            return False
        # Read after the lock was found free: nothing can follow.
        return not any(self.lines(name, offset))

    def remove(self, name: str) -> None:
        """Delete a segment."""
        self.segment(name).unlink(missing_ok=True)

    def remove_unfinished(self) -> None:
        """Delete segments whose making was cut off by the death of their process."""
        for path in self.path.glob(f"*{_UNFINISHED}"):
            if not is_locked(path):
                path.unlink(missing_ok=True)
