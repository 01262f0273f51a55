"""The folder of a cache: its permissions, its secret, and the path of its database.

::

    <folder>/            0700
        lock             held while the store is opened or replaced
        secret           32 random bytes, 0600
        store/           0700: the database
        store-corrupt-*  databases that were found damaged, the latest three
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hokusai_core.errors import CacheError, ConfigurationError
from hokusai_core.plugin_api import (
    UnsafeFileError,
    atomic_write,
    file_lock,
    open_private_file,
    private_folder,
    secure_file,
    user_cache_folder,
)

__all__ = ["DIRECTORY_VARIABLE", "SECRET_BYTES", "Folder", "default_directory"]

DIRECTORY_VARIABLE = "HOKUSAI_CACHE_DIR"
SECRET_BYTES = 32
#: Damaged databases that are kept, for a look into them.
_KEPT = 3
_DATABASE = ("cache.db", "cache.db-wal", "cache.db-shm", "cache.db-journal")


def default_directory() -> Path:
    """Return the folder that is used where none is given: ``HOKUSAI_CACHE_DIR``, else one in the user's cache."""
    return user_cache_folder("executions", variable=DIRECTORY_VARIABLE)


class Folder:
    """A folder that holds a store.

    Args:
        path: the folder; made when it is first needed.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.abspath(path.expanduser()))
        self.store = self.path / "store"
        self.database = self.store / "cache.db"
        self._secret = self.path / "secret"
        self._database = str(self.database)  # looked at before every use, where making a text of it would show

    def prepare(self) -> None:
        """Make the folder where it is missing, and refuse one that another user could tamper with.

        Raises:
            CacheError: It belongs to another user, others can write to it, or something else is there.
            OSError: It cannot be made.
        """
        _private(self.path)

    @contextmanager
    def locked(self, timeout: float) -> Iterator[None]:
        """Keep every other process from opening or replacing the store, waiting at most ``timeout`` seconds for it.

        Raises:
            BlockingIOError: Another process holds it.
            CacheError: The lock file was tampered with.
        """
        with _refusing_strange_files(), file_lock(self.path / "lock", timeout, check_owner=True):
            yield

    def read_or_make_secret(self, known: bytes | None) -> bytes:
        """Return the store's secret; call it with the lock held.

        Args:
            known: the secret that this process has used so far, which a folder that was deleted gets again.

        Raises:
            CacheError: The file of the secret was tampered with.
        """
        found = self.read_secret()
        if found is None:
            found = known or secrets.token_bytes(SECRET_BYTES)
            atomic_write(self._secret, [found])
        return found

    def read_secret(self) -> bytes | None:
        """Return the store's secret, None where there is none.

        Raises:
            CacheError: Its file is a link, belongs to another user, or others can write to it.
        """
        try:
            with _refusing_strange_files():
                handle = open_private_file(self._secret, os.O_RDONLY, check_owner=True)
        except FileNotFoundError:
            return None
        with os.fdopen(handle, "rb") as file:
            found = file.read(SECRET_BYTES + 1)
        # One of another length was cut off; what was stored with the whole one can no longer be verified.
        return found if len(found) == SECRET_BYTES else None

    def prepare_store(self) -> None:
        """Make the place of the database and refuse links in it; call it with the lock held.

        Raises:
            CacheError: A file is a link, belongs to another user, or others can write to it.
        """
        if self.store.is_symlink():
            raise CacheError(f"the cache file {self.store} is a symbolic link; remove it")
        _private(self.store)
        with suppress(OSError):  # some file systems know no permissions
            self.store.chmod(0o700)
        present = [path for name in _DATABASE if os.path.lexists(path := self.store / name)]
        with _refusing_strange_files():
            for path in present:
                secure_file(path)
            if self.database not in present:
                for path in present:  # the log of a database that was deleted spoils the one that takes its place
                    path.unlink(missing_ok=True)
                # SQLite gives its other files the permissions of this one.
                os.close(open_private_file(self.database, check_owner=True))

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


def _private(folder: Path) -> None:
    try:
        private_folder(folder, variable=DIRECTORY_VARIABLE)
    except ConfigurationError as error:
        raise CacheError(f"the cache cannot be used: {error}") from error
    except (FileExistsError, NotADirectoryError):
        raise CacheError(
            f"the cache cannot be in {folder}: something that is not a folder is there; set {DIRECTORY_VARIABLE} to "
            "another folder"
        ) from None


@contextmanager
def _refusing_strange_files() -> Iterator[None]:
    """Turn the refusal of a file into an error of the cache; other errors stay as they are."""
    try:
        yield
    except UnsafeFileError as error:
        raise CacheError(f"the cache file {error.filename} {error.strerror}; remove it") from error
