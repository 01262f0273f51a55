"""The cache of answers: entries, keys, the memory tier and the stage that joins it to a persistent tier."""

from hokusai_core.caching.entry import CacheEntry
from hokusai_core.caching.memory import MemoryCache

__all__ = ["CacheEntry", "MemoryCache"]
