"""What a user writes, as type checkers see it. Checked by ``test_type_checkers.py``, never run."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, Literal, assert_type

from hokusai_core import (
    BaseSignature,
    Budget,
    ExecutionResult,
    Executor,
    InputField,
    OutputField,
    Settings,
    SignatureField,
)
from hokusai_core.plugin_api import Component, hookimpl
from hokusai_core.types import ExecutionFinished


class RouteTicket(BaseSignature):
    """Route a ticket to the team that can solve it."""

    message: str = InputField("The ticket")
    team: Literal["billing", "technical"] = OutputField("The team")
    reason: str = OutputField("Why")
    stars: list[int] = OutputField("Stars, one for each sentence")
    anything = SignatureField("A field without a type", role="output")


def run(executor: Executor) -> None:
    result = executor.execute_signature(RouteTicket, {"message": "It does not start"})
    assert_type(result, ExecutionResult[RouteTicket])
    assert_type(result.outputs.team, Literal["billing", "technical"])
    assert_type(result.outputs.reason, str)
    assert_type(result.outputs.stars, list[int])
    assert_type(result.outputs["team"], Any)
    assert_type(result["team"], Any)
    assert_type(result.cost, float | None)
    result.outputs.reason.upper()
    _ = result.outputs.reason + 1  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]
    _ = result.outputs.tean  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


def run_by_name(executor: Executor) -> None:
    named = executor.execute_signature("EmailDraft", {"recipient": "Ada"})
    assert_type(named.outputs, Any)
    loose: ExecutionResult = executor.execute_signature(signature_name="EmailDraft", inputs={"recipient": "Ada"})
    assert_type(loose["draft"], Any)


async def run_asynchronously() -> None:
    async with Executor(mode="testing") as executor:
        result = await executor.aexecute_signature(RouteTicket, {"message": "?"}, timeout=5, cache="off")
        assert_type(result.outputs.reason, str)


def options(executor: Executor) -> None:
    executor.execute_signature("A", {}, lm="local", tags={"a": "b"}, budget=Budget(calls=1), collect_feedback=True)
    executor.execute_signature("A", {}, timeuot=5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    executor.execute_signature("A", {}, cache="always")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    executor.execute_signature("A", {}, max_retries="many")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]


def settings() -> None:
    Executor(Settings(timeout=5, mode="testing", plugins=["signatures"]))
    Executor(environ={}, timeout=None, trackers=["mlflow"])
    Executor(timeuot=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Settings(max_workers="many")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


class Plugin:
    """A plugin in process."""

    @hookimpl
    def provide_caches(self) -> list[Component]:
        return [Component("box", dict)]

    @hookimpl
    def on_execution_finished(self, event: ExecutionFinished) -> None:
        assert_type(event.cost, float | None)


def submit(executor: Executor) -> None:
    future = executor.execute_async("EmailDraft", {"recipient": "Ada"})
    assert_type(future, Future[ExecutionResult])
    typed = executor.execute_async(RouteTicket, {"message": "?"})
    assert_type(typed.result().outputs.reason, str)
