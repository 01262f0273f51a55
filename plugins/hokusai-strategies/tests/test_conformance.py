"""Every strategy of this plugin keeps to the contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pytest

from hokusai_core.plugin_api import FunctionTool, Strategy
from hokusai_core.testing.strategies import StrategyConformance
from hokusai_strategies.best_of_n import BestOfN
from hokusai_strategies.chain import Chain
from hokusai_strategies.chain_of_thought import ChainOfThought
from hokusai_strategies.majority import Majority
from hokusai_strategies.predict import Predict
from hokusai_strategies.react import ReAct
from hokusai_strategies.refine import Refine


def population(city: str) -> int:
    """Return how many people live in a city."""
    return len(city) * 1_000_000


def is_a_city(_inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> float:
    return 0.5 if outputs["answer"] == "Paris" else 0.0


class Judge:
    """A reward with a name and a version."""

    name = "is_a_city"
    version = "1"

    def __call__(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> float:
        return is_a_city(inputs, outputs)


class TestPredict(StrategyConformance):
    @pytest.fixture
    def target(self) -> Callable[..., Strategy]:
        return Predict


class TestChainOfThought(StrategyConformance):
    @pytest.fixture
    def target(self) -> Callable[..., Strategy]:
        return ChainOfThought


class TestChain(StrategyConformance):
    options: ClassVar[Mapping[str, Any]] = {
        "steps": [
            {
                "name": "First",
                "signature": StrategyConformance.spec.to_dict(),
                "inputs": {"question": {"input": "question"}, "signature": {"input": "signature"}},
            },
            {
                "name": "Second",
                "signature": StrategyConformance.spec.to_dict(),
                "inputs": {"question": {"step": "First", "field": "answer"}, "signature": {"value": "as before"}},
            },
        ],
    }

    @pytest.fixture
    def target(self) -> Callable[..., Strategy]:
        return Chain


class TestReAct(StrategyConformance):
    shows_demos = False  # its predictors have fields of their own
    options: ClassVar[Mapping[str, Any]] = {"tools": [FunctionTool(population, version="1")], "max_iters": 3}
    answers: ClassVar[Mapping[str, Any]] = {
        "next_tool_name": lambda prompt: "finish" if "observation_0" in prompt else "population",
        "next_tool_args": lambda prompt: {} if "observation_0" in prompt else {"city": "Paris"},
    }

    @pytest.fixture
    def target(self) -> Callable[..., Strategy]:
        return ReAct


class TestBestOfN(StrategyConformance):
    options: ClassVar[Mapping[str, Any]] = {"reward": Judge(), "n": 3, "threshold": 1.0}

    @pytest.fixture
    def target(self) -> Callable[..., Strategy]:
        return BestOfN


class TestRefine(StrategyConformance):
    options: ClassVar[Mapping[str, Any]] = {"reward": Judge(), "n": 2, "threshold": 1.0}

    @pytest.fixture
    def target(self) -> Callable[..., Strategy]:
        return Refine


class TestMajority(StrategyConformance):
    options: ClassVar[Mapping[str, Any]] = {"n": 3}

    @pytest.fixture
    def target(self) -> Callable[..., Strategy]:
        return Majority
