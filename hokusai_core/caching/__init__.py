"""The cache of answers: keys, the memory tier, and the tiers together. An entry is in ``hokusai_core.cache_entry``."""

from hokusai_core.caching.memory import MemoryCache

__all__ = ["MemoryCache"]
