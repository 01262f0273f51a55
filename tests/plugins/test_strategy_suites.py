"""The conformance suites of strategies and tools fail those that break their contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import dspy
import pytest

from hokusai_core.errors import PluginError
from hokusai_core.function_tool import FunctionTool
from hokusai_core.strategy_task import StrategyTask
from hokusai_core.testing.strategies import StrategyConformance
from hokusai_core.testing.tools import ToolConformance


def strategy_of(forward: Callable[[Any, dict[str, Any]], Any]) -> Any:
    """Return a class of strategies whose module calls ``forward`` with its predictor and its inputs."""

    class Module(dspy.Module):  # type: ignore[misc]  # DSPy: Any
        def __init__(self, signature: Any) -> None:
            super().__init__()
            self.ask = dspy.Predict(signature)

        def forward(self, **inputs: Any) -> Any:
            return forward(self.ask, inputs)

    class Strategy:
        version = "1"

        def build(self, task: StrategyTask) -> Any:
            return Module(task.signature)

    return Strategy


def asks_twice(ask: Any, inputs: dict[str, Any]) -> Any:
    ask(**inputs)
    return ask(**inputs)


def makes_answers_up(ask: Any, inputs: dict[str, Any]) -> Any:
    try:
        ask(**inputs)
        return ask(**inputs)
    except Exception:
        return dspy.Prediction(**dict.fromkeys(ask.signature.output_fields, "7"))


def returns_none(ask: Any, inputs: dict[str, Any]) -> Any:
    try:
        return ask(**inputs)
    except Exception:
        return None


def remembers(ask: Any, inputs: dict[str, Any]) -> Any:
    prediction = ask(**inputs)
    ask.demos = [*ask.demos, {**inputs, **prediction}]
    return prediction


class TestAsksTwice(StrategyConformance):
    @pytest.fixture
    def target(self) -> Any:
        return strategy_of(asks_twice)


def population(city: str) -> int:
    """Return how many people live in a city."""
    return {"Paris": 2_100_000}[city]


class TestFunctionTool(ToolConformance):
    arguments: ClassVar[Mapping[str, Any]] = {"city": "Paris"}

    @pytest.fixture
    def tool(self) -> FunctionTool:
        return FunctionTool(population, version="1")


class TestCoroutineTool(ToolConformance):
    arguments: ClassVar[Mapping[str, Any]] = {"city": "Paris"}

    @pytest.fixture
    def tool(self) -> FunctionTool:
        async def look_up(city: str, deep: bool = False) -> dict[str, int]:
            """Return how many people live in a city."""
            return {city: 1}

        return FunctionTool(look_up, version="1")


@pytest.mark.parametrize(
    ("forward", "name"),
    [
        (makes_answers_up, "test_raises_if_every_call_fails"),
        (makes_answers_up, "test_raises_if_no_answer_can_be_read"),
        (returns_none, "test_raises_if_every_call_fails"),
        (remembers, "test_keeps_nothing_of_a_call"),
    ],
)
def test_a_careless_strategy_fails(forward: Any, name: str) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception, PluginError)):
        getattr(TestAsksTwice(), name)(strategy_of(forward))


@pytest.mark.parametrize(
    ("tool", "name"),
    [
        (FunctionTool(population), "test_says_what_it_does"),
        (FunctionTool(population, version="1", parameters={"properties": {}}), "test_has_a_schema_of_its_arguments"),
        (
            FunctionTool(lambda city: object(), name="x", description="x", parameters={}),
            "test_returns_what_has_a_json_form",
        ),
    ],
)
def test_a_careless_tool_fails(tool: FunctionTool, name: str) -> None:
    with pytest.raises((AssertionError, TypeError)):
        getattr(TestFunctionTool(), name)(tool)
