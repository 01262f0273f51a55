"""Options that mean the same in every command."""

from __future__ import annotations

import click

__all__ = ["input_option", "json_option"]

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

input_option = click.option(
    "-i",
    "--input",
    "inputs",
    multiple=True,
    metavar="FIELD=VALUE",
    help="One input: FIELD=VALUE, FIELD=@FILE, FIELD=@- for stdin, FIELD:=JSON; twice for a list.",
)
