"""The run of MLflow that single executions of the command go to."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from hokusai.command_executor import make_executor

TODAY = f"hokusai {date.today().isoformat()}"


@pytest.fixture(autouse=True)
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what is tracked in a folder of the test's own, with no writer process."""
    monkeypatch.setenv("HOKUSAI_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("HOKUSAI_TRACKING_WRITER", "none")
    for name in ("HOKUSAI_TRACKERS", "HOKUSAI_TRACKING_RUN", "HOKUSAI_TRACKING_RUN_NAME", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)


def run_of(**options: Any) -> str:
    """Return the name of the run that a command's executor records in."""
    with make_executor({}, **options) as executor:
        tracker = executor.stats()["trackers"]["mlflow"]
        assert tracker["tracking_uri"]
        return str(tracker["run_name"])


def test_single_executions_go_to_the_run_of_the_day() -> None:
    assert run_of(track=True, daily=True) == TODAY
    assert run_of(track=True).startswith("hokusai-")  # a batch


def test_a_configured_tracker_records_in_the_run_of_the_day_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOKUSAI_TRACKERS", "mlflow")
    assert run_of(track=False, daily=True) == TODAY


@pytest.mark.parametrize(
    ("variable", "value", "name"),
    [("HOKUSAI_TRACKING_RUN", "executor", "hokusai-"), ("HOKUSAI_TRACKING_RUN_NAME", "nightly", "nightly")],
)
def test_a_setting_goes_before(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, name: str) -> None:
    monkeypatch.setenv(variable, value)
    assert run_of(track=True, daily=True).startswith(name)


def test_what_is_not_tracked_stays_so() -> None:
    with make_executor({}, track=False, daily=True) as executor:
        assert "mlflow" not in executor.stats()["trackers"]
