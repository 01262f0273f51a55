"""The folder: who may use it, the secret, and the database's place in it.

::

    <folder>/            0700
        lock             held while the store is opened or replaced
        secret           32 random bytes, 0600
        store/           0700: the database
        store-corrupt-*  databases that were found damaged, the latest few
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hokusai_core.errors import CacheError

__all__ = ["SECRET_BYTES", "Folder"]

SECRET_BYTES = 32
#: Damaged databases that are kept for whoever wants to look into them.
_KEPT = 3
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_PACE = 0.005
_ELSEWHERE = "set HOKUSAI_CACHE_DIR to a folder of your own"
_DATABASE = ("cache.db", "cache.db-wal", "cache.db-shm", "cache.db-journal")


class Folder:
    """A folder that holds a store.

    Args:
        path: where it is; made when it is first needed.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.abspath(path.expanduser()))
        self.store = self.path / "store"
        self.database = self.store / "cache.db"
        self._secret = self.path / "secret"
        self._database = str(self.database)  # looked at before every use, where making a text of it would show

    def prepare(self) -> None:
        """Make the folder where it is missing, and refuse one that somebody else could tamper with.

        Raises:
            CacheError: it belongs to another user, others can write to it, or it is no folder.
            OSError: it cannot be made.
        """
        with suppress(FileExistsError, NotADirectoryError):
            for path in reversed([path for path in (self.path, *self.path.parents) if not os.path.lexists(path)]):
                path.mkdir(mode=0o700, exist_ok=True)
        if not self.path.is_dir():
            raise CacheError(f"the cache cannot be in {self.path}: something that is no folder is there; {_ELSEWHERE}")
        seen = self.path.stat()
        self._check_owner(self.path, seen)
        # An empty one was made for this. One that holds other things as well may be open to others for their sake.
        if seen.st_mode & _OTHERS and not any(self.path.iterdir()):
            self._close_to_others(self.path, 0o700)

    @contextmanager
    def locked(self, patience: float) -> Iterator[None]:
        """Keep every other process from opening or replacing the store, waiting at most ``patience`` seconds for it.

        Raises:
            BlockingIOError: another process holds it.
        """
        handle = self._open_file(self.path / "lock", os.O_RDWR | os.O_CREAT)
        try:
            end = time.monotonic() + patience
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= end:
                        raise
                    time.sleep(_PACE)
            yield
        finally:
            os.close(handle)  # this releases the lock

    def read_or_make_secret(self, known: bytes | None) -> bytes:
        """Return the store's secret; call it with the lock held.

        Args:
            known: the secret that this process has used so far, which a folder that was deleted gets again.
        """
        return self.read_secret() or self._make_secret(known)

    def read_secret(self) -> bytes | None:
        """Return the store's secret, None where there is none.

        Raises:
            CacheError: its file is a link, belongs to another user, or others can write to it.
        """
        try:
            handle = self._open_file(self._secret, os.O_RDONLY)
        except FileNotFoundError:
            return None
        with os.fdopen(handle, "rb") as file:
            found = file.read(SECRET_BYTES + 1)
        # One of another length was cut off; what was stored with the whole one can no longer be verified.
        return found if len(found) == SECRET_BYTES else None

    def prepare_store(self) -> None:
        """Make the place of the database and refuse links in it; call it with the lock held.

        Raises:
            CacheError: a file is a link, belongs to another user, or others can write to it.
        """
        with suppress(FileExistsError):
            self.store.mkdir(mode=0o700)
        seen = self.store.lstat()
        self._check_owner(self.store, seen)
        if not stat.S_ISDIR(seen.st_mode):
            raise CacheError(f"the cache needs a folder at {self.store}; remove what is there")
        if seen.st_mode & _OTHERS:
            self._close_to_others(self.store, 0o700)
        paths = [path for name in _DATABASE if os.path.lexists(path := self.store / name)]
        for path in paths:
            seen = path.lstat()
            self._check_file(path, seen)
            if seen.st_mode & _OTHERS:
                self._close_to_others(path, 0o600)
        if self.database not in paths:
            for path in paths:  # the log of a database that was deleted spoils the one that takes its place
                path.unlink(missing_ok=True)
        # SQLite gives its other files the permissions of this one.
        os.close(self._open_file(self.database, os.O_RDWR | os.O_CREAT))

    def move_store_aside(self) -> Path:
        """Move a damaged database out of the way and return where it is now; call it with the lock held."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        target = self.path / f"store-corrupt-{stamp}-{secrets.token_hex(2)}"
        os.replace(self.store, target)
        for old in self.set_aside()[:-_KEPT]:
            shutil.rmtree(old, ignore_errors=True)  # it may go next time
        return target

    def set_aside(self) -> list[Path]:
        """Return the damaged databases that are kept, oldest first."""
        return sorted(self.path.glob("store-corrupt-*"), key=lambda path: path.lstat().st_mtime)

    def identity(self) -> tuple[int, int] | None:
        """Return what tells this database from another that takes its place, None where there is none."""
        try:
            seen = os.stat(self._database)
        except OSError:
            return None
        return seen.st_dev, seen.st_ino

    def _make_secret(self, known: bytes | None) -> bytes:
        secret = known or secrets.token_bytes(SECRET_BYTES)
        draft = self.path / f"secret-{secrets.token_hex(8)}"
        handle = self._open_file(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(secret)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, self._secret)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        return secret

    def _open_file(self, path: Path, flags: int) -> int:
        try:
            # A pipe in its place would be waited for without O_NONBLOCK; files do not know it.
            handle = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
                self._check_file(path, path.lstat())
            raise
        try:
            seen = os.fstat(handle)
            self._check_file(path, seen)
            if seen.st_mode & _OTHERS:
                self._close_to_others(handle, 0o600)
        except BaseException:
            os.close(handle)
            raise
        return handle

    def _close_to_others(self, target: int | Path, mode: int) -> None:
        with suppress(OSError):  # some file systems know no permissions
            os.chmod(target, mode)

    def _check_file(self, path: Path, seen: os.stat_result) -> None:
        self._check_owner(path, seen)
        if not stat.S_ISREG(seen.st_mode):
            raise CacheError(f"the cache file {path} is no ordinary file; remove it")

    def _check_owner(self, path: Path, seen: os.stat_result) -> None:
        if stat.S_ISLNK(seen.st_mode):
            raise CacheError(f"the cache file {path} is a symbolic link; remove it")
        if seen.st_uid != os.geteuid():
            raise CacheError(
                f"the cache at {path} belongs to another user (uid {seen.st_uid}), who could plant answers in it; "
                f"{_ELSEWHERE}"
            )
        if seen.st_mode & _OTHERS_WRITE:
            raise CacheError(
                f"others can write to the cache at {path} (mode {stat.S_IMODE(seen.st_mode):04o}) and plant answers in "
                f"it; run chmod go-w {path}, or {_ELSEWHERE}"
            )
