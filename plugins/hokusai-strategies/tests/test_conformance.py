"""Every strategy of this plugin keeps to the contract."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hokusai_core.plugin_api import Strategy
from hokusai_core.testing.strategies import StrategyConformance
from hokusai_strategies.chain_of_thought import ChainOfThought
from hokusai_strategies.predict import Predict


class TestPredict(StrategyConformance):
    @pytest.fixture
    def target(self) -> Callable[..., Strategy]:
        return Predict


class TestChainOfThought(StrategyConformance):
    @pytest.fixture
    def target(self) -> Callable[..., Strategy]:
        return ChainOfThought
