"""DSPy's own client passes the conformance suite for engines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import dspy
import pytest
from dspy.clients.engines.lm15_engine import AsyncLM15Engine, LM15Engine
from dspy.lm15 import RouterConfig

from hokusai_core.testing.engines import EngineConformance


class TestClientOfDSPy(EngineConformance):
    renews_dead_connections: ClassVar[bool] = False
    model_in_requests: ClassVar[str] = "openai-chat:{}"

    @pytest.fixture
    def make_lm(self) -> Callable[[str, str, str], Any]:
        def make(base_url: str, model: str, key: str) -> Any:
            return dspy.LM(f"openai/{model}", api_base=base_url, api_key=key, cache=False, num_retries=0)

        return make

    @pytest.fixture
    def make_engines(self) -> Callable[[str, str, str], tuple[Any, Any]]:
        def make(base_url: str, model: str, key: str) -> tuple[Any, Any]:
            config = RouterConfig(api_keys={"openai-chat": key}, base_urls={"openai-chat": base_url})
            return LM15Engine(config, model_type="chat"), AsyncLM15Engine(config, model_type="chat")

        return make
