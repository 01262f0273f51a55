"""Settings: argument, else environment, else default; what cannot be used is named, all of it at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from hokusai_core import Executor
from hokusai_core.errors import ConfigurationError
from hokusai_core.settings import SETTINGS, UNSET, ExecutionMode, read_settings
from hokusai_core.testing.lm import null_lm

MakeExecutor = Callable[..., Executor]


def test_an_argument_goes_before_the_environment_and_that_before_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOKUSAI_TIMEOUT", "7")
    monkeypatch.setenv("HOKUSAI_MAX_RETRIES", "5")
    with Executor(plugins=[], timeout=3) as executor:
        config = executor.config
    assert (config.value("timeout"), config["timeout"].source) == (3.0, "argument")
    assert (config.value("max_retries"), config["max_retries"].source) == (5, "environment HOKUSAI_MAX_RETRIES")
    assert (config.value("namespace"), config["namespace"].source) == ("default", "default")


def test_none_is_a_value_that_an_argument_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOKUSAI_TIMEOUT", "7")
    with Executor(plugins=[], timeout=None) as executor:
        assert executor.config.value("timeout") is None
        assert executor.config["timeout"].source == "argument"


def test_every_setting_is_listed_with_its_source() -> None:
    with Executor(plugins=[], lm=null_lm(model="null/shown")) as executor:
        config = executor.config
    assert set(config) == {setting.name for setting in SETTINGS} | {"lm"}
    assert str(config["lm"]) == "'null/shown' (argument)"
    assert "timeout = 300.0 (default)" in repr(config)
    assert "mode = 'production' (default)" in repr(config)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("cache_enabled", "off", False),
        ("cache_enabled", "YES", True),
        ("retry_on_failure", "1", True),
        ("timeout", "none", None),
        ("timeout", "0.5", 0.5),
        ("cache_ttl", "", None),
        ("max_workers", " 4 ", 4),
        ("mode", "Testing", ExecutionMode.TESTING),
        ("plugins", "a, b,", ("a", "b")),
        ("plugins", "", ()),
        ("disable_plugins", "a", ("a",)),
        ("prefer", "A=p/A, B = q/B", {"A": "p/A", "B": "q/B"}),
        ("requests_per_minute", "60", 60.0),
        ("namespace", " tenant ", "tenant"),
    ],
)
def test_the_environment_is_text(name: str, text: str, expected: Any) -> None:
    assert read_settings({}, environ={f"HOKUSAI_{name.upper()}": text}).value(name) == expected


BAD: dict[str, tuple[Any, ...]] = {
    "cache_enabled": ("perhaps", None, 2),
    "cache": (5, True, object(), {}),
    "cache_ttl": (0, -1, "soon", True, math.nan, math.inf),
    "cache_entries": (0, -1, 1.5, "many", True),
    "cache_bytes": (0, "1 GB"),
    "namespace": ("", "  ", None, 5),
    "timeout": (0, -3, "long", True, math.nan, math.inf, "inf", [1]),
    "max_workers": (0, "all", False, 2.5),
    "retry_on_failure": ("sometimes",),
    "max_retries": (-1, "x"),
    "requests_per_minute": (0, "fast"),
    "tokens_per_minute": (-5,),
    "mode": ("staging", 3),
    "trackers": (5,),
    "plugins": (5, {"a": 1}),
    "disable_plugins": (None,),
    "strict_plugins": ("x",),
    "prefer": ("Name", "=pack/Name", "Name="),
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_a_bad_value_is_named_with_what_is_expected(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{name}=.*expected"):
        read_settings({name: value}, environ={})


def test_a_bad_variable_is_named_as_the_variable() -> None:
    with pytest.raises(ConfigurationError, match=r"HOKUSAI_MAX_WORKERS='lots': expected a whole number of at least 1"):
        read_settings({}, environ={"HOKUSAI_MAX_WORKERS": "lots"})


def test_all_bad_values_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOKUSAI_MODE", "staging")
    with pytest.raises(ValueError, match="timeout") as caught:
        Executor(plugins=[], timeout=-1, max_workers=0)
    lines = str(caught.value).splitlines()
    assert [line.partition("=")[0] for line in lines] == ["timeout", "max_workers", "HOKUSAI_MODE"]


def test_a_default_that_no_setting_has_is_an_error() -> None:
    class Mistaken(Executor):
        defaults = {"timeuot": 30}  # noqa: RUF012  # the mistake is elsewhere

    with pytest.raises(ConfigurationError, match="timeuot: there is no such setting"):
        Mistaken(plugins=[])


def test_a_subclass_changes_defaults() -> None:
    class Patient(Executor):
        defaults = {"timeout": 900}  # noqa: RUF012

    with Patient(plugins=[]) as executor:
        assert (executor.config.value("timeout"), executor.config["timeout"].source) == (900.0, "default")


@pytest.mark.parametrize(
    "arguments",
    [{"timeout": 0}, {"timeout": "soon"}, {"max_retries": -1}, {"retry_on_failure": "x"}, {"cache_ttl": 0},
     {"cache": "always"}, {"cache": None}, {"tags": {"a": 1}}, {"tags": ["a"]}],
)  # fmt: skip
def test_bad_arguments_of_a_call_are_refused_before_anything_is_called(
    make_executor: MakeExecutor, arguments: dict[str, Any]
) -> None:
    lm = null_lm()
    with pytest.raises(ConfigurationError, match=next(iter(arguments))):
        make_executor(lm=lm).execute_signature("Answer", {"question": "?"}, **arguments)
    assert lm.engine.calls == 0


def test_unset_is_false_and_shows_its_name() -> None:
    assert not UNSET
    assert repr(UNSET) == "UNSET"
    assert read_settings({"timeout": UNSET}, environ={})["timeout"].source == "default"


def test_a_timeout_beyond_what_a_clock_can_count_is_no_bound(make_executor: MakeExecutor) -> None:
    result = make_executor().execute_signature("Answer", {"question": "?"}, timeout=1e300)
    assert result["answer"] == "some answer"
