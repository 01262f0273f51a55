"""Room on the disk of the spool folder that only the writer uses.

What waits is taken into the ledger before it is delivered, on the same disk. A disk that is full of what waits would
keep it waiting for ever, if there were nothing set aside. The file is as large as what is set aside, and empty while
the writer uses it; trackers accept nothing meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import sqlite3
from pathlib import Path
from typing import Final

__all__ = ["NAME", "is_needed", "is_scarce", "is_used", "keep", "refill", "use"]

NAME: Final = "reserve"
_SIZE: Final = 8 * 2**20
#: Of a small disk no more than this part of what is free is set aside.
_PART: Final = 4
#: With less room than this the writer is thrifty.
_AMPLE: Final = 64 * 2**20
_PIECE: Final = bytes(2**16)


def keep(folder: Path) -> None:
    """Set room aside, unless that was done before."""
    path = folder / NAME
    if path.exists():
        return
    fresh = folder / f"{NAME}-{secrets.token_hex(4)}"
    try:
        _allocate(fresh, folder)
        fresh.rename(path)
    except OSError:  # the disk is full already
        with contextlib.suppress(OSError):
            fresh.unlink()


def is_used(folder: Path) -> bool:
    """Return whether the writer uses it."""
    try:
        return (folder / NAME).stat().st_size == 0
    except OSError:
        return False


def is_scarce(folder: Path) -> bool:
    """Return whether the disk has hardly any room."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < _AMPLE


def is_needed(error: Exception) -> bool:
    """Return whether ``error`` says that the disk is full."""
    if isinstance(error, sqlite3.OperationalError):
        return error.sqlite_errorcode == sqlite3.SQLITE_FULL
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def use(folder: Path) -> bool:
    """Make it available to the writer; return whether there was anything."""
    try:
        descriptor = os.open(folder / NAME, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        had = os.fstat(descriptor).st_size > 0
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)
    return had


def refill(folder: Path) -> None:
    """Set room aside again, now that the writer has delivered everything."""
    with contextlib.suppress(OSError):  # still no room; the next time
        _allocate(folder / NAME, folder)


def _allocate(path: Path, folder: Path) -> None:
    found = os.statvfs(folder)
    pieces = min(_SIZE, found.f_bavail * found.f_frsize // _PART) // len(_PIECE)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        for _ in range(max(1, pieces)):
            os.write(descriptor, _PIECE)
    finally:
        os.close(descriptor)
