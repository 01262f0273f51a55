"""Tests of the cache: the suite that every cache passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from acme_sample.cache import AcmeSample
from hokusai_core.testing.caches import CacheConformance


class TestAcmeSample(CacheConformance):
    @pytest.fixture
    def make_cache(self, tmp_path: Path) -> Callable[[], AcmeSample]:
        return lambda: AcmeSample(tmp_path / "answers")
