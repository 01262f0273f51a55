"""What the commands have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from hokusai_core import Executor

__all__ = ["make_executor", "safe", "shown", "track_option"]

track_option = click.option(
    "--track", is_flag=True, help="Have MLflow hear of it; HOKUSAI_TRACKERS=mlflow does so for all."
)


def make_executor(*, track: bool) -> Executor:
    """Return an executor that runs nothing: it finds components, and its trackers hear what the command does."""
    from hokusai_core import Executor, Settings

    settings = Settings.from_environment(cache_enabled=False, mode="production")
    if track:
        settings = settings.with_options(trackers=[*{*settings.value("trackers"), "mlflow"}])
    return Executor(settings)


def safe(text: str) -> str:
    """Return a text without the control characters by which what a model wrote could steer a terminal."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "�" for letter in text)


def shown(values: Mapping[str, Any]) -> str:
    """Return values by name, each on a line of its own or indented where it has several."""
    lines = []
    for name, value in values.items():
        text = safe(value if isinstance(value, str) else repr(value))
        lines.append(f"  {name}: {text}" if "\n" not in text else f"  {name}:\n    " + text.replace("\n", "\n    "))
    return "\n".join(lines)
