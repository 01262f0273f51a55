"""Flags of the commands that execute signatures, made from the table of the options of an execution.

The table, ``hokusai_core.types.ExecutionOptions``, says what each option means and which values it takes. Here is only
what the flag is called.
"""

from __future__ import annotations

import functools
import json
import typing
from collections.abc import Callable
from typing import Any, Final

import click

from hokusai_core.cli_support.aliases import resolve_alias
from hokusai_core.cli_support.completion import complete_component, complete_file, complete_model

__all__ = ["execution_flags"]

#: Option of an execution -> how its flag differs from one with the option's name and value; ``help`` follows the first
#: part of the summary in the table.
_FLAGS: Final[dict[str, dict[str, Any]]] = {
    "lm": {"help": "local, a name such as openai/gpt-5-mini, or an alias", "shell_complete": complete_model},
    "timeout": {"metavar": "SECONDS", "help": "none for no bound; 300 if neither this nor HOKUSAI_TIMEOUT is given"},
    "max_retries": {"flag": "--retries", "metavar": "COUNT"},
    "cache": {"metavar": "use|refresh|off"},
    "prices": {"metavar": "FILE", "shell_complete": complete_file},
    "max_cost": {"metavar": "DOLLARS"},
    "budget_file": {"metavar": "FILE", "shell_complete": complete_file},
    "unpriced": {"metavar": "refuse|allow"},
    "strategy": {
        "metavar": "NAME",
        "help": "hokusai plugins lists them",
        "shell_complete": complete_component("strategy"),
    },
    "parameters": {"flag": "--parameter", "metavar": "NAME=VALUE", "multiple": True, "help": "may be repeated"},
    "collect_feedback": {"flag": "--feedback", "is_flag": True, "default": None},
}


def execution_flags(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that gives a command flags for options of an execution.

    The command gets the options that were given as the argument ``options``.

    Args:
        names: names of options of an execution, or of the executor.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**arguments: Any) -> None:
            taken = {name: arguments.pop(name) for name in names}
            options = {name: value for name, value in taken.items() if value is not None}
            if given := options.pop("parameters", ()):
                options["parameters"] = {name: value for part in given for name, value in part.items()}
            if settings := arguments.pop("strategy_settings", ()):
                options["strategy"] = _with_settings(options.get("strategy"), settings)
            if "max_retries" in options:
                options["retry_on_failure"] = options["max_retries"] > 0
            command(options=options, **arguments)

        for name in reversed(names):
            details = dict(_FLAGS[name])
            flag = details.pop("flag", f"--{name.replace('_', '-')}")
            if not details.get("is_flag"):
                details["type"] = _TableType(name)
            run = click.option(flag, name, cls=_TableFlag, **details)(run)
        if "strategy" in names:
            help_text = "Option of the strategy, as JSON or text; may be repeated."
            setting = click.option("--set", "strategy_settings", multiple=True, metavar="OPTION=VALUE", help=help_text)
            run = setting(run)
        return run

    return decorate


def _with_settings(strategy: Any, settings: tuple[str, ...]) -> dict[str, Any]:
    """Return a strategy with the options that ``--set`` gives; without a name, those of the one that is declared."""
    chosen: dict[str, Any] = {} if strategy is None else {"name": strategy.name}
    for setting in settings:
        name, separator, value = setting.partition("=")
        if not separator or not name.strip() or name == "name":
            raise click.UsageError(f"--set {setting!r}: expected OPTION=VALUE, such as --set max_iters=4")
        try:
            chosen[name.strip()] = json.loads(value)
        except ValueError:
            chosen[name.strip()] = value
    return chosen


class _TableType(click.ParamType[Any]):
    """Reads the value of a flag as the table reads that of the option."""

    def __init__(self, option: str) -> None:
        self.name = self.option = option

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if self.option == "lm":
            value = resolve_alias(str(value))
        try:
            return _option(self.option).parse(value)
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


class _TableFlag(click.Option):
    """A flag whose help is the summary in the table, which is read when help is printed."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return what help says of the flag."""
        summary = str(_option(self.name or "").summary).partition(";")[0]
        record = super().get_help_record(ctx)
        if record is None:
            return None
        more = f"; {self.help}" if self.help else ""
        return record[0], f"{summary[:1].upper()}{summary[1:]}{more}."


def _option(name: str) -> Any:
    from hokusai_core.types import ExecutionOptions  # imports what executions need; most commands do without

    hints = typing.get_type_hints(ExecutionOptions, include_extras=True)
    if name not in hints:
        from hokusai_core.types import ExecutorOptions

        hints = typing.get_type_hints(ExecutorOptions, include_extras=True)
    return hints[name].__metadata__[0]
