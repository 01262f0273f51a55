"""Components by name, and instances of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hokusai_core.errors import (
    CacheError,
    ClosedError,
    ComponentConflictError,
    ComponentNotFoundError,
    ConfigurationError,
    PluginLoadError,
)
from hokusai_core.plugins import PluginManager

Zoo = Callable[..., PluginManager]

pytestmark = pytest.mark.usefixtures("hushed")


def test_a_component_has_its_owner_and_both_its_names(zoo: Zoo) -> None:
    manager = zoo("good")
    component = manager.component("cache", "box")
    assert component.owner is not None
    assert (component.owner.plugin, component.owner.distribution, component.owner.version) == (
        "good",
        "zoo-good",
        "1.0",
    )
    assert manager.component("cache", "good/box") == component


def test_create_calls_the_target_with_options_and_keeps_nothing(zoo: Zoo) -> None:
    manager = zoo("good")
    first, second = manager.create("cache", "box", size=3), manager.create("cache", "good/box")
    assert (first.size, second.size) == (3, 10)
    manager.close()
    assert first.size == 3
    with pytest.raises(ClosedError):
        manager.create("cache", "box")


def test_a_command_is_handed_over_and_not_called(zoo: Zoo) -> None:
    assert zoo("good").create("command", "shout").__name__ == "shout"


def test_a_misspelt_option_is_named(zoo: Zoo) -> None:
    with pytest.raises(ConfigurationError, match=r"good/box.*'sizes'; did you mean 'size'\?"):
        zoo("good").create("cache", "box", sizes=3)


def test_errors_of_the_tree_come_through_unchanged(zoo: Zoo) -> None:
    manager = zoo("good")
    with pytest.raises(CacheError, match="cannot open '/nowhere'"):
        manager.create("cache", "picky", directory="/nowhere")
    assert not manager.failures()


@pytest.mark.parametrize(
    ("name", "words", "cause"),
    [
        (
            "no-module",
            [
                "zoo_nowhere",
                "lacks its own module 'zoo_nowhere': pip install --force-reinstall --no-deps zoo-bad-targets; ",
            ],
            ModuleNotFoundError,
        ),
        ("no-attribute", ["has no attribute 'mak'; did you mean 'make'?"], AttributeError),
        ("raises", ["ZeroDivisionError: no luck"], ZeroDivisionError),
        ("no-factory", ["is dict, which cannot be called"], TypeError),
        ("needs-more", ["Not installed: pip install yonder-store>=2"], ModuleNotFoundError),
    ],
)
def test_a_target_that_cannot_be_used(zoo: Zoo, name: str, words: list[str], cause: type[Exception]) -> None:
    manager = zoo("bad-targets")
    with pytest.raises(PluginLoadError) as caught:
        manager.create("cache", name)
    for part in [*words, "plugin 'bad-targets' of zoo-bad-targets 1.0", "HOKUSAI_DISABLE_PLUGINS=bad-targets"]:
        assert part in str(caught.value)
    assert isinstance(caught.value.__cause__, cause)
    (failure,) = manager.failures()
    assert (failure.phase, failure.subject) == ("target", f"cache {name}")


def test_two_plugins_may_use_one_name_when_it_is_qualified(zoo: Zoo) -> None:
    manager = zoo("rival-b", "rival-a")
    with pytest.raises(ComponentConflictError, match=r"rival-a/shared \(zoo-rival-a 1.0\), rival-b/shared"):
        manager.component("cache", "shared")
    assert manager.component("cache", "rival-b/shared").summary == "b"
    assert not manager.failures()
    (conflict,) = manager.conflicts()
    assert (conflict.kind, conflict.name) == ("cache", "shared")
    assert [owner.plugin for owner in conflict.owners] == ["rival-a", "rival-b"]


def test_an_unknown_name_says_what_there_is(zoo: Zoo) -> None:
    manager = zoo("good")
    with pytest.raises(ComponentNotFoundError, match=r"no cache 'bax'; did you mean 'box'\? Installed: good/box"):
        manager.component("cache", "bax")
    with pytest.raises(ComponentNotFoundError, match="did you mean 'cache'"):
        manager.components("cahce")


def test_an_unknown_name_lists_the_plugins_that_failed(zoo: Zoo) -> None:
    manager = zoo("good", "import-error", "raising-hook")
    with pytest.raises(ComponentNotFoundError) as caught:
        manager.component("cache", "zebra")
    assert "broken at import" in str(caught.value)
    assert "no caches today" in str(caught.value)
    with pytest.raises(ComponentNotFoundError) as caught:
        manager.component("backend", "zebra")
    assert "broken at import" in str(caught.value)
    assert "no caches today" not in str(caught.value), "that hook has nothing to do with backends"


@pytest.mark.parametrize("name", ["import-error", "import-error/disk"])
def test_a_component_of_a_failed_plugin_raises_from_the_cause(zoo: Zoo, name: str) -> None:
    manager = zoo("import-error")
    with pytest.raises(PluginLoadError, match="broken at import") as caught:
        manager.component("cache", name)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_failed_hook_counts_for_its_own_kind_only(zoo: Zoo) -> None:
    manager = zoo("raising-hook")
    with pytest.raises(PluginLoadError, match="no caches today"):
        manager.component("cache", "raising-hook/anything")
    with pytest.raises(ComponentNotFoundError):
        manager.component("tracker", "raising-hook/anything")
    assert manager.component("tracker", "steady").name == "steady"
