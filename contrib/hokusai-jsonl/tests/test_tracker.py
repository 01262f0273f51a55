from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from hokusai_core.protocols import Tracker
from hokusai_core.testing.trackers import TrackerConformance, make_event
from hokusai_core.types import ModelExchange
from hokusai_jsonl import JsonlTracker, read_lines


class TestJsonlTracker(TrackerConformance):
    @pytest.fixture
    def make_tracker(self, tmp_path: Path) -> Callable[[], Tracker]:
        return lambda: JsonlTracker(tmp_path / "logs" / "executions.jsonl")

    @pytest.fixture
    def read_executions(self, tmp_path: Path) -> Callable[[], Iterable[dict[str, Any]]]:
        path = tmp_path / "logs" / "executions.jsonl"
        return lambda: [line for line in read_lines(path) if line["kind"] == "execution"]


def test_a_line_that_was_cut_off_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "executions.jsonl"
    path.write_bytes(b'{"kind":"execution","exec')
    tracker = JsonlTracker(path)
    tracker.record(event := make_event())
    tracker.close()
    assert [line["execution_id"] for line in read_lines(path)] == [event.execution_id]


def test_prompts_that_another_tracker_asked_for_are_left_out(tmp_path: Path) -> None:
    tracker = JsonlTracker(path := tmp_path / "executions.jsonl")
    tracker.record(make_event(exchanges=(ModelExchange(({"role": "user", "content": "Canary"},), ("a",)),)))
    tracker.close()
    assert "Canary" not in path.read_text()


def test_the_path_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOKUSAI_JSONL_PATH", str(tmp_path / "here.jsonl"))
    assert JsonlTracker().path == tmp_path / "here.jsonl"


def test_a_full_disk_is_an_error_that_the_executor_counts(tmp_path: Path) -> None:
    tracker = JsonlTracker("/dev/full")
    with pytest.raises(OSError, match="space"):
        tracker.record(make_event())
    assert tracker.status()["last_error"]
    assert tracker.status()["accepted"] == 0
    tracker.close()
