"""Settings: argument, else environment, else default; what cannot be used is named, all of it at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from hokusai_core import Executor, Settings
from hokusai_core.errors import ConfigurationError
from hokusai_core.settings import UNSET, ExecutionMode, executor_options
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
    assert set(config) == set(executor_options())
    assert str(config["lm"]) == "'null/shown' (argument)"
    assert "timeout = 300.0 (default)" in str(config)
    assert "mode = 'production' (default)" in str(config)


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
        ("namespace", " tenant ", " tenant "),
    ],
)
def test_the_environment_is_text(name: str, text: str, expected: Any) -> None:
    assert Settings.from_environment({f"HOKUSAI_{name.upper()}": text}).value(name) == expected


BAD: dict[str, tuple[Any, ...]] = {
    "cache_enabled": ("perhaps", None, 2),
    "cache": (5, True, object(), {}),
    "cache_ttl": (0, -1, "soon", True, math.nan, math.inf),
    "cache_entries": (0, -1, 1.5, "many", True),
    "cache_bytes": (0, "1 GB"),
    "media_bytes": (0, "1 GB"),
    "media_urls": ("maybe",),
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
    shown = "" if executor_options()[name].private else "=.*"  # a private value may hold credentials
    with pytest.raises(ConfigurationError, match=rf"^{name}{shown}: expected"):
        Settings(**{name: value})


@pytest.mark.parametrize("name", ["cache", "feedback_store"])
def test_options_of_a_component_are_not_quoted(name: str) -> None:
    options: dict[str, Any] = {name: {"password": "hunter2"}}
    with pytest.raises(ConfigurationError, match=rf"^{name}: expected a mapping of 'name'") as caught:
        Settings(**options)
    assert "hunter2" not in str(caught.value)


def test_a_bad_variable_is_named_as_the_variable() -> None:
    with pytest.raises(ConfigurationError, match=r"HOKUSAI_MAX_WORKERS='lots': expected a whole number of at least 1"):
        Settings.from_environment({"HOKUSAI_MAX_WORKERS": "lots"})


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


def test_a_host_can_leave_the_environment_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOKUSAI_MODE", "testing")
    monkeypatch.setenv("HOKUSAI_LM", "openai/nothing")
    lm = null_lm()
    for executor in (
        Executor(Settings(lm=lm, plugins=[])),
        Executor(Settings(plugins=[]), lm=lm),
        Executor(environ={}, lm=lm, plugins=[]),
    ):
        with executor:
            executor.register_signature("Answer", "question -> answer")
            assert executor.mode is ExecutionMode.PRODUCTION
            assert executor.execute_signature("Answer", {"question": "?"})["answer"] == "some answer"
    with Executor(Settings(plugins=[])) as executor:
        assert executor.models.source() != "environment HOKUSAI_LM"
    with Executor(environ={"HOKUSAI_TIMEOUT": "4"}, plugins=[]) as executor:
        assert executor.config["timeout"].source == "environment HOKUSAI_TIMEOUT"


def test_settings_are_made_once_and_changed_by_copies() -> None:
    settings = Settings(timeout=5)
    changed = settings.with_options(timeout=None, max_workers=2)
    assert (settings.value("timeout"), changed.value("timeout"), changed.value("max_workers")) == (5.0, None, 2)
    assert repr(changed) == "Settings(timeout=None, max_workers=2)"
    with pytest.raises(TypeError, match="unexpected keyword argument 'timeuot'; did you mean 'timeout'"):
        Settings(timeuot=5)  # type: ignore[call-arg]


def test_settings_show_no_credentials() -> None:
    class Model:
        def __repr__(self) -> str:
            return "Model(api_key='canary-1')"

        def __call__(self) -> None: ...

        format = parse = __call__

    settings = Settings(lm=Model(), adapter=Model())
    assert "canary" not in repr(settings) + str(settings)


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
    assert Settings(timeout=UNSET)["timeout"].source == "default"  # type: ignore[arg-type]


def test_a_timeout_beyond_what_a_clock_can_count_is_no_bound(make_executor: MakeExecutor) -> None:
    result = make_executor().execute_signature("Answer", {"question": "?"}, timeout=1e300)
    assert result["answer"] == "some answer"
