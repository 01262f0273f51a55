"""Print tables: with lines on a terminal, plain aligned text everywhere else."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "SCHEMA_VERSION",
    "age_text",
    "aligned",
    "console",
    "fitted",
    "is_terminal",
    "print_columns",
    "print_figures",
    "print_json",
    "print_styled",
    "print_table",
    "printable",
    "section",
    "size_text",
]

#: Version of the JSON that commands print; it grows when a name is removed or means something else.
SCHEMA_VERSION: Final = 1
#: Control characters but the end of a line and the tab, what turns the direction of writing, and lone surrogates.
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
#: Whether on a terminal -> characters between two columns of a table, and beside it.
_GAPS: Final = {True: (3, 2), False: (2, 0)}
#: Characters to which a column may be folded, and of a cell that shares a line with others.
_NARROWEST: Final = 12
#: Characters of a line where there is no terminal.
_PAGE: Final = 80
_LEAST_ROOM: Final = 40
_SHORT: Final = 30
_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


def is_terminal(stream: IO[str] | None) -> bool:
    """Return whether ``stream`` is a terminal that ``rich`` can draw on."""
    try:
        return stream is not None and stream.isatty() and importlib.util.find_spec("rich") is not None
    except ValueError:  # closed
        return False


def print_json(value: Mapping[str, Any]) -> None:
    """Print a JSON object, indented, with the version of what its names mean in ``schema_version``."""
    import json  # most commands print text

    click.echo(json.dumps({"schema_version": SCHEMA_VERSION, **value}, indent=2, ensure_ascii=False, default=str))


def print_figures(figures: Mapping[str, str]) -> None:
    """Print names and values in two columns."""
    width = max(map(len, figures), default=0)
    for name, value in figures.items():
        click.echo(f"{name:<{width}}  {value}".rstrip())


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: with lines and folded cells on a terminal, else each row on one line with whole cells.

    On a terminal that is too narrow for its columns, each row is a paragraph.
    """
    if not is_terminal(sys.stdout):
        click.echo("\n".join(aligned([[column.upper() for column in columns], *rows])))
        return
    width = shutil.get_terminal_size().columns
    if _least_width(columns, rows) > width:
        _print_paragraphs(columns, rows, width)
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    # The first column holds what users type in again, so it is never broken.
    table.columns[0].no_wrap = True
    table.columns[0].style = "cyan"
    for row in rows:
        table.add_row(*map(Text, row))
    console().print(table)


def print_columns(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table that fits the terminal, or 80 columns elsewhere; the last column is cut at a word.

    Where that would leave it fewer than 40 columns, it stands below the others. For people: scripts take JSON.
    """
    width = shutil.get_terminal_size((_PAGE, 24)).columns
    texts = [[" ".join(cell.split()) for cell in row] for row in rows]
    gap, edge = _GAPS[is_terminal(sys.stdout)]
    room = width - edge - sum(max(map(len, cells)) + gap for cells in list(zip(columns, *texts, strict=True))[:-1])
    if room >= _LEAST_ROOM:
        print_table(columns, [[*row[:-1], _shortened(row[-1], room)] for row in texts])
        return
    for *first, last in texts:
        print_styled("  ".join(first), "cyan")
        click.echo(f"  {_shortened(last, max(width - 2, 20))}")


def _shortened(text: str, width: int) -> str:
    return textwrap.shorten(text, width, placeholder=" ...")


def _least_width(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Return the width that a table needs, if cells other than the first may be folded."""
    gap, edge = _GAPS[True]
    first, *others = (max(map(len, cells)) for cells in zip(columns, *rows, strict=True))
    return edge + first + sum(min(length, _NARROWEST) + gap for length in others)


def _print_paragraphs(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> None:
    """Print each row as its first cell with the others below it: short ones in one line, long ones in one each."""
    for first, *others in rows:
        print_styled(first, "cyan")
        cells = [
            f"{name}: {cell}" if name else cell
            for name, cell in zip(columns[1:], others, strict=True)
            if cell not in ("", "-")
        ]
        short = ", ".join(cell for cell in cells if len(cell) <= _SHORT)
        for line in (short, *(cell for cell in cells if len(cell) > _SHORT)):
            if line:
                click.echo(textwrap.fill(line, width, initial_indent="  ", subsequent_indent="  "))


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines with aligned columns.

    Example:
        >>> from hokusai_core.cli_support.tables import aligned
        >>> aligned([["a", "1"], ["long", "2"]])
        ['a     1', 'long  2']
    """
    texts = [[" ".join(cell.split()) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in texts]


def fitted(rows: Sequence[Sequence[str]], width: int = _PAGE) -> list[str]:
    """Return rows as lines with aligned columns; columns for which there is no room stand below, after the first one.

    Args:
        rows: the cells, those of the head first.
        width: characters of a line, as far as single columns fit.

    Example:
        >>> from hokusai_core.cli_support.tables import fitted
        >>> fitted([["NAME", "SIZE", "AGE"], ["one", "2 KiB", "3h"]], width=12)
        ['NAME  SIZE', 'one   2 KiB', '', 'NAME  AGE', 'one   3h']
    """
    texts = [[" ".join(cell.split()) for cell in row] for row in rows]
    first, *others = zip(*texts, strict=True)
    gap = _GAPS[False][0]
    tables, room = [[first]], 0
    for column in others:
        need = gap + max(map(len, column))
        if need > room and len(tables[-1]) > 1:
            tables.append([first])
        if len(tables[-1]) == 1:
            room = width - max(map(len, first))
        tables[-1].append(column)
        room -= need
    lines = [line for table in tables for line in ("", *aligned(list(zip(*table, strict=True))))]
    return lines[1:]


def print_styled(text: str, style: str, *, err: bool = False) -> None:
    """Print a text in a style of rich; plain where there is no terminal, or ``NO_COLOR`` is set."""
    if not is_terminal(sys.stderr if err else sys.stdout):
        click.echo(text, err=err)
        return
    console(err=err).print(text, style=style, markup=False, highlight=False)


def section(title: str) -> None:
    """Print a title with an empty line before it."""
    click.echo()
    print_styled(title, "bold")


def printable(text: str) -> str:
    r"""Return a text without control characters, by which what a model wrote could steer a terminal.

    Example:
        >>> from hokusai_core.cli_support.tables import printable
        >>> printable("plain \x1b[31mred")
        'plain \ufffd[31mred'
    """
    return _CONTROL.sub("\ufffd", text.replace("\r\n", "\n"))


def size_text(size: float) -> str:
    """Return a number of bytes in the unit that suits it.

    Example:
        >>> from hokusai_core.cli_support.tables import size_text
        >>> size_text(2_048)
        '2 KiB'
    """
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def age_text(seconds: float) -> str:
    """Return for how long something has been there.

    Example:
        >>> from hokusai_core.cli_support.tables import age_text
        >>> age_text(7_300)
        '2h ago'
    """
    seconds = max(0.0, seconds)
    unit = next((unit for unit in ("d", "h", "m") if seconds >= 2 * _SECONDS[unit]), "s")
    return f"{seconds / _SECONDS[unit]:.0f}{unit} ago"


def console(*, err: bool = False) -> Console:
    """Return a rich console that honours ``NO_COLOR`` for bold letters as well, which rich does not."""
    from rich.console import Console

    return Console(stderr=err, color_system=None if os.environ.get("NO_COLOR") else "auto")
