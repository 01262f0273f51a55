"""Which language model answers, and which adapter."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import dspy
import pytest

from hokusai_core import Component, Executor, LanguageModel, hookimpl
from hokusai_core.errors import ConfigurationError, LanguageModelUnavailable, PluginError
from hokusai_core.testing.lm import null_lm

MakeExecutor = Callable[..., Executor]


class Provider:
    """A language-model provider over null models; ``loaded`` holds the names it was asked for."""

    def __init__(self, *, adapter: Any = None, reason: str | None = None) -> None:
        self.adapter, self.reason = adapter, reason
        self.loaded: list[str] = []
        self.closed = 0

    def available(self) -> str | None:
        return self.reason

    def load(self, name: str, **options: Any) -> LanguageModel:
        self.loaded.append(name)
        return LanguageModel(null_lm(model=f"null/{name or 'default'}", keep_requests=True), self.adapter)

    def close(self) -> None:
        self.closed += 1


def plugin_of(provider: Any, name: str = "nullish", *, embedded: bool = False) -> object:
    class Plugin:
        @hookimpl
        def provide_language_models(self) -> list[Component]:
            capabilities = ("embedded",) if embedded else ()
            return [Component(name, lambda: provider, "for a test", capabilities=capabilities)]

    return (f"plugin_{name}", Plugin())


def who(executor: Executor, **arguments: Any) -> str:
    return executor.execute_signature("Answer", {"question": "?"}, cache="off", **arguments).model


def test_the_first_that_is_there_answers(
    make_executor: MakeExecutor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plugins = [plugin_of(Provider()), plugin_of(Provider(), "tiny", embedded=True)]
    monkeypatch.setenv("HOKUSAI_LM", "nullish/env")
    own = make_executor(lm=null_lm(model="null/own"), extra_plugins=plugins)
    bare = make_executor(lm=None, extra_plugins=plugins)
    with dspy.context(lm=null_lm(model="null/host")):
        assert who(own, lm=null_lm(model="null/call")) == "null/call"
        assert who(own) == "null/own"
        assert who(bare) == "null/host"
        assert bare.config["lm"].source == "dspy.settings.lm of the host"
    assert who(bare) == "null/env"
    assert str(bare.config["lm"]) == "'nullish/env' (environment HOKUSAI_LM)"
    assert capsys.readouterr().err == ""
    monkeypatch.delenv("HOKUSAI_LM")
    assert str(bare.config["lm"]) == "'plugin_tiny/tiny' (embedded)"
    assert [who(bare), who(bare)] == ["null/default", "null/default"]
    said = capsys.readouterr().err
    assert said.count("no language model is configured, so the embedded one answers (tiny)") == 1


def test_the_host_may_change_its_language_model_between_calls(make_executor: MakeExecutor) -> None:
    executor = make_executor(lm=None)
    seen = []
    for name in ("null/a", "null/b", "null/a"):
        with dspy.context(lm=null_lm(model=name)):
            seen.append(executor.execute_signature("Answer", {"question": "?"}).model)
    assert seen == ["null/a", "null/b", "null/a"]


def test_each_task_has_the_language_model_of_its_context(make_executor: MakeExecutor) -> None:
    executor = make_executor(lm=None)

    async def one(name: str) -> str:
        with dspy.context(lm=null_lm(model=name, delay=0.02)):
            return (await executor.aexecute_signature("Answer", {"question": "?"})).model

    async def main() -> list[str]:
        return await asyncio.gather(*(one(f"null/{number}") for number in range(8)))

    assert asyncio.run(main()) == [f"null/{number}" for number in range(8)]


def test_none_at_all_says_how_to_get_one(make_executor: MakeExecutor) -> None:
    executor = make_executor(lm=None)
    with pytest.raises(LanguageModelUnavailable) as caught:
        executor.execute_signature("Answer", {"question": "?"})
    for part in (
        "lm='provider/model'",
        "dspy.configure(lm=",
        "HOKUSAI_LM=",
        "API key",
        "of hokusai-local is switched off",
    ):
        assert part in str(caught.value)
    assert isinstance(caught.value, LookupError)


def test_an_embedded_one_that_cannot_serve_says_why(make_executor: MakeExecutor) -> None:
    broken = Provider()
    broken.available = lambda: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    plugins = [plugin_of(Provider(reason="weights are missing: pip install x"), "a", embedded=True),
               plugin_of(broken, "b", embedded=True)]  # fmt: skip
    with pytest.raises(LanguageModelUnavailable, match=r"a: weights are missing: pip install x.*b: ZeroDivisionError"):
        who(make_executor(lm=None, extra_plugins=plugins))


def test_a_name_goes_to_its_provider_once(make_executor: MakeExecutor) -> None:
    provider = Provider()
    executor = make_executor(lm="nullish/deep/name", extra_plugins=[plugin_of(provider)])
    assert [who(executor), who(executor), who(executor, lm="nullish")] == ["null/deep/name"] * 2 + ["null/default"]
    assert provider.loaded == ["deep/name", ""]
    executor.close()
    assert provider.closed == 1


@pytest.mark.parametrize("name", ["", "nothing", "provider/", "/model", " openai/x"])
def test_a_name_that_is_none(make_executor: MakeExecutor, name: str) -> None:
    with pytest.raises(LanguageModelUnavailable, match="provider/model"):
        who(make_executor(), lm=name)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (5, r"lm=int of builtins is not a language model.*give a dspy\.LM, or a name"),
        (object(), r"lm=object of builtins is not a language model.*give a dspy\.LM, or a name"),
        (dspy.LM, r"lm=LM is a class: give a model, such as LM\('openai/gpt-5-mini'\)"),
        (LanguageModel("null/x"), r"is not a language model.*give a dspy\.LM, or a name"),
    ],
    ids=["number", "object", "class", "wrapped name"],
)
def test_what_is_no_language_model(make_executor: MakeExecutor, value: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        who(make_executor(), lm=value)


def test_a_provider_that_raises_is_named(make_executor: MakeExecutor) -> None:
    provider = Provider()
    provider.load = lambda name: {}[name]  # type: ignore[assignment, method-assign, misc]
    with pytest.raises(LanguageModelUnavailable, match=r"provider 'nullish' could not load 'big'.*KeyError") as caught:
        who(make_executor(extra_plugins=[plugin_of(provider)]), lm="nullish/big")
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("lie", [None, null_lm(), LanguageModel(None)], ids=["none", "bare", "hollow"])
def test_a_provider_that_lies_is_named(make_executor: MakeExecutor, lie: Any) -> None:
    provider = Provider()
    provider.load = lambda name: lie  # type: ignore[assignment, method-assign, misc]
    with pytest.raises(PluginError, match="provider 'nullish' returned"):
        who(make_executor(extra_plugins=[plugin_of(provider)]), lm="nullish/big")


class Marked(dspy.ChatAdapter):
    """A chat adapter that says in the prompt which one it is."""

    def __init__(self, mark: str) -> None:
        super().__init__()
        self.mark = mark

    def format(self, *args: Any, **kwargs: Any) -> Any:
        messages = super().format(*args, **kwargs)
        messages[-1]["content"] += f"\nmark:{self.mark}"
        return messages


def mark_of(lm: Any) -> str:
    return str(lm.engine.requests[-1].messages[-1].text).rpartition("mark:")[2] if lm.engine.requests else ""


def test_adapter_of_the_executor_then_of_the_model_then_of_the_host(make_executor: MakeExecutor) -> None:
    lm = null_lm(keep_requests=True)
    model = LanguageModel(lm, Marked("model"))
    strict = make_executor(adapter=Marked("executor"))
    plain = make_executor()
    with dspy.context(adapter=Marked("host")):
        who(strict, lm=model)
        assert mark_of(lm) == "executor"
        who(plain, lm=model)
        assert mark_of(lm) == "model"
        who(plain, lm=lm)
        assert mark_of(lm) == "host"
    who(plain, lm=lm)
    assert "mark:" not in lm.engine.requests[-1].messages[-1].text


def test_one_language_model_with_two_identities_is_two(make_executor: MakeExecutor) -> None:
    lm = null_lm()
    executor = make_executor()
    for identity in ("weights-1", "weights-2", "weights-1"):
        executor.execute_signature("Answer", {"question": "?"}, lm=LanguageModel(lm, identity=identity))
    assert lm.engine.calls == 2


def test_loading_counts_towards_the_deadline(make_executor: MakeExecutor) -> None:
    import time

    provider = Provider()
    load = provider.load

    def slow(name: str, **options: Any) -> LanguageModel:
        time.sleep(0.15)
        return load(name)

    provider.load = slow  # type: ignore[method-assign]
    executor = make_executor(extra_plugins=[plugin_of(provider)])
    with pytest.raises(TimeoutError):
        who(executor, lm="nullish", timeout=0.1)
    assert who(executor, lm="nullish", timeout=10) == "null/default"
