"""DSPyPipelineExecutor: defaults, their sources, and going on without what is not there."""

from __future__ import annotations

import os
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from hokusai import DSPyPipelineExecutor
from hokusai_core import Component, ExecutionMode, Settings, hookimpl
from hokusai_core.errors import CacheError, ConfigurationError, PluginLoadError
from hokusai_core.plugin_api import install_command
from hokusai_core.testing.listening import ListeningTracker
from hokusai_core.testing.lm import null_lm


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("HOKUSAI_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOKUSAI_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HOKUSAI_SPOOL_DIR", str(tmp_path / "spool"))


class Shelf:
    """A plugin with a tracker, and with a cache and a tracker that cannot be opened."""

    @hookimpl
    def provide_trackers(self) -> list[Component]:
        return [Component("recorder", ListeningTracker), Component("mlflow", "no_such_module:Tracker")]

    @hookimpl
    def provide_caches(self) -> list[Component]:
        return [Component("diskcache", self.open)]

    def open(self) -> object:
        raise CacheError("the disk is on fire")


def trackers_of(**arguments: Any) -> list[str]:
    with DSPyPipelineExecutor(cache=None, **arguments) as executor:
        return sorted(executor.stats()["trackers"])


def test_documented_options_are_keywords() -> None:
    switches = {"cache_enabled": False, "mlflow_tracking": False}
    options: dict[str, Any] = {"timeout": 9, "max_workers": 2, "cache_ttl": 60, **switches}
    with DSPyPipelineExecutor(**options, lm="local", plugins=[], namespace="tenant") as executor:
        assert executor.config.value("cache_ttl") == 60.0
        assert executor.config.value("namespace") == "tenant"
    with pytest.raises(ConfigurationError, match="options are keywords"):
        DSPyPipelineExecutor(True)  # type: ignore[arg-type]


def test_settings_of_a_host_take_nothing_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOKUSAI_MODE", "testing")
    monkeypatch.setenv("HOKUSAI_TRACKERS", "nothing")
    with DSPyPipelineExecutor(Settings(plugins=[], namespace="tenant", cache=None, trackers=[])) as executor:
        assert executor.mode is ExecutionMode.PRODUCTION
        assert (executor.config.value("timeout"), executor.config["timeout"].source) == (30.0, "default")
    with DSPyPipelineExecutor(environ={}, mlflow_tracking=False, cache=None, plugins=[]) as executor:
        assert executor.mode is ExecutionMode.PRODUCTION


def test_defaults_are_those_of_the_batteries_included_executor() -> None:
    with DSPyPipelineExecutor() as executor:
        values = {name: value.value for name, value in executor.config.items()}
        assert (values["timeout"], values["max_workers"], values["cache"]) == (30.0, 4, "diskcache")
        assert values["trackers"] == ("mlflow",)
        assert executor.config["timeout"].source == "default"
        assert executor.stats()["cache"]["persistent"]["tier"] == "disk"
        assert list(executor.stats()["trackers"]) == ["mlflow"]


def test_environment_goes_before_defaults_and_arguments_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOKUSAI_TIMEOUT", "7")
    monkeypatch.setenv("HOKUSAI_MAX_WORKERS", "2")
    with DSPyPipelineExecutor(max_workers=3, mlflow_tracking=False) as executor:
        assert (executor.config["timeout"].value, executor.config["timeout"].source) == (
            7.0,
            "environment HOKUSAI_TIMEOUT",
        )
        assert (executor.config["max_workers"].value, executor.config["max_workers"].source) == (3, "argument")


def test_tracking_is_on_unless_it_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert trackers_of() == ["mlflow"]
    assert trackers_of(mlflow_tracking=True) == ["mlflow"]
    assert trackers_of(mlflow_tracking=False) == []
    monkeypatch.setenv("HOKUSAI_TRACKERS", "")
    assert trackers_of() == []
    monkeypatch.setenv("HOKUSAI_TRACKERS", "mlflow")
    assert trackers_of(mlflow_tracking=False) == []


