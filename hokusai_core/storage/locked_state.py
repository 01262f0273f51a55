r"""LockedState: a small value in a file that several processes change in turn.

The file has one line that says what it is, and two slots. A change is written into the slot that holds the older value,
so the newer one stays whole whatever happens in between::

    hokusai-budget 1 65536 -
    5d4b1cc1 0000000000000007 {"cost": 120}
    8c7dd922 0000000000000008 {"cost": 150}

A slot is a checksum, the number of the change, and the value. The last character of the first line names the slot that
is being written, or is ``-``. So a slot that a kill has cut off differs from one that was damaged: the first is
ignored, the second is an error. The slots are allocated when the file is made, so a full disk stops no change.
"""

from __future__ import annotations

import errno
import os
import re
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from hokusai_core.storage.append_log import parse_line
from hokusai_core.storage.file_lock import lock_descriptor, unlock_descriptor
from hokusai_core.storage.private_folders import open_private_file

__all__ = ["DamagedStateError", "LockedState"]

T = TypeVar("T")

#: Bytes before the first slot. A slot that begins at a page and is shorter than one is written in one piece.
_HEAD: Final = 4096
_SLOT: Final = 65_536
#: Bytes that are read of a slot at first; most values are shorter.
_USUAL: Final = 1024
_FIRST_LINE: Final = re.compile(rb"hokusai-([a-z]+) (\d+) (\d+) ([-AB])\n")
#: Seconds after which a change brings the file to the disk.
_SYNC_EVERY: Final = 1.0


class DamagedStateError(ValueError):
    """A file that holds something else, was damaged, or was written by a newer version."""


class LockedState:
    """A value of at most 64 KiB in a file.

    It survives the death of any process at any moment. A power cut may lose the changes of the last second.

    Args:
        path: the file; made where it is missing, readable by this user alone. Its folder must exist.
        kind: a word that tells such files from others.
        version: version of what the values mean; a file of a newer one is refused.
        initial: value of a file that is made; None for a file that must exist.

    Raises:
        OSError: The file cannot be opened, made or locked.
        DamagedStateError: The file holds something else.
    """

    def __init__(self, path: str | os.PathLike[str], *, kind: str, version: int, initial: bytes | None) -> None:
        self.path, self._kind, self._version = Path(path), kind, version
        self._mutex = threading.Lock()
        self._descriptor = -1
        self._synced = time.monotonic()
        self._open(initial)

    def change(self, apply: Callable[[bytes], tuple[bytes | None, T]]) -> T:
        """Change the value while no other process or thread does.

        Args:
            apply: takes the value, and returns the new one, or None to leave it, and what this method returns. It must
                not take long, since all others wait.

        Raises:
            OSError: The file was deleted, moved or replaced, or cannot be read or written.
            DamagedStateError: The file was damaged.
        """
        with self._mutex:
            lock_descriptor(self._descriptor, None)
            try:
                self._check_place()
                number, payload = self._newest()
                new, result = apply(payload)
                if new is not None:
                    self._write(number + 1, new)
            finally:
                unlock_descriptor(self._descriptor)
            if new is not None and time.monotonic() - self._synced >= _SYNC_EVERY:
                self._synced = time.monotonic()
                os.fsync(self._descriptor)
        return result

    def close(self) -> None:
        """Close the file; calling it twice is harmless."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def reopen(self) -> None:
        """Open the file anew in a forked child: what the parent opened shares its locks with the parent."""
        self._mutex = threading.Lock()
        self.close()
        self._open(None)

    def __del__(self) -> None:
        with suppress(OSError, AttributeError):
            self.close()

    # -- inside -------------------------------------------------------------------------------------------------

    def _open(self, initial: bytes | None) -> None:
        try:
            self._descriptor = open_private_file(self.path, os.O_RDWR)
        except FileNotFoundError:
            if initial is None:
                raise
            self._make(initial)
            self._descriptor = open_private_file(self.path, os.O_RDWR)
        try:
            self.change(lambda payload: (None, None))
        except BaseException:
            self.close()
            raise

    def _make(self, initial: bytes) -> None:
        """Make the file under another name and give it its own when it is whole, unless another process was faster."""
        draft = self.path.with_name(f".{self.path.name[:200]}.{os.urandom(4).hex()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(self._first_line("-").ljust(_HEAD, b"\0"))
                file.write(_line(1, initial).ljust(_SLOT, b"\0"))
                file.write(_line(0, initial).ljust(_SLOT, b"\0"))
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                os.link(draft, self.path)
        finally:
            draft.unlink(missing_ok=True)

    def _first_line(self, writing: str) -> bytes:
        return f"hokusai-{self._kind} {self._version} {_SLOT} {writing}\n".encode()

    def _check_place(self) -> None:
        """Raise unless the file is where others look for it: else each would count for itself."""
        own = os.fstat(self._descriptor)
        there = os.stat(self.path)  # raises where it is missing
        if (there.st_ino, there.st_dev) != (own.st_ino, own.st_dev):
            raise OSError(errno.ESTALE, "was replaced by another file while it was in use", os.fspath(self.path))

    def _newest(self) -> tuple[int, bytes]:
        """Return the number and the value of the newest change."""
        head = os.pread(self._descriptor, 64, 0)
        found = _FIRST_LINE.match(head)
        if found is None or found[1] != self._kind.encode():
            raise DamagedStateError(f"{self.path} is no {self._kind} file, or was damaged")
        if int(found[2]) > self._version:
            raise DamagedStateError(f"{self.path} was written by a newer version of Hokusai (format {int(found[2])})")
        if int(found[3]) != _SLOT or not int(found[2]):
            raise DamagedStateError(f"{self.path} was damaged: its first line")
        slots = [self._slot(place) for place in (0, 1)]
        for place, slot in enumerate(slots):
            if slot is None and found[4] != b"AB"[place : place + 1]:
                raise DamagedStateError(f"{self.path} was damaged: its {('first', 'second')[place]} value")
        whole = [slot for slot in slots if slot is not None]
        if not whole:
            raise DamagedStateError(f"{self.path} was damaged: both of its values")
        return max(whole)

    def _slot(self, place: int) -> tuple[int, bytes] | None:
        """Return the number and the value in a slot, None where it is not whole."""
        offset = _HEAD + place * _SLOT
        read = os.pread(self._descriptor, _USUAL, offset)
        end = read.find(b"\n")
        if end < 0:
            read = os.pread(self._descriptor, _SLOT, offset)
            end = read.find(b"\n")
        payload = parse_line(read[: end + 1]) if end >= 0 else None
        if payload is None or payload[16:17] != b" ":
            return None
        number = int(payload[:16], 16)
        return (number, payload[17:]) if number % 2 != place else None

    def _write(self, number: int, value: bytes) -> None:
        place = 1 - number % 2
        line = _line(number, value)
        if len(line) > _SLOT:
            raise OSError(errno.EFBIG, "holds more than fits into it", os.fspath(self.path))
        mark = len(self._first_line("-")) - 2
        os.pwrite(self._descriptor, b"AB"[place : place + 1], mark)
        written = os.pwrite(self._descriptor, line, _HEAD + place * _SLOT)
        if written < len(line):
            raise OSError(errno.EIO, "could not be written whole", os.fspath(self.path))
        os.pwrite(self._descriptor, b"-", mark)


def _line(number: int, value: bytes) -> bytes:
    payload = b"%016x %b" % (number, value)
    return b"%08x %b\n" % (zlib.crc32(payload), payload)
