"""Tests of the cache: the suite that every cache passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from hokusai_core.testing.caches import CacheConformance

from acme_sample.cache import AcmeSample


class TestAcmeSample(CacheConformance):
    @pytest.fixture
    def make_cache(self, tmp_path: Path) -> Callable[[], AcmeSample]:
        return lambda: AcmeSample(tmp_path / "answers")

    @pytest.fixture
    def outage(self, tmp_path: Path) -> Callable[[], AbstractContextManager[None]]:
        @contextmanager
        def folder_is_gone() -> Iterator[None]:
            (tmp_path / "answers").rename(tmp_path / "aside")
            (tmp_path / "answers").write_bytes(b"")  # a file where the folder was
            yield
            (tmp_path / "answers").unlink()
            (tmp_path / "aside").rename(tmp_path / "answers")

        return folder_is_gone