def test_tracking_is_added_to_other_trackers() -> None:
    shelf = [("shelf", Shelf())]
    only = ["mlflow"]  # of the installed plugins; those given in process are always used
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        assert trackers_of(trackers=["recorder"], extra_plugins=shelf, plugins=only) == ["recorder"]
        names = ["recorder", "mlflow/mlflow"]
        assert trackers_of(trackers=names, extra_plugins=shelf, plugins=only) == ["mlflow/mlflow", "recorder"]
    mapping = {"mine": ListeningTracker(), "mlflow": ListeningTracker()}
    assert trackers_of(trackers=mapping) == ["mine", "mlflow"]
    assert trackers_of(trackers=mapping, mlflow_tracking=False) == ["mine"]
    with pytest.raises(ConfigurationError, match="mapping of trackers"):
        trackers_of(trackers={"mine": ListeningTracker()}, mlflow_tracking=True)


def test_missing_parts_are_warned_about_once_and_cost_nothing_else() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        executor = DSPyPipelineExecutor(
            mode="testing", mlflow_tracking=True, plugins=[], extra_plugins=[("shelf", Shelf())]
        )
    with executor:
        executor.register_signature("Greet", "name -> greeting")
        assert executor.execute_signature("Greet", {"name": "Ada"})["greeting"] == "Sample greeting"
        assert executor.stats()["trackers"] == {}
        assert "persistent" not in executor.stats()["cache"]
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == 2, messages
    assert "cache 'diskcache' cannot be used, so answers are kept in memory only: the disk is on fire" in messages[0]
    assert "tracker 'mlflow' cannot be used, so executions are not recorded there" in messages[1]
    assert all(warning.filename == __file__ for warning in caught)


def test_what_was_turned_off_is_not_warned_about() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with DSPyPipelineExecutor(mode="testing", disable_plugins=["mlflow", "diskcache", "teleprompt"]) as executor:
            assert executor.stats()["trackers"] == {}
        with DSPyPipelineExecutor(mode="testing", plugins=["signatures"]) as executor:
            assert executor.list_signatures()


def test_a_component_that_was_asked_for_is_not_optional() -> None:
    class Plugin:
        @hookimpl
        def provide_caches(self) -> list[Component]:
            return [Component("broken", "no_such_module:Cache")]

    with pytest.raises(PluginLoadError, match="no_such_module"):
        DSPyPipelineExecutor(cache="broken", mlflow_tracking=False, extra_plugins=[("p", Plugin())])


def test_unknown_argument_is_refused() -> None:
    with pytest.raises(TypeError, match="cache_size"):
        DSPyPipelineExecutor(cache_size=3)  # type: ignore[call-arg]


def test_evaluations_are_delegated_to_their_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"question": "2+2?", "answer": "4"}, {"question": "3+3?", "answer": "Sample answer"}]
    with DSPyPipelineExecutor(mode="testing", mlflow_tracking=False) as executor:
        executor.register_signature("Ask", "question -> answer")
        assert executor.evaluate("Ask", rows, metric="accuracy").score == 0.5
        monkeypatch.setitem(sys.modules, "hokusai_evaluate", None)  # as if it were not installed
        with pytest.raises(ConfigurationError, match=re.escape(install_command("hokusai-evaluate"))):
            executor.evaluate("Ask", rows)


def test_outcomes_are_recorded_and_tracked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("hokusai_teleprompt")
    monkeypatch.setenv("HOKUSAI_FEEDBACK_DIR", str(tmp_path / "feedback"))
    tracker = ListeningTracker()
    with DSPyPipelineExecutor(lm=null_lm(), trackers={"ear": tracker}, cache=None) as executor:
        inputs = {"recipient": "Ada", "subject": "Trip", "key_points": ["Monday"]}
        result = executor.execute_signature("EmailDraft", inputs, collect_feedback=True)
        outcome = executor.record_outcome(result["execution_id"], "reply_rate", 0.4, source="mail server")
        assert (outcome.value, outcome.higher_is_better, outcome.source) == (0.4, True, "mail server")
        assert tracker.events[-1] == outcome
        with pytest.raises(LookupError):
            executor.record_outcome("missing", "reply_rate", 1)
