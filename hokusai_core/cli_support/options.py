"""Options and arguments that mean the same in every command."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from hokusai_core.cli_support.completion import (
    complete_field,
    complete_file,
    complete_mapping,
    complete_model,
    complete_signature,
)
from hokusai_core.cli_support.failures import CommandMisuse

__all__ = [
    "AgeType",
    "DelimiterType",
    "ModelType",
    "column_mapping",
    "column_option",
    "delimiter_option",
    "input_option",
    "inputs_option",
    "json_option",
    "signature_argument",
]

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DELIMITERS: Final = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";"}


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


class DelimiterType(click.ParamType[str]):
    """What separates the columns of a table: one character, or ``tab``."""

    name = "delimiter"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the character."""
        found = _DELIMITERS.get(str(value).lower(), str(value))
        if len(found) != 1 or found in '"\r\n':
            self.fail(f"{value!r}: give one character, such as ';', or the word tab", param, ctx)
        return found


class ModelType(click.ParamType[str]):
    """The name of a language model, or an alias of it."""

    name = "model"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name."""
        from hokusai_core.cli_support.aliases import resolve_alias  # help does without

        return resolve_alias(str(value))

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> Any:
        """Return the names that begin like this."""
        return complete_model(ctx, param, incomplete)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

signature_argument = click.argument("name", shell_complete=complete_signature)

input_option = click.option(
    "-i",
    "--input",
    "inputs",
    multiple=True,
    metavar="FIELD=VALUE",
    shell_complete=complete_field,
    help="One input: FIELD=VALUE, FIELD=@FILE, FIELD=@- for stdin, FIELD:=JSON; twice for a list.",
)

inputs_option = click.option(
    "--inputs",
    "source",
    metavar="FILE",
    shell_complete=complete_file,
    help="Read inputs from a file with a JSON object; - for stdin.",
)

column_option = click.option(
    "--map",
    "pairs",
    multiple=True,
    metavar="COLUMN=FIELD",
    shell_complete=complete_mapping,
    help="Which column is which field.",
)

delimiter_option = click.option(
    "--delimiter",
    type=DelimiterType(),
    metavar="CHARACTER",
    help="What separates the columns of a table, such as ';' or tab. [default: found in the first line]",
)


def column_mapping(pairs: Sequence[str]) -> Mapping[str, str]:
    """Return column -> field for options such as ``--map body=ticket``.

    Raises:
        CommandMisuse: a pair has another form, or two are for one column or field.
    """
    mapping: dict[str, str] = {}
    for pair in pairs:
        column, separator, field = (part.strip() for part in pair.partition("="))
        if not separator or not column or not field:
            raise CommandMisuse(f"--map {pair!r}: write --map column=field")
        if column in mapping or field in mapping.values():
            raise CommandMisuse(f"--map {pair!r}: column and field are each mapped once")
        mapping[column] = field
    return mapping
