"""The module of the strategy ``react``."""

from __future__ import annotations

import asyncio
import inspect
import json
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, Literal, Protocol

import dspy
import jsonschema

from hokusai_core.errors import BudgetExceeded, DeadlineExceeded, RateLimitedError, ToolError
from hokusai_core.plugin_api import StrategyTask, Tool, jsonable
from hokusai_strategies.option_checks import FINISH
from hokusai_strategies.own_thread import in_own_thread

__all__ = ["ReActModule"]

#: Errors that end the execution whatever a tool's errors mean.
_LIMITS = (BudgetExceeded, DeadlineExceeded, RateLimitedError)


class ReActOptions(Protocol):
    """What the module needs of the strategy."""

    tools: dict[str, Tool]
    max_iters: int
    on_tool_error: Literal["raise", "observe"]


class ReActModule(dspy.ReAct):
    """``dspy.ReAct`` with tools whose arguments are checked, whose errors are handled, and which may be awaited.

    Args:
        task: what is answered.
        options: the strategy.
    """

    def __init__(self, task: StrategyTask, options: ReActOptions) -> None:
        super().__init__(
            task.signature,
            tools=[_described(name, tool) for name, tool in options.tools.items()],
            max_iters=options.max_iters,
        )
        self._task, self._options = task, options

    def forward(self, **inputs: Any) -> Any:
        """Return the prediction, with the trajectory."""
        trajectory: dict[str, Any] = {}
        done = False
        for step in range(self.max_iters):
            thought = self._call_with_potential_trajectory_truncation(self.react, trajectory, **inputs)
            done = _note(trajectory, step, thought)
            if done:
                break
            refusal = self._refusal(thought)
            trajectory[f"observation_{step}"] = refusal or self._observe(thought)
        answer = self._call_with_potential_trajectory_truncation(self.extract, trajectory, **inputs)
        return dspy.Prediction(**{"trajectory": trajectory, "finished": done, **answer})

    async def aforward(self, **inputs: Any) -> Any:
        """Async version of ``forward``. A tool that is a plain function gets a thread."""
        trajectory: dict[str, Any] = {}
        done = False
        for step in range(self.max_iters):
            thought = await self._async_call_with_potential_trajectory_truncation(self.react, trajectory, **inputs)
            done = _note(trajectory, step, thought)
            if done:
                break
            refusal = self._refusal(thought)
            trajectory[f"observation_{step}"] = refusal or await self._aobserve(thought)
        answer = await self._async_call_with_potential_trajectory_truncation(self.extract, trajectory, **inputs)
        return dspy.Prediction(**{"trajectory": trajectory, "finished": done, **answer})

    def _refusal(self, thought: Any) -> str | None:
        """Return what is wrong with the arguments of a call, None if they fit."""
        tool = self._options.tools[thought.next_tool_name]
        try:
            jsonschema.validate(thought.next_tool_args, {"type": "object", **tool.parameters})
        except jsonschema.ValidationError as error:
            return f"The arguments do not fit: {error.message}"
        unknown = [name for name in thought.next_tool_args if name not in tool.parameters["properties"]]
        if unknown and not tool.parameters.get("additionalProperties"):
            return f"The tool has no argument {', '.join(unknown)}; it has {', '.join(tool.parameters['properties'])}"
        return None

    def _observe(self, thought: Any) -> Any:
        tool = self._options.tools[thought.next_tool_name]
        try:
            result = tool.call(**thought.next_tool_args)
            return jsonable(_completed(result) if inspect.isawaitable(result) else result)
        except Exception as error:
            failure = error
        return self._failed(thought.next_tool_name, failure)  # out here, where Python does not attach what was raised

    async def _aobserve(self, thought: Any) -> Any:
        tool = self._options.tools[thought.next_tool_name]
        try:
            result = await in_own_thread(lambda: tool.call(**thought.next_tool_args))
            return jsonable(await result if inspect.isawaitable(result) else result)
        except Exception as error:
            failure = error
        return self._failed(thought.next_tool_name, failure)

    def _failed(self, name: str, error: Exception) -> str:
        """Return what the model sees of a tool that raised.

        Raises:
            ToolError: the execution is to end.
        """
        if isinstance(error, _LIMITS):  # of an execution inside the tool
            raise error
        if self._options.on_tool_error == "observe":
            return f"{type(error).__name__}: {error}"
        message = f"tool {name!r} raised {type(error).__name__}"
        if self._task.spec.sensitive:  # its message and its traceback may quote a sensitive value
            raise ToolError(f"{message}; it is not shown, because {self._task.spec.name} has sensitive fields")
        raise ToolError(f"{message}: {error}. To let the model see such errors, set on_tool_error='observe'") from error


def _described(name: str, tool: Tool) -> Any:
    """Return a tool as DSPy describes it in the instructions; it is not called by DSPy."""
    description, parameters = tool.description, dict(tool.parameters)
    if "$defs" in parameters:
        description += f" Definitions that its arguments refer to: {json.dumps(parameters['$defs'])}"
    return dspy.Tool(func=_not_called, name=name, desc=description, args=dict(parameters["properties"]), arg_types={})


def _not_called(**_arguments: Any) -> None:
    """Stand where DSPy expects the function of a tool."""


def _note(trajectory: dict[str, Any], step: int, thought: Any) -> bool:
    """Note what the model thought and chose; return whether it is done."""
    trajectory[f"thought_{step}"] = thought.next_thought
    trajectory[f"tool_name_{step}"] = thought.next_tool_name
    trajectory[f"tool_args_{step}"] = thought.next_tool_args
    done = bool(thought.next_tool_name == FINISH)
    if done:
        trajectory[f"observation_{step}"] = "Completed."
    return done


def _completed(result: Any) -> Any:
    """Return what an awaitable gives, from code that blocks."""

    async def wait() -> Any:
        return await result

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(wait())
    context = copy_context()
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(context.run, asyncio.run, wait()).result()
