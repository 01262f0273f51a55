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
from hokusai_core.testing.capabilities import Conformance, error_in_fork
from hokusai_core.testing.event_loops import run_watched

__all__ = ["ToolConformance"]


class ToolConformance(Conformance):
    """Tests that every tool passes. The fixture ``tool`` returns one.

    Attributes:
        arguments: arguments that the tool can be called with.
    """

    arguments: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture
    def tool(self) -> Tool:
        """Return the tool."""
        raise NotImplementedError("define the fixture tool")

    def _call(self, tool: Tool, arguments: Mapping[str, Any] | None = None) -> Any:
        result = tool.call(**(copy.deepcopy(dict(self.arguments)) if arguments is None else arguments))
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

    def test_has_a_call_for_its_schema(self, tool: Tool) -> None:
        """Arguments that the schema requires are enough, and each one that it describes is taken."""
        schema = tool.parameters
        needed = {name: self.arguments[name] for name in schema.get("required", ())}
        self._call(tool, needed)
        signature = inspect.signature(tool.call)
        signature.bind(**dict.fromkeys(schema["properties"]))

    def test_returns_what_has_a_json_form(self, tool: Tool) -> None:
        """The result goes into a prompt: it is data, and not the text that Python has for an object."""
        result = self._call(tool)
        text = json.dumps(jsonable(result))
        assert " object at 0x" not in text, "the result is an object without a JSON form"

    def test_returns_a_value_of_its_own(self, tool: Tool) -> None:
        """What a caller does to a result does not show in the next one."""
        first, second = self._call(tool), self._call(tool)
        before = json.dumps(jsonable(second))
        if json.dumps(jsonable(first)) != before:
            pytest.skip("two calls with the same arguments have different results")
        if isinstance(first, dict):
            first["changed by the caller"] = True
        elif isinstance(first, list):
            first.append("changed by the caller")
        assert json.dumps(jsonable(self._call(tool))) == before

    def test_changes_no_argument(self, tool: Tool) -> None:
        """Arguments are recorded after the call."""
        given = copy.deepcopy(dict(self.arguments))
        before = copy.deepcopy(given)
        self._call(tool, given)
        assert given == before

    def test_changes_nothing_of_its_own(self, tool: Tool) -> None:
        """Description, schema and version are part of cache keys, and the same before and after a call."""
        before = copy.deepcopy((tool.description, dict(tool.parameters), tool.version))
        self._call(tool)
        assert (tool.description, dict(tool.parameters), tool.version) == before

    def test_an_event_loop_goes_on(self, tool: Tool) -> None:
        """A tool that returns an awaitable is called on the event loop; any other one on a thread."""
        self.require("asynchronous")
        made = tool.call(**copy.deepcopy(dict(self.arguments)))
        if not inspect.isawaitable(made):
            pytest.skip("this tool returns no awaitable, so it is called on a thread")
        asyncio.run(_awaited(made))

        async def use() -> None:
            await tool.call(**copy.deepcopy(dict(self.arguments)))

        run_watched(use, allowed=self.calls_on_loop)

    def test_nothing_is_printed(self, tool: Tool, capfd: pytest.CaptureFixture[str]) -> None:
        """Standard output and error belong to the host."""
        self._call(tool)
        assert tuple(capfd.readouterr()) == ("", "")

    def test_works_in_a_forked_process(self, tool: Tool) -> None:
        """A prefork server makes it before it forks."""
        self.require_fork(tool)
        self._call(tool)
        assert error_in_fork(lambda: self._call(tool)) is None

    def test_many_threads_call_at_once(self, tool: Tool) -> None:
        """Rows of a batch share a tool, and each gets the result of its own call."""
        alone = [json.dumps(jsonable(self._call(tool))) for _ in range(2)]
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(lambda _: json.dumps(jsonable(self._call(tool))), range(40)))
        assert len(results) == 40
        if alone[0] == alone[1]:  # else it tells the time, or the like
            assert set(results) == {alone[0]}


async def _awaited(result: Any) -> Any:
    return await result
