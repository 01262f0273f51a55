"""KeyNames: how the keys on the server are called."""

from __future__ import annotations

import re
from typing import Final

from hokusai_core.errors import ConfigurationError

__all__ = ["KeyNames"]

_PREFIX: Final = re.compile(r"[\w.:/-]{1,100}", re.ASCII)


class KeyNames:
    """The names under one prefix.

    Args:
        prefix: what they begin with.

    Raises:
        ConfigurationError: the prefix has other characters than letters, digits and ``. _ : / -``.
    """

    def __init__(self, prefix: str) -> None:
        if not _PREFIX.fullmatch(prefix):
            raise ConfigurationError(
                f"prefix={prefix!r}: expected 1 to 100 letters, digits, dots, colons, slashes, hyphens and underscores"
            )
        self.prefix = prefix
        self.secret = f"{prefix}:secret".encode()
        self._entry, self._lease = f"{prefix}:entry:".encode(), f"{prefix}:lease:".encode()

    @property
    def entries(self) -> bytes:
        """The pattern that the names of all entries match."""
        return self._entry + b"*"

    def entry(self, key: str) -> bytes:
        """Return the name of the entry of a key."""
        return self._entry + key.encode("utf-8", "surrogatepass")

    def lease(self, key: str) -> bytes:
        """Return the name of the lease on a key."""
        return self._lease + key.encode("utf-8", "surrogatepass")

    def key(self, name: bytes) -> str:
        """Return the key of the entry of a name."""
        return name[len(self._entry) :].decode("utf-8", "surrogatepass")
