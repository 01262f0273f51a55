"""``hokusai config``."""

from __future__ import annotations

import enum
import os
from collections.abc import Mapping
from typing import Any

import click

from hokusai_core.cli_support.aliases import aliases_file, read_aliases
from hokusai_core.cli_support.installed import installed
from hokusai_core.cli_support.options import json_option
from hokusai_core.cli_support.tables import print_json, print_table, section
from hokusai_core.plugin_api import user_data_folder

__all__ = ["config"]


@click.command()
@click.option("--changed", is_flag=True, help="Only settings that do not have their default.")
@json_option
@click.pass_context
def config(ctx: click.Context, changed: bool, as_json: bool) -> None:
    """Show every setting, its value and where it is from: a variable, the project file, or the default.

    The project file is hokusai.toml, or the table [tool.hokusai] of pyproject.toml, in the current folder.
    HOKUSAI_CONFIG names another one. Variables go before it.
    """
    settings = installed(ctx).settings
    found = {name: (_shown(value.value), value.source) for name, value in settings.items()}
    if os.environ.get("HOKUSAI_LM", "").strip():
        found["lm"] = (os.environ["HOKUSAI_LM"].strip(), "environment HOKUSAI_LM")
    if changed:
        found = {name: pair for name, pair in found.items() if pair[1] != "default"}
    file, folder, aliases = installed(ctx).project_file, user_data_folder(), read_aliases()
    if as_json:
        print_json(
            {
                "project_file": None if file is None else str(file),
                "data_folder": str(folder),
                "settings": {name: {"value": value, "source": source} for name, (value, source) in found.items()},
                "aliases": dict(aliases),
            }
        )
        return
    print_table(("setting", "value", "from"), [(name, _text(value), source) for name, (value, source) in found.items()])
    section("Files")
    click.echo(f"project file  {file or 'none in this folder'}")
    click.echo(f"data          {folder}")
    click.echo(f"aliases       {aliases_file()}{'' if aliases else ' (none yet)'}")


def _shown(value: Any) -> Any:
    """Return a value as JSON; of what may hold credentials its names only."""
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return dict(value) if all(isinstance(item, (str, int, float, bool)) for item in value.values()) else [*value]
    if isinstance(value, (tuple, list)):
        return [*value]
    return value if value is None or isinstance(value, (str, int, float, bool)) else f"<{type(value).__name__}>"


def _text(value: Any) -> str:
    if value is None or value == [] or value == {}:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{name}={item}" for name, item in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)
