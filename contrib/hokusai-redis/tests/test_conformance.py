"""The cache passes the suites that every cache, and every cache with leases, has to pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from hokusai_core.testing.cache_leases import CacheLeaseConformance
from hokusai_core.testing.caches import CacheConformance
from hokusai_redis import RedisCache
from hokusai_redis.testing import RedisProcess


class TestRedisCache(CacheConformance):
    @pytest.fixture
    def make_cache(self, make_cache: Callable[..., RedisCache]) -> Callable[..., RedisCache]:
        return make_cache

    @pytest.fixture
    def outage(self, server: RedisProcess) -> Callable[[], AbstractContextManager[None]]:
        @contextmanager
        def without_server() -> Iterator[None]:
            server.stop()
            yield
            server.start()

        return without_server


class TestRedisCacheLeases(CacheLeaseConformance):
    lease_seconds = 0.3

    @pytest.fixture
    def make_cache(self, make_cache: Callable[..., RedisCache]) -> Callable[..., Any]:
        return lambda: make_cache(lease=self.lease_seconds)
