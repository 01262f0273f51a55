"""The cache passes the suite that every cache has to pass, with each eviction policy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

from hokusai_core.testing.caches import CacheConformance
from hokusai_core.testing.commands import CommandConformance
from hokusai_diskcache import DiskCache

#: A look-up is made on the event loop, where the store is open and answers without waiting for a lock.
LOOK_UP = frozenset({"Connection.execute", "Cursor.fetchall"})


class TestDiskCache(CacheConformance):
    calls_on_loop: ClassVar[frozenset[str]] = LOOK_UP

    @pytest.fixture
    def make_cache(self, tmp_path: Path) -> Callable[[], DiskCache]:
        return lambda: DiskCache(tmp_path / "store", busy_timeout=5)


class TestLeastRecentlyUsed(CacheConformance):
    calls_on_loop: ClassVar[frozenset[str]] = LOOK_UP

    @pytest.fixture
    def make_cache(self, tmp_path: Path) -> Callable[[], DiskCache]:
        return lambda: DiskCache(tmp_path / "store", busy_timeout=5, eviction_policy="least-recently-used")


class TestCacheCommand(CommandConformance):
    target = "hokusai_diskcache.commands:cache"
