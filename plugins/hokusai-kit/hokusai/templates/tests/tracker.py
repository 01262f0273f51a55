"""Tests of the tracker: the suite that every tracker passes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from acme_sample.tracker import AcmeSample
from hokusai_core.testing.trackers import TrackerConformance


class TestAcmeSample(TrackerConformance):
    @pytest.fixture
    def make_tracker(self, tmp_path: Path) -> Callable[[], AcmeSample]:
        return lambda: AcmeSample(tmp_path / "spool")

    @pytest.fixture
    def read_executions(self, tmp_path: Path) -> Callable[[], list[dict[str, Any]]]:
        path = tmp_path / "spool" / "executions.jsonl"
        return lambda: [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
