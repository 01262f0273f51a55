"""Functions as tools pass the conformance suite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from hokusai_core.function_tool import FunctionTool
from hokusai_core.testing.tools import ToolConformance


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
