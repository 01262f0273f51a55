"""The memory tier passes the suite that every cache has to pass."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hokusai_core.plugin_api import MemoryCache
from hokusai_core.testing.caches import CacheConformance


class TestMemoryCache(CacheConformance):
    durable = False

    @pytest.fixture
    def make_cache(self) -> Callable[[], MemoryCache]:
        return MemoryCache
