"""What the lazy targets of the good plugin reach."""

from __future__ import annotations

from hokusai_core.errors import CacheError


class Box:
    def __init__(self, size: int = 10) -> None:
        self.size = size


def open_picky(directory: str = "") -> object:
    raise CacheError(f"cannot open {directory!r}")


def shout() -> None:
    raise AssertionError("a command is handed over, never called")
