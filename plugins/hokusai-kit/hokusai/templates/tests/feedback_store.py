"""Tests of the store: the suite that every feedback store passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from hokusai_core.testing.feedback_stores import FeedbackStoreConformance

from acme_sample.feedback_store import AcmeSample


class TestAcmeSample(FeedbackStoreConformance):
    @pytest.fixture
    def make_store(self, tmp_path: Path) -> Callable[[], AcmeSample]:
        return lambda: AcmeSample(tmp_path / "store" / "feedback.db")

    @pytest.fixture
    def outage(self, tmp_path: Path) -> Callable[[], AbstractContextManager[None]]:
        @contextmanager
        def folder_is_gone() -> Iterator[None]:
            (tmp_path / "store").rename(tmp_path / "aside")
            (tmp_path / "store").write_bytes(b"")  # a file where the folder was
            yield
            (tmp_path / "store").unlink()
            (tmp_path / "aside").rename(tmp_path / "store")

        return folder_is_gone
