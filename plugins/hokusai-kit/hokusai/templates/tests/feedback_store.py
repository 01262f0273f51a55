"""Tests of the store: the suite that every feedback store passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from acme_sample.feedback_store import AcmeSample
from hokusai_core.testing.feedback_stores import FeedbackStoreConformance


class TestAcmeSample(FeedbackStoreConformance):
    @pytest.fixture
    def make_store(self, tmp_path: Path) -> Callable[[], AcmeSample]:
        return lambda: AcmeSample(tmp_path / "store" / "feedback.db")
