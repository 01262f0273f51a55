"""The tools as a client of the official SDK sees them: in process, over HTTP, and in a child process over stdio."""

from __future__ import annotations

import asyncio
import datetime
import enum
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import jsonschema
import pytest
import uvicorn
from click.testing import CliRunner
from mcp import Client, StdioServerParameters
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel

from hokusai_core import BaseSignature, Executor, InputField, OutputField, SignatureChain
from hokusai_core.errors import CompositionError, ConfigurationError
from hokusai_core.testing.commands import CommandConformance
from hokusai_core.testing.lm import null_lm
from hokusai_mcp import ToolServer, http_app
from hokusai_mcp.commands import mcp as mcp_command
from hokusai_mcp.http_transport import listen

TOKEN = "sesame-sesame-sesame"  # noqa: S105  # of this test
KEY = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789"


class Team(enum.Enum):
    BILLING = "billing"
    SALES = "sales"


class Person(BaseModel):
    name: str
    born: datetime.date | None = None


class Letter(BaseModel):
    to: list[Person]
    team: Team


class Assign(BaseSignature):
    """Assign the letter to a team."""

    letter: Letter = InputField("The letter")
    limit: int = InputField("At most so many", default=3, ge=1, le=9)
    key: str = InputField("A key", default="", sensitive=True)
    people: list[Person] = OutputField("Whom it concerns", max_length=5)
    due: datetime.date = OutputField("When it is due")
    team: Team = OutputField()
    examples = ({"inputs": {"letter": {"to": [{"name": "Ada"}], "team": "sales"}}, "outputs": {}},)


ANSWERS = {"people": [{"name": "Ada", "born": "1815-12-10"}], "due": "2026-01-31", "team": "sales", "answer": "42"}


@contextmanager
def served(*, tools: dict[str, Any] | None = None, **options: Any) -> Iterator[ToolServer]:
    settings = {"plugins": [], "lm": null_lm(answers=ANSWERS), "cache_enabled": False, **options}
    with Executor(**settings) as executor:
        executor.register_signature("Ask", "question -> answer")
        executor.register_signature("Assign", Assign)
        yield ToolServer(executor, **(tools or {}))


