from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from hokusai_core.plugin_api import FieldSpec, SignatureSpec
from hokusai_core.protocols import Tracker
from hokusai_core.testing.commands import CommandConformance
from hokusai_core.testing.signature_sources import SignatureSourceConformance
from hokusai_core.testing.trackers import TrackerConformance
from hokusai_mlflow import load_signature, log_optimization


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, place_in: Callable[[Path], Any]) -> Iterator[Any]:
    """One store and one writer process for all tests here: it takes seconds to start."""
    place = place_in(tmp_path_factory.mktemp("shared"))
    yield place
    place.end_writer()


class TestMlflowTracker(TrackerConformance):
    calls_on_loop: ClassVar[frozenset[str]] = frozenset({"flock", "open"})  # of small files of its own; it never waits

    @pytest.fixture
    def experiment(self) -> str:
        return f"conformance {secrets.token_hex(4)}"

    @pytest.fixture
    def make_tracker(self, shared: Any, experiment: str) -> Callable[[], Tracker]:
        return lambda: shared.tracker(experiment=experiment, writer="process")

    @pytest.fixture
    def read_executions(self, shared: Any, experiment: str) -> Callable[[], Iterable[dict[str, Any]]]:
        return lambda: shared.rows(experiment)


class TestModelRegistry(SignatureSourceConformance):
    uri, unknown_uri = "models:/Greet@champion", "models:/Nothing@champion"

    @pytest.fixture
    def load(self, place: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", place.uri)
        spec = SignatureSpec("Greet", "Greet.", (FieldSpec("name", "input"), FieldSpec("greeting", "output")))
        log_optimization("Greet", winner=spec)
        return load_signature


class TestTrackingCommand(CommandConformance):
    target = "hokusai_mlflow.commands:tracking"
