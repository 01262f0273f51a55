"""Classify faults of a store by the errors that it raises."""

from __future__ import annotations

import enum
import errno
import sqlite3
import time
from pathlib import Path

import diskcache
from attrs import field, frozen

from hokusai_core.errors import CacheError

__all__ = ["Fault", "StoreFailure", "diagnose", "explain_fault"]


class Fault(enum.Enum):
    """A cause, worded so that it completes "the cache in FOLDER ...", and what to do about it."""

    LOCKED = ("is locked by another process", "it is tried again soon; if this stays, end the process that holds it")
    FULL = ("cannot grow: the disk, a quota or a file size limit is full", "free space, or set HOKUSAI_CACHE_DIR")
    READ_ONLY = ("cannot be written to", "make it writable for this user, or set HOKUSAI_CACHE_DIR to a folder that is")
    CORRUPT = ("is damaged", "it is moved aside and rebuilt")
    GONE = ("has disappeared", "it is made again")
    UNKNOWN = ("failed", "set HOKUSAI_CACHE_DIR to another folder, or turn it off with cache=None")


#: Primary result codes of SQLite -> what they mean here.
_SQLITE = {
    sqlite3.SQLITE_BUSY: Fault.LOCKED,
    sqlite3.SQLITE_LOCKED: Fault.LOCKED,
    sqlite3.SQLITE_FULL: Fault.FULL,
    sqlite3.SQLITE_READONLY: Fault.READ_ONLY,
    sqlite3.SQLITE_PERM: Fault.READ_ONLY,
    sqlite3.SQLITE_AUTH: Fault.READ_ONLY,
    sqlite3.SQLITE_CORRUPT: Fault.CORRUPT,
    sqlite3.SQLITE_NOTADB: Fault.CORRUPT,
    sqlite3.SQLITE_FORMAT: Fault.CORRUPT,
    sqlite3.SQLITE_TOOBIG: Fault.FULL,
}
_ERRNO = {
    errno.EAGAIN: Fault.LOCKED,
    errno.ENOSPC: Fault.FULL,
    errno.EDQUOT: Fault.FULL,
    errno.EFBIG: Fault.FULL,
    errno.EROFS: Fault.READ_ONLY,
    errno.EACCES: Fault.READ_ONLY,
    errno.EPERM: Fault.READ_ONLY,
    errno.ENOENT: Fault.GONE,
    errno.ENOTDIR: Fault.GONE,
}
#: Raised by diskcache itself when its own tables hold what it never wrote.
_ASTONISHED = (TypeError, ValueError, LookupError, AttributeError, AssertionError)


@frozen
class StoreFailure:
    """What could not be done, and when that was found out.

    Args:
        error: says why.
        at: of ``time.monotonic``.
    """

    error: CacheError
    at: float = field(factory=time.monotonic)

    def raise_again(self, asked: float) -> None:
        """Raise the same error for a caller that asked before the failure was known.

        Many callers may wait for a store that is locked. If each tried in turn, the last one would wait very long.

        Raises:
            CacheError: ``asked``, of ``time.monotonic()``, is before the failure.
        """
        if self.at >= asked:
            raise CacheError(*self.error.args) from self.error


def diagnose(error: BaseException, folder: Path) -> Fault:
    """Return what ``error`` says about the store in ``folder``.

    The first error of the chain that means something counts: a rollback that fails, or diskcache's ``Timeout``,
    hides the one that tells.
    """
    seen: BaseException | None = error
    while seen is not None:
        fault = _diagnose_one(seen, folder)
        if fault is not Fault.UNKNOWN:
            return fault
        seen = seen.__cause__ or seen.__context__
    return Fault.LOCKED if isinstance(error, diskcache.Timeout) else Fault.UNKNOWN


def _diagnose_one(error: BaseException, folder: Path) -> Fault:
    if isinstance(error, sqlite3.Error):
        return _diagnose_sqlite(error, folder)
    if isinstance(error, OSError):
        return _ERRNO.get(error.errno or 0, Fault.UNKNOWN)
    return Fault.CORRUPT if isinstance(error, _ASTONISHED) else Fault.UNKNOWN


def _diagnose_sqlite(error: sqlite3.Error, folder: Path) -> Fault:
    code = getattr(error, "sqlite_errorcode", 0)
    if code == sqlite3.SQLITE_READONLY_DBMOVED or not folder.is_dir():
        return Fault.GONE
    primary = code & 0xFF
    if primary in _SQLITE:
        return _SQLITE[primary]
    if primary == sqlite3.SQLITE_CANTOPEN:
        return Fault.READ_ONLY
    if primary == sqlite3.SQLITE_IOERR:
        # A write that the system refuses, for lack of room or for a limit, arrives as an input/output error.
        return Fault.FULL if code in (sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE) else Fault.UNKNOWN
    text = str(error)
    strange = text.startswith(("no such table", "no such column", "Could not decode", "malformed"))
    return Fault.CORRUPT if strange else Fault.UNKNOWN


def explain_fault(fault: Fault, folder: Path, error: BaseException) -> CacheError:
    """Return the error that tells a user what is wrong with the store in ``folder`` and what to do."""
    what, remedy = fault.value
    detail = f" ({type(error).__name__}: {error})" if fault is Fault.UNKNOWN else ""
    return CacheError(f"the cache in {folder} {what}{detail}; {remedy}")
