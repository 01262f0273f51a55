"""The examples in the specifications of hooks are plugin modules that load."""

from __future__ import annotations

import inspect
import textwrap
from types import ModuleType

import pytest

from hokusai_core.hookspecs import COMPONENT_HOOKS, HokusaiSpecs
from hokusai_core.plugin_api import PluginManager
from hokusai_core.protocols import COMPONENT_PROTOCOLS

HOOKS = sorted(name for name in vars(HokusaiSpecs) if name.startswith(("provide_", "on_", "check_")))


@pytest.mark.parametrize("hook", HOOKS)
def test_the_example_of_a_hook_is_a_plugin(hook: str) -> None:
    doc = inspect.getdoc(getattr(HokusaiSpecs, hook)) or ""
    _, found, example = doc.partition("Example::\n")
    assert found, f"{hook} has no example"
    module = ModuleType("acme")
    exec(textwrap.dedent(example), vars(module))  # noqa: S102  # our own documentation
    with PluginManager(only=(), extra=[("acme", module)]) as manager:
        assert manager.implements(hook)
        kind = next((kind for kind, name in COMPONENT_HOOKS.items() if name == hook), None)
        if kind is not None:
            assert [component.owner.plugin for component in manager.components(kind) if component.owner] == ["acme"]
        elif hook == "provide_signatures":
            assert [pack.owner.plugin for pack in manager.signature_packs()] == ["acme"]
        assert manager.failures() == ()


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_says_what_its_arguments_are(hook: str) -> None:
    doc = inspect.getdoc(getattr(HokusaiSpecs, hook)) or ""
    for name in list(inspect.signature(getattr(HokusaiSpecs, hook)).parameters)[1:]:
        assert f"{name}: " in doc
    if hook.startswith("provide_"):
        assert "Returns:" in doc or "Targets make" in doc


def test_each_kind_with_methods_has_a_protocol() -> None:
    assert set(COMPONENT_HOOKS) - set(COMPONENT_PROTOCOLS) == {"signature_source", "command"}
