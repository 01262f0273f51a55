"""The conformance suite for tools: subclass ``ToolConformance`` in the tests of a plugin that offers one.

Example::

    class TestMyTool(ToolConformance):
        arguments = {"city": "Paris"}

        @pytest.fixture
        def tool(self):
            return MyTool()
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest

from hokusai_core.json_encoding import jsonable
from hokusai_core.protocols import Tool

__all__ = ["ToolConformance"]


class ToolConformance:
    """Tests that every tool passes. The fixture ``tool`` returns one.

    Attributes:
        arguments: arguments that the tool can be called with.
    """

    arguments: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture
    def tool(self) -> Tool:
        """Return the tool."""
        raise NotImplementedError("define the fixture tool")

    def _call(self, tool: Tool) -> Any:
        result = tool.call(**self.arguments)
        return asyncio.run(_awaited(result)) if inspect.isawaitable(result) else result

    def test_satisfies_the_protocol(self, tool: Tool) -> None:
        """It has a method ``call``, a schema and a version."""
        assert isinstance(tool, Tool)

    def test_says_what_it_does(self, tool: Tool) -> None:
        """A language model chooses by the description, and caches tell versions apart."""
        assert isinstance(tool.description, str)
        assert tool.description.strip()
        assert isinstance(tool.version, str)
        assert tool.version

    def test_has_a_schema_of_its_arguments(self, tool: Tool) -> None:
        """The schema is JSON, of type ``object``, and describes every argument."""
        schema = json.loads(json.dumps(tool.parameters))
        assert schema.get("type") == "object"
        properties = schema["properties"]
        assert all(isinstance(part, dict) for part in properties.values())
        assert set(schema.get("required", ())) <= set(properties)
        assert set(self.arguments) <= set(properties)
        assert set(schema.get("required", ())) <= set(self.arguments)

    def test_returns_what_has_a_json_form(self, tool: Tool) -> None:
        """The result goes into a prompt."""
        json.dumps(jsonable(self._call(tool)))

    def test_changes_no_argument(self, tool: Tool) -> None:
        """Arguments are recorded after the call."""
        before = copy.deepcopy(dict(self.arguments))
        self._call(tool)
        assert dict(self.arguments) == before

    def test_many_threads_call_at_once(self, tool: Tool) -> None:
        """Rows of a batch share a tool."""
        with ThreadPoolExecutor(8) as pool:
            assert len(list(pool.map(lambda _: self._call(tool), range(40)))) == 40


async def _awaited(result: Any) -> Any:
    return await result
