"""Helpers that the commands share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from hokusai_core.cli_support.tables import printable

if TYPE_CHECKING:
    from hokusai_core import Executor

__all__ = ["make_executor", "shown", "track_option"]

track_option = click.option(
    "--track", is_flag=True, help="Record it in MLflow; HOKUSAI_TRACKERS=mlflow does so for all commands."
)


def make_executor(*, track: bool) -> Executor:
    """Return an executor that runs nothing: it finds components, and its trackers record what the command does."""
    from hokusai_core import Executor, Settings

    settings = Settings.from_environment(cache_enabled=False, mode="production")
    if track:
        settings = settings.with_options(trackers=[*{*settings.value("trackers"), "mlflow"}])
    return Executor(settings)


def shown(values: Mapping[str, Any]) -> str:
    """Return values by name, one per line; values with several lines are indented."""
    lines = []
    for name, value in values.items():
        text = printable(value if isinstance(value, str) else repr(value))
        lines.append(f"  {name}: {text}" if "\n" not in text else f"  {name}:\n    " + text.replace("\n", "\n    "))
    return "\n".join(lines)
