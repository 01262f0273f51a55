"""The outbox: logs that trackers append to and the writer reads.

A log is called a segment. It belongs to one tracker in one process and to one destination (a store and a run there),
which its first line describes. A record is appended with one unbuffered write: once ``append`` returns, the record is
the kernel's and survives the death of the process. The tracker holds the lock of its segments for as long as it may
append. The writer deletes a segment that it has delivered and that nothing locks.

A segment is called ``DESTINATION-TIME-TRACKER.seg``.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import define

from hokusai_core.plugin_api import AppendLog, private_folder

if TYPE_CHECKING:
    from hokusai_mlflow.destination import Destination

__all__ = ["Outbox", "destination_of", "outbox_bytes", "outbox_folder", "segment_files", "unfinished_files"]

_FOLDER: Final = "outbox"
_SUFFIX: Final = ".seg"
_UNFINISHED: Final = ".new"
#: Bytes that checksum and line feed add to a record.
_FRAME: Final = 10
#: Bytes after which a tracker begins a new segment, so that delivered ones can be deleted.
_ROTATION: Final = 16 * 2**20
#: Segments for runs of the host that a tracker keeps open, and seconds after the last record when it closes one.
_HOST_SEGMENTS: Final = 32
_HOST_IDLE: Final = 60.0


@define(eq=False)
class _Segment:
    """An open segment."""

    name: str
    log: AppendLog
    own: bool
    size: int
    used_at: float = 0.0


class Outbox:
    """Appends the records of one tracker; safe to call from many threads.

    Args:
        folder: the spool folder. It is made when the first record comes.
        limit: bytes that may wait in it.
    """

    def __init__(self, folder: Path, limit: int = _ROTATION) -> None:
        self._folder = folder / _FOLDER
        self._rotation = min(_ROTATION, limit // 8)
        self._lock = threading.Lock()
        self._open: dict[str, _Segment] = {}
        #: Segment -> bytes that were appended to it; those that the writer has deleted are forgotten.
        self._sizes: dict[str, int] = {}
        self._token = secrets.token_hex(3)
        #: How many events were appended.
        self.records = 0
        #: Whether a segment was deleted under this process; set back by the caller that reports it.
        self.lost = False

    def append(self, destination: Destination, record: bytes, *, counts: bool = True) -> None:
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

    def is_open(self, destination: Destination) -> bool:
        """Return whether records were appended for a destination since the outbox was last closed."""
        return destination.key in self._open

    def positions(self) -> dict[str, int]:
        """Return segment -> bytes, of every segment that the writer has not delivered and deleted yet."""
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
            for key in [key for key, one in self._open.items() if not one.own and now - one.used_at > _HOST_IDLE]:
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

    def _begin(self, destination: Destination) -> _Segment:
        segment = self._make(destination)
        # Closed after its successor is there: without any segment a run counts as over.
        before = self._open.pop(destination.key, None)
        self._open[destination.key] = segment
        hosts = [key for key, other in self._open.items() if not other.own]
        closing = [] if before is None else [before]
        closing += [self._open.pop(key) for key in hosts[:-_HOST_SEGMENTS]]
        for other in closing:
            other.log.close()
        return segment

    def _make(self, destination: Destination) -> _Segment:
        private_folder(self._folder)
        name = f"{destination.key}-{time.time_ns():016x}-{self._token}{_SUFFIX}"
        final = self._folder / name
        unfinished = final.with_suffix(_UNFINISHED)
        log = AppendLog(unfinished)
        try:
            log.append(destination.header)
            log.rename(final)  # the writer sees it only once it is locked and described
        except OSError:
            log.close()
            with contextlib.suppress(OSError):
                unfinished.unlink()
            raise
        return _Segment(name, log, destination.run_id is None, len(destination.header) + _FRAME)

    def _forget_deleted(self) -> None:
        self.lost = True
        self._close_all()
        self._sizes.clear()

    def _close_all(self) -> None:
        for segment in self._open.values():
            segment.log.close()
        self._open.clear()


def outbox_folder(folder: Path) -> Path:
    """Return the folder that holds the segments of a spool folder."""
    return folder / _FOLDER


def segment_files(folder: Path) -> list[os.DirEntry[str]]:
    """Return the segments of a spool folder, by destination and oldest first."""
    try:
        with os.scandir(folder / _FOLDER) as entries:
            found = [entry for entry in entries if entry.name.endswith(_SUFFIX)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(found, key=lambda entry: entry.name)


def unfinished_files(folder: Path) -> list[Path]:
    """Return the segments whose making is under way, or was cut off."""
    return list((folder / _FOLDER).glob(f"*{_UNFINISHED}"))


def destination_of(segment: str) -> str:
    """Return the key of the destination that a segment of that name belongs to."""
    return segment.partition("-")[0]


def outbox_bytes(folder: Path) -> int:
    """Return how many bytes the segments of a spool folder hold."""
    total = 0
    for entry in segment_files(folder):
        with contextlib.suppress(FileNotFoundError):  # delivered and deleted meanwhile
            total += os.stat(entry.path).st_size
    return total
