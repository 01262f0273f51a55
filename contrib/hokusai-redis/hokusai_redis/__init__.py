"""A cache of Hokusai answers that processes and machines share, in Redis or Valkey."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hokusai_redis.cache import RedisCache

__all__ = ["RedisCache"]


def __getattr__(name: str) -> Any:
    # The hooks are imported by every program that lists plugins, and redis only where the cache is used.
    if name == "RedisCache":
        return importlib.import_module("hokusai_redis.cache").RedisCache
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
