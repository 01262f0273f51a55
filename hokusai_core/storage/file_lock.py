"""Advisory locks on files that end with the process that holds them, however it dies.

The library ``filelock`` is not used: it empties the file that it locks, so it can lock neither a log that is being
appended to nor tell whether another process holds one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from hokusai_core.storage.private_folders import open_private_file

__all__ = ["file_lock", "is_locked", "lock_descriptor", "unlock_descriptor"]

_POLL_SECONDS = 0.005


def lock_descriptor(descriptor: int, timeout: float | None = 0.0) -> bool:
    """Lock an open file for this process alone; closing its last descriptor unlocks it.

    A child process made by ``fork`` shares the lock, until both have closed the file.

    Args:
        descriptor: an open file.
        timeout: seconds to wait for another holder; 0 tries once, None waits without end.

    Returns:
        Whether the lock is held.

    Raises:
        OSError: The file system knows no locks.
    """
    if timeout is None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return True
    end = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(_POLL_SECONDS)
        else:
            return True


def unlock_descriptor(descriptor: int) -> None:
    """Unlock an open file and leave it open."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)


@contextmanager
def file_lock(
    path: str | os.PathLike[str], timeout: float | None = None, *, check_owner: bool = False
) -> Iterator[None]:
    """Hold the lock of a lock file. The file is created if it is missing, and stays.

    Args:
        path: the lock file.
        timeout: seconds to wait for another holder; 0 tries once, None waits without end.
        check_owner: whether to refuse a lock file that another user owns or can write to.

    Raises:
        BlockingIOError: Another process, or another holder in this one, kept the lock for ``timeout`` seconds.
        OSError: The file cannot be opened or locked.

    Example:
        >>> from hokusai_core.storage import file_lock
        >>> with file_lock("store.lock", timeout=1.0):
        ...     pass
    """
    descriptor = open_private_file(path, os.O_RDWR | os.O_CREAT, check_owner=check_owner)
    try:
        if not lock_descriptor(descriptor, timeout):
            raise BlockingIOError(errno.EAGAIN, "in use by another process", os.fspath(path))
        yield
    finally:
        os.close(descriptor)  # unlocks


def is_locked(path: str | os.PathLike[str]) -> bool:
    """Return whether a process holds the lock of a file; False where there is no such file.

    The file is never made, and a lock that is free is held for a moment only.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
