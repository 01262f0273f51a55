"""ReAct: the model calls tools until it knows enough to answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from hokusai_core.errors import ConfigurationError
from hokusai_core.plugin_api import StrategyTask, Tool
from hokusai_strategies.option_checks import FINISH, checked_count

__all__ = ["ReAct"]

#: Fields of the prompts in which the model thinks.
_OWN_FIELDS = frozenset({"trajectory", "next_thought", "next_tool_name", "next_tool_args"})


class ReAct:
    """Lets the model think, call a tool and see the result, up to ``max_iters`` times, and then answers.

    Arguments that do not fit a tool's schema do not reach the tool: the model gets the reason instead.

    Args:
        tools: the tools: names of those that plugins provide, functions, or objects.
        max_iters: calls of tools at most.
        on_tool_error: what a tool that raises means: ``raise`` ends the execution with a ``ToolError``; ``observe``
            shows the model the class and the message of the error.
    """

    version = "1"

    def __init__(
        self, tools: Mapping[str, Tool], max_iters: int = 10, on_tool_error: Literal["raise", "observe"] = "raise"
    ) -> None:
        if not tools:
            raise ConfigurationError("strategy 'react': tools is empty; name at least one tool")
        if FINISH in tools:
            raise ConfigurationError(f"strategy 'react': a tool cannot be called {FINISH!r}, which ends the work")
        if on_tool_error not in ("raise", "observe"):
            raise ConfigurationError(
                f"strategy 'react': on_tool_error={on_tool_error!r}: expected 'raise' or 'observe'"
            )
        self.tools = dict(tools)
        self.on_tool_error: Literal["raise", "observe"] = on_tool_error
        self.max_iters = checked_count("react", "max_iters", max_iters)

    def build(self, task: StrategyTask) -> Any:
        """Return the module, whose predictors are those of ``dspy.ReAct``: ``react`` and ``extract.predict``.

        Raises:
            ConfigurationError: a field of the signature has the name of one that the strategy adds.
        """
        signature = task.signature
        names = ({*signature.fields} & _OWN_FIELDS) | ({*signature.input_fields} & {"reasoning"})
        if names:
            raise ConfigurationError(
                f"strategy 'react' has fields {', '.join(sorted(names))} of its own, and {task.spec.name} has fields "
                "of the same name; rename them"
            )
        from hokusai_strategies.react_module import ReActModule  # imports dspy, which listings do without

        return ReActModule(task, self)