def within(target: Any, use: Callable[[Client], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        with anyio.fail_after(60):
            async with Client(target, **options) as client:
                await use(client)

    anyio.run(main)


def texts(result: Any) -> str:
    return "\n".join(part.text for part in result.content)


# -- in process ------------------------------------------------------------------------------------------------------


def test_every_standard_signature_is_a_tool_that_answers() -> None:
    with served(plugins=["signatures"], tools={"include": ["signatures/*"]}) as tools:

        async def use(client: Client) -> None:
            listed = (await client.list_tools()).tools
            assert len(listed) == 16
            for tool in listed:
                jsonschema.Draft202012Validator.check_schema(tool.input_schema)
                jsonschema.Draft202012Validator.check_schema(tool.output_schema)
                example = tool.input_schema["examples"][0]
                jsonschema.validate(example, tool.input_schema)
                result = await client.call_tool(tool.name, example)
                assert not result.is_error, texts(result)
                jsonschema.validate(result.structured_content, tool.output_schema)
                assert texts(result)
                assert tool.description

        within(tools.server, use)


def test_types_are_told_whole_and_values_come_back_in_them() -> None:
    with served() as tools:

        async def use(client: Client) -> None:
            (tool,) = [tool for tool in (await client.list_tools()).tools if tool.name == "Assign"]
            schema = tool.input_schema
            assert schema["required"] == ["letter"]
            assert schema["properties"]["limit"].items() >= {"default": 3, "minimum": 1, "maximum": 9}.items()
            assert schema["properties"]["letter"]["description"] == "The letter"
            assert schema["$defs"]["Team"]["enum"] == ["billing", "sales"]
            for wrong in ({"letter": {"to": [], "team": "kitchen"}}, {"letter": {"to": [{}], "team": "sales"}}, {}):
                with pytest.raises(jsonschema.ValidationError):
                    jsonschema.validate(wrong, schema)
            given = {"letter": {"to": [{"name": "Ada"}], "team": "sales"}}
            jsonschema.validate(given, schema)
            result = await client.call_tool("Assign", given)
            assert result.structured_content == {name: ANSWERS[name] for name in ("people", "due", "team")}
            assert json.loads(texts(result)) == result.structured_content
            assert texts(await client.call_tool("Ask", {"question": "?"})) == "42"

        within(tools.server, use)
        within(tools.server, use, mode="legacy")


def test_what_goes_wrong_is_told_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_prompt: str) -> str:
        raise RuntimeError(f"the key {KEY} is not known")

    with served(lm=null_lm(answers={**ANSWERS, "answer": broken})) as tools:

        async def use(client: Client) -> None:
            missing = await client.call_tool("Ask", {"quest": "Ada"})
            assert missing.is_error
            assert "question" in texts(missing)
            wrong = await client.call_tool("Assign", {"letter": "Ada", "key": "sesame", "limit": 99})
            assert wrong.is_error
            assert "limit" in texts(wrong)
            failed = await client.call_tool("Ask", {"question": "?"})
            assert failed.is_error
            assert "is not known" in texts(failed)
            assert KEY not in texts(failed)
            assert "sesame" not in texts(wrong)
            with pytest.raises(MCPError, match="did you mean"):
                await client.call_tool("Asc", {})

        within(tools.server, use, mode="legacy")


def test_calls_are_cancelled_bounded_and_tell_their_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hokusai_mcp.tool_server._NOTICE", 0.05)
    lm = null_lm(answers=ANSWERS, delay=60)
    with served(lm=lm, tools={"concurrency": 2}) as tools:

        async def use(client: Client) -> None:
            with anyio.move_on_after(0.3):
                await client.call_tool("Ask", {"question": "?"})
            with anyio.fail_after(10):
                while lm.engine.in_flight:  # noqa: ASYNC110  # the engine has no event
                    await anyio.sleep(0.01)
            lm.engine.delay = 0.2
            told: list[float] = []

            async def tell(progress: float, total: float | None, message: str | None) -> None:
                told.append(progress)

            async def ask(number: int) -> None:
                await client.call_tool("Ask", {"question": str(number)}, progress_callback=tell)

            async with anyio.create_task_group() as group:
                for number in range(5):
                    group.start_soon(ask, number)
            assert lm.engine.most_in_flight == 2
            assert told

        within(tools.server, use, mode="legacy")


def test_chains_are_tools_whose_steps_are_told() -> None:
    chain = SignatureChain("AskTwice", inputs=["question"])
    chain.add("Ask", {"question": "question"}, name="first")
    chain.add("Ask", {"question": "first.answer"}, name="second")
    with served(tools={"include": ["Ask"], "chains": [chain]}) as tools:

        async def use(client: Client) -> None:
            listed = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert sorted(listed) == ["Ask", "AskTwice"]
            assert listed["AskTwice"].input_schema["required"] == ["question"]
            told: list[tuple[float, float | None]] = []

            async def tell(progress: float, total: float | None, message: str | None) -> None:
                told.append((progress, total))

            result = await client.call_tool("AskTwice", {"question": "?"}, progress_callback=tell)
            assert result.structured_content == {"answer": "42"}
            assert told == [(1, 2), (2, 2)]
            assert (await client.call_tool("AskTwice", {"question": "?"})).structured_content == {"answer": "42"}

        within(tools.server, use, mode="legacy")


def test_tools_that_cannot_be_offered_are_refused() -> None:
    for options, error, says in (
        ({"include": ["Nothing*"]}, ConfigurationError, "no signature is called 'Nothing"),
        ({"concurrency": 0}, ConfigurationError, "at least 1"),
        ({"chains": [SignatureChain("Broken").add("Nothing", {})]}, CompositionError, "Nothing"),
    ):
        with pytest.raises(error, match=says), served(tools=options):
            pass
    with served(tools={"exclude": ["Ass*"]}) as tools:
        assert sorted(tools.tools) == ["Ask"]


# -- over HTTP -------------------------------------------------------------------------------------------------------


@contextmanager
def listening(tools: ToolServer, **options: Any) -> Iterator[str]:
    with listen("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(http_app(tools, **options), log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        until = time.monotonic() + 30
        while not server.started and time.monotonic() < until:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
        server.should_exit = True
        thread.join(30)


def test_connections_send_without_delay() -> None:
    async def accepted() -> int:
        made: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def look(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            made.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        with listen("127.0.0.1", 0) as listener:
            async with await asyncio.start_server(look, sock=listener):
                _, writer = await asyncio.open_connection(*listener.getsockname())
                writer.close()
                return await asyncio.wait_for(made, 30)

    assert asyncio.run(accepted()) == 1


def status(url: str, **headers: str) -> int:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}).encode()
    sent = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream", **headers}
    return httpx.post(url, content=body, headers=sent, timeout=30, trust_env=False).status_code


def test_http_lets_in_who_may_connect_and_nobody_else() -> None:
    async def use(client: Client) -> None:
        assert len((await client.list_tools()).tools) == 2
        assert (await client.call_tool("Ask", {"question": "?"})).structured_content == {"answer": "42"}

    with served() as tools:
        with listening(tools) as url:
            within(url, use)
            within(url, use, mode="legacy")
            assert status(url, Host="evil.example") == 421
            assert status(url, Host="127.0.0.1.evil.example") == 421
            assert status(url, Origin="https://evil.example") == 403
            assert status(url, Origin="http://localhost:3000") not in (401, 403, 421)
        with listening(tools, tokens=[TOKEN], allowed_origins=["https://good.example"]) as url:
            assert status(url) == 401
            assert status(url, Authorization=f"Bearer {TOKEN}x") == 401
            assert status(url, Authorization=f"Bearer {TOKEN}", Origin="https://evil.example") == 403
            allowed = {"Authorization": f"Bearer {TOKEN}", "Origin": "https://good.example"}
            assert status(url, **allowed) not in (401, 403, 421)


def test_an_address_that_others_can_reach_needs_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOKUSAI_MCP_TOKEN", raising=False)
    with served() as tools:
        for host in ("0.0.0.0", "192.0.2.1", "example.org", "::"):  # noqa: S104  # refused
            with pytest.raises(ConfigurationError, match="need a token"):
                http_app(tools, host=host)
            http_app(tools, host=host, tokens=[TOKEN])
        with pytest.raises(ConfigurationError, match="guessed"):
            http_app(tools, tokens=["short"])
    refused = CliRunner().invoke(mcp_command, ["--http", "--host", "192.0.2.1"])
    assert refused.exit_code == 2, refused.output
    assert "HOKUSAI_MCP_TOKEN" in refused.output
    (tmp_path / "tokens").write_text("\n")
    empty = CliRunner().invoke(mcp_command, ["--http", "--token-file", str(tmp_path / "tokens")])
    assert empty.exit_code == 1
    assert "no token" in empty.output


# -- the command -----------------------------------------------------------------------------------------------------


class TestMcpCommand(CommandConformance):
    target = "hokusai_mcp.commands:mcp"


@pytest.mark.slow
def test_the_command_serves_a_client_on_standard_input_and_output(tmp_path: Path) -> None:
    (tmp_path / "draft.toml").write_text(
        'name = "Shorten"\ninputs = ["topic"]\n'
        '[[steps]]\nsignature = "DraftText"\n[steps.inputs]\ntopic = "topic"\n'
        '[[steps]]\nsignature = "SummarizeText"\n[steps.inputs]\ndocument = "DraftText.draft"\n'
    )
    arguments = ["-m", "hokusai", "mcp", "--mode", "testing", "--include", "*Text", "--exclude", "Expand*"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HOKUSAI_")}
    child = StdioServerParameters(
        command=sys.executable, args=[*arguments, "--chain", str(tmp_path / "draft.toml")], env=environment
    )

    async def use(client: Client) -> None:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert {"DraftText", "SummarizeText", "Shorten"} <= names
        assert "ExpandText" not in names
        result = await client.call_tool("SummarizeText", {"document": "Ada wrote a program."})
        assert result.structured_content
        assert result.structured_content["summary"]
        assert not (await client.call_tool("Shorten", {"topic": "engines"})).is_error

    within(child, use)
