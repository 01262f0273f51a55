"""Which plugins load: allow-list, deny-list, twins, and plugins given in process."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest

from hokusai_core import Component, hookimpl
from hokusai_core.errors import ConfigurationError
from hokusai_core.plugins import PluginManager, PluginWarning

Zoo = Callable[..., PluginManager]

ZOO = Path(__file__).parent / "zoo"


def states(manager: PluginManager) -> dict[str, str]:
    return {
        f"{record.distribution}:{record.name}": record.state
        for record in manager.records()
        if not record.distribution or record.distribution.startswith("zoo")
    }


def given(name: str = "mine") -> ModuleType:
    module = ModuleType(name)

    @hookimpl
    def provide_caches() -> list[Component]:
        return [Component(name, dict)]

    module.provide_caches = provide_caches  # type: ignore[attr-defined]
    return module


def test_listing_and_denying_import_nothing() -> None:
    """In a process of its own, so that no other test has imported a module already."""
    program = """
import sys
from hokusai_core.plugins import PluginManager
manager = PluginManager(only=["good", "system-exit", "import-error"], disable=["system-exit", "zoo-import-error:*"])
assert {"good", "system-exit", "import-error"} <= {record.name for record in manager.records()}
assert not manager.failures()
assert not [name for name in sys.modules if name.startswith("zoo_")], "listing"
assert manager.components("optimizer") == []
print(sorted(name for name in sys.modules if name.startswith("zoo_")))
print(sorted(name for name in ("dspy", "mlflow") if name in sys.modules))
"""
    folders = [str(ZOO / case) for case in ("good", "system-exit", "import-error")]
    program = f"import sys; sys.path[:0] = {folders!r}\n{program}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["['zoo_good']", "[]"]


def test_only_applies_before_import(zoo: Zoo) -> None:
    manager = zoo("good", "import-error", "system-exit", only=["good"])
    manager.load()
    assert states(manager) == {
        "zoo-good:good": "loaded",
        "zoo-import-error:import-error": "disabled",
        "zoo-system-exit:system-exit": "disabled",
    }
    assert not manager.failures()


def test_only_nothing_loads_nothing(zoo: Zoo) -> None:
    manager = zoo("good", "malformed-header", "no-name", only=[])
    assert manager.components() == []
    assert set(states(manager).values()) == {"disabled"}
    assert not manager.failures(), "a broken distribution without a selected plugin is not reported"


def test_a_wanted_plugin_that_may_be_in_a_broken_distribution_is_reported(zoo: Zoo) -> None:
    manager = zoo("malformed-header", only=["malformed-header"])
    with pytest.warns(PluginWarning) as caught:
        manager.load()
    text = " ".join(str(warning.message) for warning in caught)
    assert "malformed header" in text
    assert "'malformed-header', which is not installed" in text


def test_a_broken_distribution_can_be_denied_by_its_name(zoo: Zoo) -> None:
    manager = zoo("malformed-header", "no-version", disable=["zoo-malformed_header:*", "Zoo.No.Version:*"])
    manager.load()
    assert manager.failures() == ()


def test_a_denied_name_that_is_nearly_right_is_pointed_out(zoo: Zoo) -> None:
    with pytest.warns(PluginWarning, match="'goood', which is not installed; did you mean 'good'"):
        zoo("good", disable=["goood"]).load()


def test_a_denied_plugin_that_is_not_there_is_fine(zoo: Zoo) -> None:
    zoo("good", disable=["something-else-entirely"]).load()


@pytest.mark.parametrize("name", ["", "a:b:c", ":a", "a:", "*"])
def test_malformed_selectors(name: str) -> None:
    with pytest.raises(ConfigurationError, match="write 'name', 'distribution:name'"):
        PluginManager(disable=[name])


def test_a_string_is_no_sequence_of_names() -> None:
    with pytest.raises(ConfigurationError, match="not a string"):
        PluginManager(only="good")


def test_twins_both_fail_and_say_how_to_pick_one(zoo: Zoo) -> None:
    manager = zoo("twin-b", "twin-a")
    with pytest.warns(PluginWarning):
        assert manager.components("cache") == []
    assert states(manager) == {"zoo-twin-a:twin": "failed", "zoo-twin-b:twin": "failed"}
    first, second = manager.failures()
    assert (first.phase, second.phase) == ("discovery", "discovery")
    assert "the plugin of zoo-twin-b 1.0" in first.reason
    assert "To use this one: HOKUSAI_DISABLE_PLUGINS=zoo-twin-b:twin." in first.remedy
    assert "To use this one: HOKUSAI_DISABLE_PLUGINS=zoo-twin-a:twin." in second.remedy
    (conflict,) = manager.conflicts()
    assert (conflict.kind, conflict.name) == ("plugin", "twin")
    assert [owner.distribution for owner in conflict.owners] == ["zoo-twin-a", "zoo-twin-b"]


@pytest.mark.parametrize("arguments", [{"disable": ["zoo-twin-b:twin"]}, {"only": ["zoo-twin-a:twin"]}])
def test_one_twin_can_be_picked(zoo: Zoo, arguments: dict[str, list[str]]) -> None:
    manager = zoo("twin-b", "twin-a", **arguments)
    assert [component.qualified_name for component in manager.components("cache")] == ["twin/twin-a"]
    assert states(manager) == {"zoo-twin-a:twin": "loaded", "zoo-twin-b:twin": "disabled"}
    assert manager.conflicts() == ()


def test_records_are_in_the_order_of_distribution_and_name(zoo: Zoo) -> None:
    manager = zoo("twin-b", "slow", "good", "prints", "import-error")
    names = [name for name in states(manager) if name.startswith("zoo")]
    assert names == sorted(names)
    origins = {Path(record.origin).name for record in manager.records() if record.distribution.startswith("zoo")}
    assert origins == {"twin-b", "slow", "good", "prints", "import-error"}


def test_the_first_copy_on_the_path_shadows_the_others(
    zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ZOO / "good", tmp_path / "copy")
    metadata = tmp_path / "copy" / "zoo_good-1.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 1.0", "Version: 2.0"))
    manager = zoo("good")
    monkeypatch.syspath_prepend(str(tmp_path / "copy"))
    (record,) = [record for record in manager.records() if record.name == "good"]
    assert record.version == "2.0"


def test_a_first_copy_without_plugins_shadows_too(zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ZOO / "good", tmp_path / "copy")
    (tmp_path / "copy" / "zoo_good-1.0.dist-info" / "entry_points.txt").unlink()
    manager = zoo("good")
    monkeypatch.syspath_prepend(str(tmp_path / "copy"))
    assert [record for record in manager.records() if record.name == "good"] == []


def test_plugins_given_in_process_come_first_and_need_not_be_allowed(zoo: Zoo) -> None:
    manager = zoo("good", only=[], extra=[given(), ("second", given("other"))])
    assert [component.qualified_name for component in manager.components("cache")] == ["mine/mine", "second/other"]
    assert [record.origin for record in manager.records()][:2] == ["in process", "in process"]


def test_the_deny_list_holds_for_plugins_given_in_process() -> None:
    manager = PluginManager(only=(), disable=["mine"], extra=[given()])
    assert manager.components("cache") == []


def test_a_given_plugin_wins_over_an_installed_one_of_its_name_and_says_so(zoo: Zoo) -> None:
    manager = zoo("good", extra=[("good", given())])
    with pytest.warns(PluginWarning, match="also the name of a plugin given in process"):
        manager.load()
    assert [component.qualified_name for component in manager.components("cache")] == ["good/mine"]
    assert states(manager) == {":good": "loaded", "zoo-good:good": "failed"}


def test_two_given_plugins_of_one_name_both_fail() -> None:
    manager = PluginManager(only=(), extra=[given(), given()])
    with pytest.warns(PluginWarning, match="Give each plugin a name of its own"):
        assert manager.components("cache") == []
    assert {record.state for record in manager.records() if record.name == "mine"} == {"failed"}


def test_an_object_that_cannot_be_hashed_fails_alone() -> None:
    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

        @hookimpl
        def provide_caches(self) -> list[Component]:
            return []

    manager = PluginManager(only=(), extra=[Unhashable(), given()])
    with pytest.warns(PluginWarning, match="unhashable"):
        assert [component.name for component in manager.components("cache")] == ["mine"]


def test_given_entry_points_take_the_place_of_the_installed_ones() -> None:
    manager = PluginManager(
        entry_points=[
            EntryPoint("nowhere", "zoo_absent.plugin", "hokusai"),
            EntryPoint("other", "x", "console_scripts"),
        ]
    )
    assert [(record.name, record.target) for record in manager.records()] == [("nowhere", "zoo_absent.plugin")]
    with pytest.warns(PluginWarning, match="there is no module 'zoo_absent'"):
        manager.load()
