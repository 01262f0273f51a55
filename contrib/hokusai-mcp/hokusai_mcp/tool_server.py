"""ToolServer: answers the requests of clients with executions."""

from __future__ import annotations

import asyncio
import importlib.metadata
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

import anyio
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.shared.exceptions import MCPError

from hokusai_core import Executor, SignatureChain
from hokusai_core.errors import ConfigurationError, HokusaiError
from hokusai_core.plugin_api import did_you_mean, scrub
from hokusai_mcp.tools import OfferedTool, find_tools

__all__ = ["ToolServer"]

#: Seconds between two notices that a call is still under way.
_NOTICE: Final = 1.0
#: Characters of the name of an unknown tool that an error shows.
_LONGEST_NAME: Final = 100


class ToolServer:
    """Offers the signatures of an executor, and chains, as tools.

    Args:
        executor: runs them. Closing it is left to the caller.
        include: names or patterns of signatures, such as ``"Email*"``; empty for all.
        exclude: names or patterns of signatures that are left out.
        chains: chains that are offered, too.
        concurrency: calls that run at once; others wait.

    Raises:
        ConfigurationError: an argument has a value that cannot be used.
        CompositionError: a chain does not fit together.

    Example::

        with Executor(lm="openai/gpt-5-mini") as executor:
            tools = ToolServer(executor, include=["Email*"])
            async with Client(tools.server) as client:  # of the MCP SDK, in this process
                await client.call_tool("EmailDraft", {...})
    """

    def __init__(
        self,
        executor: Executor,
        *,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        chains: Iterable[SignatureChain] = (),
        concurrency: int = 16,
    ) -> None:
        if concurrency < 1:
            raise ConfigurationError(f"concurrency={concurrency!r}: expected at least 1")
        self._executor = executor
        self.tools = find_tools(executor, include, exclude, chains)
        self._listed = [tool.describe() for tool in self.tools.values()]
        self._concurrency = concurrency
        self._room: dict[asyncio.AbstractEventLoop, asyncio.Semaphore] = {}
        #: The server of the MCP SDK, for any of its transports.
        self.server: Server[Any] = Server(
            "hokusai",
            version=importlib.metadata.version("hokusai-mcp"),
            instructions="Each tool asks a language model to do one task, and answers with typed outputs.",
            on_list_tools=self._list,
            on_call_tool=self._call,
        )

    async def run_stdio(self) -> None:
        """Serve the client on standard input and output until it goes away."""
        from mcp.server.stdio import stdio_server  # takes the descriptors of this process

        async with stdio_server() as (reading, writing):
            await self.server.run(reading, writing, self.server.create_initialization_options())

    async def _list(
        self, _context: ServerRequestContext[Any], _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=self._listed)

    async def _call(
        self, context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        tool = self.tools.get(params.name)
        if tool is None:
            hint = did_you_mean(params.name[:_LONGEST_NAME], self.tools)
            raise MCPError(types.INVALID_PARAMS, f"there is no tool {params.name[:_LONGEST_NAME]!r}{hint}")
        outcome: types.CallToolResult | None = None
        async with self._semaphore(), anyio.create_task_group() as group:
            if isinstance(tool.target, str):
                group.start_soon(_notify, context)
            outcome = await self._execute(tool, params.arguments or {}, context)
            group.cancel_scope.cancel()
        assert outcome is not None  # noqa: S101  # else the call was cancelled, and nothing comes here
        return outcome

    async def _execute(
        self, tool: OfferedTool, arguments: dict[str, Any], context: ServerRequestContext[Any]
    ) -> types.CallToolResult:
        """Run the tool; what goes wrong is its result, so that the model that called it can do better."""
        try:
            if isinstance(tool.target, str):
                return tool.result(await self._executor.aexecute_signature(tool.target, arguments))
            return tool.result(await self._run_chain(tool.target, arguments, context))
        except HokusaiError as error:
            return _failed(f"{type(error).__name__}: {scrub(str(error))}")
        except Exception as error:  # of a plugin or a library: its text may hold anything
            return _failed(f"{tool.name} failed with {type(error).__name__}; the log of the server may say why")

    async def _run_chain(
        self, chain: SignatureChain, arguments: dict[str, Any], context: ServerRequestContext[Any]
    ) -> Any:
        if not _wants_progress(context):
            return await self._executor.aexecute_chain(chain, arguments)
        done, result = 0, None
        async for event in self._executor.astream_chain(chain, arguments):
            if event.kind != "finished":
                continue
            if event.step is None:
                result = event.result
            else:
                done += 1
                await context.session.report_progress(done, len(chain.steps), f"{event.step} is done")
        return result

    def _semaphore(self) -> asyncio.Semaphore:
        loop = asyncio.get_running_loop()
        found = self._room.get(loop)
        if found is None:
            self._room = {known: room for known, room in self._room.items() if not known.is_closed()}
            found = self._room[loop] = asyncio.Semaphore(self._concurrency)
        return found


async def _notify(context: ServerRequestContext[Any]) -> None:
    """Tell a client that asked for progress how long its call has been under way; of a chain, steps tell it."""
    began = time.monotonic()
    while True:
        await anyio.sleep(_NOTICE)
        waited = time.monotonic() - began
        await context.session.report_progress(waited, None, f"under way for {waited:.0f} s")


def _wants_progress(context: ServerRequestContext[Any]) -> bool:
    return context.meta is not None and context.meta.get("progress_token") is not None


def _failed(message: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=message)], is_error=True)
