"""The engines and the provider pass the conformance suites of the core."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from hokusai_core.testing.chat_server import ChatServer
from hokusai_core.testing.engines import EngineConformance
from hokusai_core.testing.language_models import LanguageModelProviderConformance
from hokusai_openai import AsyncOpenAIEngine, OpenAIEngine, OpenAIProvider, ServerOptions


class TestEngines(EngineConformance):
    @pytest.fixture
    def make_lm(self) -> Iterator[Callable[[str, str, str], Any]]:
        provider = OpenAIProvider()
        yield lambda base_url, model, key: provider.load(f"{base_url}#{model}", api_key=key).lm
        provider.close()

    @pytest.fixture
    def make_engines(self) -> Callable[[str, str, str], tuple[Any, Any]]:
        def make(base_url: str, model: str, key: str) -> tuple[Any, Any]:
            options = ServerOptions(base_url, model, api_key=key)
            return OpenAIEngine(options), AsyncOpenAIEngine(options)

        return make


class TestProvider(LanguageModelProviderConformance):
    unknown_name: ClassVar[str] = "http://127.0.0.1:8000/v1"

    @pytest.fixture(autouse=True)
    def server(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        with ChatServer() as server:
            monkeypatch.setattr(type(self), "name", f"{server.base_url}#ok")
            yield

    @pytest.fixture
    def make_provider(self) -> type[OpenAIProvider]:
        return OpenAIProvider
