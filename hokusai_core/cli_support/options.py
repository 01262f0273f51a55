"""Options that mean the same in every command."""

from __future__ import annotations

import re
from typing import Any, Final

import click

__all__ = ["AgeType", "input_option", "json_option"]

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class AgeType(click.ParamType[float]):
    """A span of time such as ``90s``, ``12h`` or ``7d``, in seconds."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds."""
        if isinstance(value, (int, float)):
            return float(value)
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", str(value).strip())
        if found is None:
            self.fail(f"{value!r} is not an age; write it as 90s, 30m, 12h, 7d or 2w", param, ctx)
        return float(found[1]) * _UNITS[found[2]]


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

input_option = click.option(
    "-i",
    "--input",
    "inputs",
    multiple=True,
    metavar="FIELD=VALUE",
    help="One input: FIELD=VALUE, FIELD=@FILE, FIELD=@- for stdin, FIELD:=JSON; twice for a list.",
)
