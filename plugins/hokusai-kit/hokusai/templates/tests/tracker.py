"""Tests of the tracker: the suite that every tracker passes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hokusai_core.testing.trackers import TrackerConformance

from acme_sample.tracker import AcmeSample


class TestAcmeSample(TrackerConformance):
    @pytest.fixture
    def make_tracker(self, tmp_path: Path) -> Callable[[], AcmeSample]:
        return lambda: AcmeSample(tmp_path / "spool")

    @pytest.fixture
    def read_executions(self, tmp_path: Path) -> Callable[[], list[dict[str, Any]]]:
        path = tmp_path / "spool" / "executions.jsonl"
        return lambda: [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @pytest.fixture
    def outage(self, tmp_path: Path) -> Callable[[], AbstractContextManager[None]]:
        path = tmp_path / "spool" / "executions.jsonl"

        @contextmanager
        def service_is_down() -> Iterator[None]:
            path.rename(tmp_path / "aside")
            path.mkdir()  # cannot be written to
            yield
            path.rmdir()
            (tmp_path / "aside").rename(path)

        return service_is_down
