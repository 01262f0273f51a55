"""What the lazy targets of the good plugin reach."""

from __future__ import annotations

from hokusai_core.errors import CacheError


class Box:
    tier, secret = "box", b"0123456789abcdef"

    def __init__(self, size: int = 10) -> None:
        self.size = size

    def get(self, key: str) -> None:
        return None

    def put(self, entry: object) -> None:
        """Drop it."""

    async def aget(self, key: str) -> None:
        return None

    async def aput(self, entry: object) -> None:
        """Drop it."""

    def close(self) -> None:
        """Nothing is open."""


def open_picky(directory: str = "") -> object:
    raise CacheError(f"cannot open {directory!r}")


def shout() -> None:
    raise AssertionError("a command is handed over, never called")
