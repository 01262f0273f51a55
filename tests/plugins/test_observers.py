"""Hooks that observe and hooks that gate; managers side by side."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pluggy
import pytest

from hokusai_core import Component, hookimpl
from hokusai_core.errors import ClosedError, PluginError
from hokusai_core.plugins import PluginManager, PluginWarning

Zoo = Callable[..., PluginManager]


def notify(manager: PluginManager, times: int, event: object) -> None:
    for _ in range(times):
        manager.notify("on_execution_finished", event)


def test_a_failing_observer_is_isolated_warned_about_and_muted(zoo: Zoo) -> None:
    manager = zoo("faulty-observer", "observer")
    heard: list[str] = []
    with pytest.warns(PluginWarning) as caught:
        notify(manager, 15, heard)
    assert heard.count("seen") == 15
    assert heard.count("faulty") == 10
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == 2, "the first failure, and the muting"
    assert "cannot observe" in messages[0]
    assert "failed 10 times in a row and is no longer called" in messages[1]
    (failure,) = manager.failures()
    assert (failure.phase, failure.subject, failure.count) == ("observe", "on_execution_finished", 10)
    assert failure.cause == "RuntimeError: cannot observe"


def test_even_an_exit_stays_inside(zoo: Zoo) -> None:
    manager = zoo("faulty-observer")
    with pytest.warns(PluginWarning, match="SystemExit: 3"):
        manager.notify("on_feedback_given", object())


def test_only_failures_in_a_row_mute() -> None:
    class Moody:
        calls = 0

        @hookimpl
        def on_execution_finished(self, event: object) -> None:
            self.calls += 1
            if self.calls % 5:
                raise RuntimeError("not now")

    moody = Moody()
    manager = PluginManager(only=(), extra=[moody])
    with pytest.warns(PluginWarning):
        notify(manager, 40, None)
    assert moody.calls == 40
    (failure,) = manager.failures()
    assert failure.count == 32


def test_a_strict_filter_reaches_the_caller_after_all_observers_were_told(zoo: Zoo) -> None:
    manager = zoo("faulty-observer", "observer")
    heard: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error", PluginWarning)
        with pytest.raises(PluginWarning):
            manager.notify("on_execution_finished", heard)
    assert heard == ["faulty", "seen"]


def test_a_gate_refuses_with_its_own_error(zoo: Zoo) -> None:
    manager = zoo("gate")
    assert manager.implements("check_execution")
    manager.check("check_execution", signature=None, inputs={"text": "x"})
    with pytest.raises(PermissionError, match="not with secrets") as caught:
        manager.check("check_execution", signature=None, inputs={"secret": "x"})
    assert caught.value.__notes__ == ["refused by check_execution of plugin 'gate'"]


def test_implements_knows_who_listens(zoo: Zoo) -> None:
    manager = zoo("observer")
    assert manager.implements("on_execution_finished")
    assert not manager.implements("on_execution_started")
    with pytest.raises(PluginError, match="no hook 'on_execution_finishd'"):
        manager.implements("on_execution_finishd")


def test_close_ends_gates_with_an_error_and_observers_in_silence(zoo: Zoo) -> None:
    manager = zoo("observer", "gate")
    heard: list[str] = []
    manager.load()
    manager.close()
    manager.close()
    manager.notify("on_execution_finished", heard)
    assert heard == []
    with pytest.raises(ClosedError):
        manager.check("check_execution", signature=None, inputs={})
    for call in (manager.load, manager.components, manager.signature_packs, manager.conflicts):
        with pytest.raises(ClosedError):
            call()
    assert {record.name for record in manager.records()} >= {"observer", "gate"}
    assert manager.failures() == ()


def test_loading_is_ours_alone(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_options: object) -> int:
        raise AssertionError("pluggy loads without quarantine and keeps no order")

    monkeypatch.setattr(pluggy.PluginManager, "load_setuptools_entrypoints", refuse)
    assert len(zoo("rival-a", "rival-b").components("cache")) == 2


class Named:
    """A plugin that tells which one it is."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.heard: list[object] = []

    @hookimpl
    def provide_caches(self) -> list[Component]:
        return [Component(self.name, dict)]

    @hookimpl
    def on_execution_finished(self, event: object) -> None:
        self.heard.append(event)


def test_managers_in_threads_never_meet() -> None:
    start = threading.Barrier(8)

    def run(number: int) -> None:
        plugin = Named(f"cache{number}")
        with PluginManager(only=(), extra=[(f"plugin{number}", plugin)]) as manager:
            start.wait()
            for turn in range(50):
                assert [component.qualified_name for component in manager.components("cache")] == [
                    f"plugin{number}/cache{number}"
                ]
                manager.notify("on_execution_finished", (number, turn))
        assert plugin.heard == [(number, turn) for turn in range(50)]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run, range(8)))


def test_two_managers_with_different_installed_plugins_never_meet(zoo: Zoo) -> None:
    one, other = zoo("rival-a", "rival-b", only=["rival-a"]), zoo(only=["rival-b"])
    assert [component.summary for component in one.components("cache")] == ["a"]
    assert [component.summary for component in other.components("cache")] == ["b"]
    one.close()
    assert other.component("cache", "shared").summary == "b"


def test_threads_that_share_a_manager_load_once_and_see_the_same() -> None:
    calls = []

    class Counted:
        @hookimpl
        def provide_caches(self) -> list[Component]:
            calls.append(threading.get_ident())
            return [Component("one", dict)]

    manager = PluginManager(only=(), extra=[Counted()])
    start = threading.Barrier(8)

    def run(_number: int) -> list[Component]:
        start.wait()
        return manager.components("cache")

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(run, range(8)))
    assert len(calls) == 1
    assert all(result == results[0] for result in results)


def test_managers_keep_their_failures_apart(zoo: Zoo) -> None:
    one, other = zoo("import-error"), zoo("import-error", disable=["import-error"])
    with pytest.warns(PluginWarning):
        one.load()
    other.load()
    assert len(one.failures()) == 1
    assert other.failures() == ()
