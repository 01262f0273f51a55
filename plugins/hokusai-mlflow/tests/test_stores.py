from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from hokusai_core.testing.trackers import make_event
from hokusai_mlflow.delivery import mlflow_stores
from hokusai_mlflow.delivery.mlflow_stores import StoreBusy, is_busy, open_store, probe
from hokusai_mlflow.delivery_supervisor import complaint


def test_a_database_that_another_process_makes_is_left_to_it_until_it_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.touch()
    with pytest.raises(StoreBusy):
        open_store(f"sqlite:///{path}")
    long_ago = time.time() - 3600
    os.utime(path, (long_ago, long_ago))
    assert str(path) in open_store(f"sqlite:///{path}")


def test_a_database_that_appears_meanwhile_is_taken(
    tmp_path: Path, template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store" / "mlflow.db"

    class Slow:
        def __init__(self, uri: str, _artifacts: str) -> None:
            Path(uri.removeprefix("sqlite:///")).write_bytes(b"mine")
            path.write_bytes(b"theirs")
            self.engine = self

        def dispose(self) -> None:
            """Nothing is open."""

    monkeypatch.setattr(mlflow_stores, "SqlAlchemyStore", Slow)
    open_store(f"sqlite:///{path}")
    assert path.read_bytes() == b"theirs"
    assert [found.name for found in path.parent.iterdir()] == ["mlflow.db"]


def test_a_database_that_is_deleted_under_the_writer_stays_deleted(place: Any) -> None:
    path = Path(place.uri.removeprefix("sqlite:///"))
    client = MlflowClient(open_store(place.uri))
    path.unlink()
    with pytest.raises(MlflowException, match="unable to open"):
        client.search_experiments()
    assert not path.exists()


def test_a_store_that_was_deleted_is_begun_anew(place: Any, template: Path) -> None:
    tracker = place.tracker()
    tracker.record(make_event())
    assert place.deliver()
    path = Path(place.uri.removeprefix("sqlite:///"))
    path.write_bytes(template.read_bytes())
    tracker.record(event := make_event())
    assert place.deliver()
    assert [row["execution_id"] for row in place.rows()] == [event.execution_id]


def test_other_addresses_are_left_as_they_are() -> None:
    for uri in ("http://127.0.0.1:9", "sqlite:///:memory:", "sqlite:///file:x?uri=true", "postgresql://a@b/c"):
        assert open_store(uri) == uri


def test_a_locked_database_is_a_passing_trouble(place: Any) -> None:
    assert is_busy(MlflowException("(sqlite3.OperationalError) database is locked"))
    assert not is_busy(MlflowException("(sqlite3.OperationalError) no such table: runs"))


def test_a_probe_is_short_and_leaves_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "9")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT", raising=False)
    with pytest.raises(MlflowException):
        probe("http://127.0.0.1:9")
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "9"
    assert "MLFLOW_HTTP_REQUEST_TIMEOUT" not in os.environ


def test_one_failure_is_no_complaint_and_a_long_silence_is() -> None:
    failed: dict[str, Any] = {"errors": {"http://x": {"error": "down", "count": 1}}, "pid": os.getpid()}
    assert complaint(failed) is None
    failed["errors"]["http://x"]["count"] = 2
    assert "http://x does not take executions (down)" in (complaint(failed) or "")
    silent = {"pid": os.getpid(), "contact": "http://y", "at": time.time() - 60}
    assert "http://y has not answered for 60 s" in (complaint(silent) or "")
    assert complaint({**silent, "contact": None}) is None
