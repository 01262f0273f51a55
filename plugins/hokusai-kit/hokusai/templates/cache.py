"""AcmeSample: keeps answers in files of a folder."""

from __future__ import annotations

import hashlib
import os
import secrets
from functools import cached_property
from pathlib import Path

from hokusai_core.errors import CacheError, DamagedEntryError
from hokusai_core.plugin_api import CacheEntry, async_twin, atomic_write, file_lock, private_folder, user_cache_folder

__all__ = ["AcmeSample"]


class AcmeSample:
    """One file for each answer.

    Args:
        folder: where the files are; left out, a folder of the user.
    """

    tier = "acme-plugin"
    fork_safe = True  # it keeps nothing open

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self._folder = Path(folder) if folder is not None else user_cache_folder("acme-plugin")

    @cached_property
    def secret(self) -> bytes:
        """The secret of the store, which sensitive inputs are hashed with. All processes share it."""
        private_folder(self._folder)
        path = self._folder / "secret"
        with file_lock(self._folder / "lock"):
            if not path.exists():
                atomic_write(path, [secrets.token_bytes(32)])
            return path.read_bytes()

    def get(self, key: str) -> CacheEntry | None:
        """Return the entry stored under ``key``, or None.

        Raises:
            CacheError: The folder cannot be read.
        """
        path = self._path(key)
        try:
            return CacheEntry.from_bytes(key, path.read_bytes(), self.secret)
        except FileNotFoundError:
            return None
        except DamagedEntryError:
            path.unlink(missing_ok=True)
            return None
        except OSError as error:
            raise CacheError(f"{self._folder} cannot be read: {error}; name another folder") from error

    def put(self, entry: CacheEntry) -> None:
        """Store ``entry`` under its key.

        Raises:
            CacheError: The folder cannot be written to.
        """
        try:
            atomic_write(self._path(entry.key), [entry.to_bytes(self.secret)])
        except OSError as error:
            raise CacheError(f"{self._folder} cannot be written to: {error}; name another folder") from error

    aget = async_twin(get)
    aput = async_twin(put)

    def close(self) -> None:
        """Release what is open: nothing."""

    def _path(self, key: str) -> Path:
        # A key is any text, which a name of a file cannot be.
        return self._folder / hashlib.sha256(key.encode()).hexdigest()
