from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

# Before mlflow is imported: what the writer sets for itself, and no telemetry from tests.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

from hokusai_mlflow import MlflowTracker
from hokusai_mlflow.loading import read_rows
from hokusai_mlflow.spool_status import read_status, writer_is_running
from hokusai_mlflow.writer import Writer, locked


@frozen
class Place:
    """A spool folder and an MLflow store of a test's own."""

    spool: Path
    uri: str

    def tracker(self, **options: Any) -> MlflowTracker:
        """Return a tracker whose executions are delivered by ``deliver``."""
        return MlflowTracker(
            **{"spool_folder": self.spool, "tracking_uri": self.uri, "experiment": "Test", "writer": "none"} | options
        )

    def deliver(self, timeout: float = 240) -> bool:
        """Deliver what waits, in this process."""
        with locked(self.spool) as held:
            assert held, "a writer process is at work"
            return Writer(self.spool, {}).drain(timeout)

    @property
    def client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(self.uri)

    def runs(self, experiment: str = "Test") -> list[Any]:
        found = self.client.get_experiment_by_name(experiment)
        return (
            [] if found is None else list(self.client.search_runs([found.experiment_id], order_by=["start_time ASC"]))
        )

    def rows(self, experiment: str = "Test") -> list[dict[str, Any]]:
        return [row for run in self.runs(experiment) for row in read_rows(self.client, run.info.run_id)]

    def traces(self, experiment: str = "Test") -> list[Any]:
        found = self.client.get_experiment_by_name(experiment)
        ids = [found.experiment_id] if found else []
        return list(self.client.search_traces(locations=ids, max_results=500)) if ids else []

    def end_writer(self) -> None:
        """End the writer process and wait for it."""
        if self.spool.exists() and writer_is_running(self.spool):
            os.kill(self.writer_pid(), signal.SIGTERM)
            self.wait_until(lambda: not writer_is_running(self.spool))

    def writer_pid(self) -> int:
        """Return the process id of the writer that runs, as soon as it has said it."""
        self.wait_until(lambda: self._alive(read_status(self.spool).get("pid")))
        return int(read_status(self.spool)["pid"])

    @staticmethod
    def _alive(pid: int | None) -> bool:
        if pid is None:
            return False
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True

    @staticmethod
    def wait_until(condition: Callable[[], bool], patience: float = 240) -> None:
        """Wait for ``condition``; how long it takes is not what is tested."""
        end = time.monotonic() + patience
        while not condition():
            assert time.monotonic() < end, "it did not happen"
            time.sleep(0.02)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store, as the writer makes it: that takes MLflow seconds, copying it none."""
    from hokusai_mlflow.delivery.mlflow_stores import open_store

    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    open_store(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def place_in(template: Path) -> Callable[[Path], Place]:
    """Return a function that makes a place with an empty store."""

    def make(folder: Path) -> Place:
        (folder / "store").mkdir()
        shutil.copy(template, folder / "store" / "mlflow.db")
        return Place(folder / "spool", f"sqlite:///{folder}/store/mlflow.db")

    return make


@pytest.fixture
def place(tmp_path: Path, place_in: Callable[[Path], Place], monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A place with nothing in it; the environment points to its folder and to no store."""
    monkeypatch.setenv("HOKUSAI_SPOOL_DIR", str(tmp_path / "spool"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    made = place_in(tmp_path)
    yield made
    made.end_writer()


@pytest.fixture
def host_store(place: Place, tmp_path: Path) -> Iterator[Any]:
    """MLflow as a host has set it up: its own store and experiment, put back afterwards."""
    import mlflow

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(place.uri)
    # Its own default would be a folder in the working directory.
    place.client.create_experiment("Host", artifact_location=(tmp_path / "host-artifacts").as_uri())
    mlflow.set_experiment("Host")
    yield mlflow
    mlflow.set_tracking_uri(before)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    os.environ.pop("MLFLOW_EXPERIMENT_ID", None)
    mlflow.tracking.fluent._active_experiment_id = None
