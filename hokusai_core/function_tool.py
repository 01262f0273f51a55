"""FunctionTool: a function that a strategy may let a language model call."""

from __future__ import annotations

import inspect
import typing
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from hokusai_core.errors import ConfigurationError

__all__ = ["FunctionTool"]


class FunctionTool:
    """A function as a tool.

    Args:
        function: takes its arguments by name; it may be a coroutine function.
        name: name that the language model calls it by; None for the function's.
        description: what it does, for the language model; None for the function's docstring.
        parameters: JSON schema of its arguments, of type ``object``; None for one that is made of its annotations.
        version: version of what it does. Without one, answers of executions that use it are not cached.

    Raises:
        ConfigurationError: it has no description, or an argument has no type.

    Example:
        >>> def population(city: str) -> int:
        ...     "Return how many people live in a city."
        ...     return {"Paris": 2_100_000}[city]
        >>> tool = FunctionTool(population, version="1")
        >>> tool.parameters["properties"]["city"]["type"], tool.call(city="Paris")
        ('string', 2100000)
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        description: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        version: str = "",
    ) -> None:
        self.name = str(name or getattr(function, "__name__", type(function).__name__))
        self.version = version
        self.description = description or inspect.cleandoc(getattr(function, "__doc__", None) or "")
        if not self.description:
            raise ConfigurationError(
                f"tool {self.name!r} has no description; write a docstring, or give description=..."
            )
        self._function = function
        self._model = None if parameters is not None else _arguments_model(self.name, function)
        self.parameters = dict(parameters) if parameters is not None else _schema(self._model)

    def call(self, **arguments: Any) -> Any:
        """Call the function, with arguments that fit the schema; the result of a coroutine function is awaitable."""
        if self._model is None:
            return self._function(**arguments)
        typed = self._model.model_validate(arguments)
        return self._function(**{name: getattr(typed, name) for name in type(typed).model_fields})


def _schema(model: Any) -> dict[str, Any]:
    """Return the JSON schema of a pydantic model of arguments."""
    schema: dict[str, Any] = model.model_json_schema()
    schema.pop("title", None)
    return {"properties": {}, **schema}


def _arguments_model(tool: str, function: Callable[..., Any]) -> Any:
    """Return a pydantic model of a function's arguments."""
    from pydantic import create_model  # takes a while to import; tools are made by executions only

    hints = typing.get_type_hints(function if inspect.isroutine(function) else type(function).__call__)
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ConfigurationError(f"tool {tool!r}: parameter {name!r} cannot be given by name")
        if name not in hints:
            raise ConfigurationError(
                f"tool {tool!r} has no schema: its parameter {name!r} has no type. Annotate it, or give parameters=... "
                "as a JSON schema"
            )
        fields[name] = (hints[name], ... if parameter.default is parameter.empty else parameter.default)
    with warnings.catch_warnings():
        # A parameter may be called like a method of pydantic's models, which nothing here uses.
        warnings.filterwarnings("ignore", message="Field name .* shadows an attribute", category=UserWarning)
        return create_model("Arguments", __config__={"protected_namespaces": ()}, **fields)
