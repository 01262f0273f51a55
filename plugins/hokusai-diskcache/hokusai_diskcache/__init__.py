"""A persistent cache of executions, shared by the processes of one machine."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hokusai_diskcache.cache import DiskCache

__all__ = ["DiskCache"]


def __getattr__(name: str) -> Any:
    # The plugin's hooks are imported by every program that lists plugins; diskcache only where a cache is used.
    if name == "DiskCache":
        return importlib.import_module("hokusai_diskcache.cache").DiskCache
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
