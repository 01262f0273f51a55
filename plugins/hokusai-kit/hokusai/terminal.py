"""Output: rich tables and progress on a terminal, plain aligned text everywhere else."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["aligned", "is_terminal", "print_json", "print_styled", "print_table", "progress", "section"]


def is_terminal(stream: IO[str]) -> bool:
    """Return whether somebody looks at ``stream``."""
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def print_json(value: Any) -> None:
    """Print a JSON value, indented."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: with lines and folded cells on a terminal, else one line a row and whole cells."""
    if not is_terminal(sys.stdout):
        click.echo("\n".join(aligned([[column.upper() for column in columns], *rows])))
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    # The first column holds what has to be typed in again, so it is never broken.
    table.columns[0].no_wrap = True
    table.columns[0].style = "cyan"
    for row in rows:
        table.add_row(*map(Text, row))
    _console().print(table)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines with aligned columns.

    Example:
        >>> aligned([["a", "1"], ["long", "2"]])
        ['a     1', 'long  2']
    """
    texts = [[" ".join(cell.split()) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in texts]


def print_styled(text: str, style: str, *, err: bool = False) -> None:
    """Print a text in a style of rich, which is dropped where nobody looks and where ``NO_COLOR`` is set."""
    if not is_terminal(sys.stderr if err else sys.stdout):
        click.echo(text, err=err)
        return
    _console(err=err).print(text, style=style, markup=False, highlight=False)


def section(title: str) -> None:
    """Print a title with an empty line before it."""
    click.echo()
    print_styled(title, "bold")


@contextmanager
def progress(text: str) -> Iterator[None]:
    """Show on stderr that work is under way, where that is a terminal."""
    if not is_terminal(sys.stderr):
        yield
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    with Progress(*columns, console=_console(err=True), transient=True) as display:
        display.add_task(text, total=None)
        yield


def _console(*, err: bool = False) -> Console:
    """Return a console that keeps to ``NO_COLOR`` for bold letters, too, which rich leaves in."""
    from rich.console import Console

    return Console(stderr=err, color_system=None if os.environ.get("NO_COLOR") else "auto")
