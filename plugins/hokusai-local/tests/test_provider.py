from __future__ import annotations

from pathlib import Path

import pytest

from hokusai_core import LanguageModel
from hokusai_core.errors import ConfigurationError, LanguageModelUnavailable
from hokusai_core.protocols import LanguageModelProvider
from hokusai_local import LocalProvider
from hokusai_local.plugin import provide_language_models


def test_the_plugin_offers_the_provider() -> None:
    (component,) = provide_language_models()
    assert component.name == "local"
    assert component.target == "hokusai_local.provider:LocalProvider"


def test_it_is_a_provider(provider: LocalProvider) -> None:
    assert isinstance(provider, LanguageModelProvider)
    assert provider.available() is None


def test_identity_tells_models_apart(model: LanguageModel, provider: LocalProvider) -> None:
    assert "xllamacpp=" in model.identity
    assert provider.load("").identity == model.identity
    assert provider.load("", overflow="truncate").identity != model.identity


def test_the_environment_sets_defaults(provider: LocalProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOKUSAI_LOCAL_CONTEXT", "2048")
    monkeypatch.setenv("HOKUSAI_LOCAL_OVERFLOW", "truncate")
    options = provider.load("").lm.engine.options
    assert (options.context, options.overflow) == (2048, "truncate")
    assert provider.load("", context=1024).lm.engine.options.context == 1024
    monkeypatch.setenv("HOKUSAI_LOCAL_CONTEXT", "a lot")
    with pytest.raises(ConfigurationError, match="HOKUSAI_LOCAL_CONTEXT='a lot'"):
        provider.load("")


def test_unknown_options_and_files_are_refused(provider: LocalProvider, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no option speed"):
        provider.load("", speed=3)
    with pytest.raises(LanguageModelUnavailable, match=r"nothing\.gguf"):
        provider.load(str(tmp_path / "nothing.gguf"))


def test_closing_twice_is_harmless_and_use_goes_on() -> None:
    provider = LocalProvider()
    model = provider.load("", context=768)
    assert model.lm("Say hello.", max_tokens=4)
    provider.close()
    provider.close()
    assert model.lm("Say hello.", max_tokens=4)
    model.lm.engine.close()
