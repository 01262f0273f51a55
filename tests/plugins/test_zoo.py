"""Every way in which a plugin can be broken: what is recorded, and that its neighbor goes on."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from hokusai_core.errors import PluginError
from hokusai_core.plugin_api import install_command
from hokusai_core.plugins import PluginFailure, PluginManager, PluginWarning

Zoo = Callable[..., PluginManager]

pytestmark = pytest.mark.usefixtures("hushed")

# case, phase, words of the cause, words of the remedy
BROKEN = [
    ("import-error", "import", "RuntimeError: broken at import", "Failed to import: pip install --upgrade zoo-import"),
    ("missing-dependency", "import", "yonder_library", "Not installed: pip install 'pyyonder-library>=2'"),
    ("wrong-version", "import", "no_such_name", "Wrong version: attrs "),
    ("wrong-core", "import", "NoSuchError", install_command("hokusai-core", "zoo-wrong-core", options="--upgrade")),
    ("system-exit", "import", "SystemExit: good bye", "ends the process"),
    ("broken-message", "import", "Unspeakable (its message cannot be shown)", "Failed to import"),
    ("missing-module", "import", "zoo_missing_module", "pip install --force-reinstall --no-deps zoo-missing-module"),
    ("misspelt-hook", "register", "did you mean 'provide_caches'?", "None of its hooks is used"),
    ("wrong-arguments", "register", "weather", "None of its hooks is used"),
    ("unmarked-hook", "register", "lacks the marker @hookimpl", "None of its hooks is used"),
    ("async-hook", "register", "on_execution_finished is asynchronous", "None of its hooks is used"),
    ("hook-wrapper", "register", "provide_caches is a hook wrapper", "None of its hooks is used"),
    ("newer-api", "register", "it needs hook API 99", install_command("hokusai-core", options="--upgrade")),
    ("odd-api", "register", "HOKUSAI_HOOK_API must be a whole number", "None of its hooks is used"),
]


def only_failure(manager: PluginManager) -> PluginFailure:
    (failure,) = manager.failures()
    return failure


def states(manager: PluginManager) -> dict[str, str]:
    return {record.name: record.state for record in manager.records() if record.distribution.lower().startswith("zoo")}


@pytest.mark.parametrize(("case", "phase", "cause", "remedy"), BROKEN)
def test_a_broken_plugin_is_recorded_and_its_neighbor_works(
    zoo: Zoo, case: str, phase: str, cause: str, remedy: str
) -> None:
    manager = zoo(case, "rival-a")
    assert [component.name for component in manager.components("cache")] == ["shared"]
    failure = only_failure(manager)
    assert (failure.plugin, failure.distribution, failure.version) == (case, f"zoo-{case}", "1.0")
    assert failure.phase == phase
    assert cause in failure.reason
    assert remedy in failure.remedy
    assert f"HOKUSAI_DISABLE_PLUGINS={case}" in failure.remedy
    assert isinstance(failure.cause, BaseException)
    assert states(manager) == {case: "failed", "rival-a": "loaded"}


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("malformed-entry-points", "which is no 'name = module'"),
        ("malformed-header", "malformed header"),
        ("undecodable", "UnicodeDecodeError"),
        ("no-name", "has no Name"),
        ("no-version", "has no Version"),
    ],
)
def test_damaged_metadata_stops_one_distribution_only(zoo: Zoo, case: str, words: str) -> None:
    manager = zoo(case, "rival-a")
    assert [component.name for component in manager.components("cache")] == ["shared"]
    failure = only_failure(manager)
    assert failure.phase == "discovery"
    assert words in failure.reason
    assert "einstall" in failure.remedy
    assert states(manager) == {"rival-a": "loaded"}
    assert case == "no-name" or failure.distribution


def test_the_other_project_of_the_same_name_is_reported_with_its_repair(zoo: Zoo) -> None:
    manager = zoo("namesake", "rival-a")
    assert [component.name for component in manager.components("cache")] == ["shared"]
    failure = only_failure(manager)
    assert (failure.phase, failure.distribution, failure.version) == ("discovery", "hokusai", "1.1.0")
    assert "it is another project" in failure.reason
    again = install_command("hokusai-kit", options="--force-reinstall --no-deps")
    assert f"pip uninstall hokusai, and {again}" in failure.remedy


def test_entry_points_with_impossible_names_or_targets_are_failures(zoo: Zoo) -> None:
    manager = zoo("malformed-value")
    manager.load()
    assert states(manager) == {"malformed-value": "failed", "bad/name": "failed"}
    assert sorted(failure.reason.partition(" ")[0] for failure in manager.failures()) == ["'not", "the"]
    assert "zoo_malformed_value" not in sys.modules


def test_each_failure_is_warned_about_once_per_manager(zoo: Zoo) -> None:
    manager = zoo("import-error", "system-exit")

    def use() -> None:
        manager.load()
        manager.load()
        manager.components()
        manager.failures()

    with pytest.warns(PluginWarning) as caught:
        use()
    messages = sorted(str(warning.message) for warning in caught)
    assert len(messages) == 2
    for words in ("plugin 'import-error' of zoo-import-error 1.0", "(import)", "broken at import", "HOKUSAI_DISABLE"):
        assert words in messages[0]
    assert {warning.filename for warning in caught} == {__file__}, "the warning points at the host's code"
    with pytest.warns(PluginWarning, match="broken at import"):
        zoo("import-error").load()


def test_ctrl_c_during_an_import_gets_out_and_loading_goes_on_afterwards(zoo: Zoo) -> None:
    manager = zoo("good", "keyboard-interrupt", "slow")
    with pytest.raises(KeyboardInterrupt):
        manager.load()
    assert states(manager) == {"good": "loaded", "keyboard-interrupt": "found", "slow": "found"}
    with pytest.raises(KeyboardInterrupt):
        manager.load()
    assert not manager.failures()


def test_a_hook_of_a_wrong_type_is_dropped(zoo: Zoo) -> None:
    manager = zoo("wrong-type")
    assert manager.components() == []
    assert {(failure.subject, failure.reason) for failure in manager.failures()} == {
        ("provide_caches", "it returned str, not a list"),
        ("provide_trackers", "it returned int, not a list"),
    }


def test_a_bad_item_is_dropped_alone_and_a_name_used_twice_altogether(zoo: Zoo) -> None:
    manager = zoo("wrong-item")
    assert [component.qualified_name for component in manager.components("cache")] == ["wrong-item/kept"]
    assert [failure.reason for failure in manager.failures()] == [
        "it offers str, not a Component",
        "it offers 2 different components called 'twice'",
    ]


def test_a_raising_hook_does_not_take_the_plugins_other_hooks_along(zoo: Zoo) -> None:
    manager = zoo("raising-hook")
    assert manager.components("cache") == []
    assert [component.name for component in manager.components("tracker")] == ["steady"]
    assert only_failure(manager).subject == "provide_caches"
    assert isinstance(only_failure(manager).cause, SystemExit)
    assert states(manager) == {"raising-hook": "loaded"}


def test_half_an_offer_is_no_offer(zoo: Zoo) -> None:
    manager = zoo("failing-generator")
    assert manager.components("cache") == []
    assert "half way" in only_failure(manager).reason
    assert "Nothing that this hook offers is used" in only_failure(manager).remedy


def test_bad_signatures_are_dropped_one_by_one(zoo: Zoo) -> None:
    manager = zoo("mixed-signatures")
    (pack,) = manager.signature_packs()
    assert pack.owner.plugin == "mixed-signatures"
    assert [signature.__name__ for signature in pack.signatures] == ["Fine"]
    assert {failure.phase for failure in manager.failures()} == {"signature"}
    assert sorted(failure.subject for failure in manager.failures()) == ["", "Empty", "Foreign", "Unknowable"]


def test_what_a_plugin_prints_is_left_alone(zoo: Zoo, capsys: pytest.CaptureFixture[str]) -> None:
    manager = zoo("prints", "slow")
    manager.records()
    assert capsys.readouterr().out == ""
    assert [component.name for component in manager.components("cache")] == ["loud", "late"]
    assert capsys.readouterr().out == "hello from the plugin\n"
    assert not manager.failures()


def test_strict_raises_everything_at_once_and_every_time(zoo: Zoo) -> None:
    cases = [
        "import-error",
        "misspelt-hook",
        "raising-hook",
        "mixed-signatures",
        "malformed-header",
        "twin-a",
        "twin-b",
    ]
    manager = zoo(*cases, strict=True)
    with pytest.raises(ExceptionGroup, match="in strict mode") as first:
        manager.load()
    text = " ".join(str(error) for error in first.value.exceptions)
    for words in ("broken at import", "provide_cachez", "no caches today", "Unknowable", "malformed header", "'twin'"):
        assert words in text
    assert all(isinstance(error, PluginError) for error in first.value.exceptions)
    causes = [type(error.__cause__) for error in first.value.exceptions]
    assert RuntimeError in causes
    assert SystemExit in causes
    with pytest.raises(ExceptionGroup) as second:
        manager.components("cache")
    assert len(second.value.exceptions) == len(first.value.exceptions) == len(manager.failures())


def test_strict_is_content_with_good_plugins(zoo: Zoo) -> None:
    manager = zoo("good", "slow", strict=True)
    manager.load()
    assert states(manager) == {"good": "loaded", "slow": "loaded"}
