"""A component is checked against its protocol when it is made, and the error names plugin and method."""

from __future__ import annotations

from typing import Any

import pytest

from hokusai_core import Component, Executor, hookimpl
from hokusai_core.errors import ConfigurationError, PluginLoadError
from hokusai_core.hookspecs import COMPONENT_HOOKS
from hokusai_core.plugin_api import PluginManager
from hokusai_core.protocols import COMPONENT_PROTOCOLS, Cache, Tracker, Validator, protocol_problems
from hokusai_core.testing.listening import ListeningTracker
from hokusai_core.testing.lm import null_lm


class Nothing:
    """An object that can do nothing."""


class WholeCache:
    tier, secret = "whole", b"0123456789abcdef"

    def get(self, key: str) -> None:
        return None

    def put(self, entry: Any) -> None: ...

    async def aget(self, key: str) -> None:
        return None

    async def aput(self, entry: Any) -> None: ...

    def close(self) -> None: ...


class ShortSecret(WholeCache):
    secret = b"short"


class AsynchronousGet(WholeCache):
    async def get(self, key: str) -> None:  # type: ignore[override]
        return None


class OtherArguments(WholeCache):
    def put(self) -> None: ...  # type: ignore[override]


class LazySecret(WholeCache):
    @property
    def secret(self) -> bytes:  # type: ignore[override]
        raise OSError("the store is not open yet")


def plugin_with(kind: str, target: Any) -> Any:
    def provide(_self: object) -> list[Component]:
        return [Component("it", target)]

    provide.__name__ = COMPONENT_HOOKS[kind]
    return type("Acme", (), {COMPONENT_HOOKS[kind]: hookimpl(provide)})()


@pytest.mark.parametrize("kind", sorted(COMPONENT_PROTOCOLS))
def test_an_object_that_lacks_everything_is_refused_when_it_is_made(kind: str) -> None:
    with (
        PluginManager(only=(), extra=[("acme", plugin_with(kind, Nothing))]) as manager,
        pytest.raises(PluginLoadError) as caught,
    ):
        manager.create(kind, "it")
    assert "plugin 'acme' failed" in str(caught.value)
    assert f"Nothing is no {COMPONENT_PROTOCOLS[kind].__name__}" in str(caught.value)
    assert "it has no method" in str(caught.value)


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        (ShortSecret, "its secret has 5 bytes"),
        (AsynchronousGet, r"get\(\) is asynchronous"),
        (OtherArguments, r"put\(\) does not take \(entry\)"),
        (lambda: WholeCache, "it is the class WholeCache"),
    ],
)
def test_the_error_names_what_is_wrong(target: Any, problem: str) -> None:
    plugin = ("acme", plugin_with("cache", target))
    with pytest.raises(PluginLoadError, match=problem):
        Executor(lm=null_lm(), plugins=[], extra_plugins=[plugin], cache="it")


def test_a_property_is_not_read() -> None:
    assert protocol_problems(Cache, LazySecret()) == []
    assert protocol_problems(Cache, WholeCache()) == []
    assert protocol_problems(Tracker, ListeningTracker()) == []
    assert protocol_problems(Validator, Nothing())


def test_objects_of_a_host_are_checked_too() -> None:
    with pytest.raises(ConfigurationError, match=r"it has no method aput\(\)"):
        Executor(plugins=[], cache=Nothing())
    with pytest.raises(
        ConfigurationError, match=r"trackers\['mine'\]: Nothing is not a Tracker: it has no method record"
    ):
        Executor(plugins=[], trackers={"mine": Nothing()})


def test_a_feedback_store_that_is_none_stops_before_anything_is_paid() -> None:
    lm = null_lm()
    plugin = ("acme", plugin_with("feedback_store", Nothing))
    with Executor(lm=lm, plugins=[], extra_plugins=[plugin], feedback_store="it") as executor:
        executor.register_signature("Answer", "question -> answer")
        with pytest.raises(PluginLoadError, match=r"acme.*it has no method keep\(\)"):
            executor.execute_signature("Answer", {"question": "?"}, collect_feedback=True)
        assert lm.engine.calls == 0
        assert executor.execute_signature("Answer", {"question": "?"})["answer"]
