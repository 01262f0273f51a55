"""Write texts to stdout, with lines that break between words on a terminal."""

from __future__ import annotations

import re
import shutil
import sys

import click

from hokusai_core.cli_support.tables import is_terminal, printable

__all__ = ["WordWriter", "line_width", "print_wrapped"]

#: A run of blanks, an end of a line, or a word.
_PARTS = re.compile(r"[ \t]+|\n|[^ \t\n]+")


def line_width() -> int | None:
    """Return how many characters a line of stdout has; None where it is not a terminal."""
    return shutil.get_terminal_size().columns if is_terminal(sys.stdout) else None


def print_wrapped(text: str) -> None:
    """Print a text; on a terminal, lines break between words."""
    width = line_width()
    if width is None:
        click.echo(text)
        return
    writer = WordWriter(width)
    writer.write(text.rstrip("\n") + "\n")
    writer.end()


class WordWriter:
    """Writes a text to stdout; on a terminal it breaks lines between words and writes no control characters.

    Args:
        width: characters of a line, None for no breaks.
    """

    def __init__(self, width: int | None) -> None:
        self._width = width
        self._column, self._blanks, self._word = 0, "", ""

    def write(self, text: str) -> None:
        """Write the next piece; on a terminal, the last word waits for its end."""
        if self._width is None:
            self._column = 0 if text.endswith("\n") else 1
            sys.stdout.write(text)
            sys.stdout.flush()
            return
        for part in _PARTS.findall(printable(text.replace("\r", ""))):
            if part == "\n":
                self._flush_word()
                sys.stdout.write("\n")
                self._column, self._blanks = 0, ""
            elif part.isspace():
                self._flush_word()
                self._blanks += part
            else:
                self._word += part
        sys.stdout.flush()

    def end(self) -> None:
        """Write what waits, and end the line."""
        self._flush_word()
        if self._column:
            sys.stdout.write("\n")
        sys.stdout.flush()
        self._column, self._blanks = 0, ""

    def _flush_word(self) -> None:
        if not self._word or self._width is None:
            return
        needed = _cells(self._blanks) + _cells(self._word)
        if self._column and self._column + needed > self._width:
            sys.stdout.write("\n")
            self._column, self._blanks = 0, ""
        sys.stdout.write(self._blanks + self._word)
        self._column += _cells(self._blanks) + _cells(self._word)
        self._blanks = self._word = ""


def _cells(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    from rich.cells import cell_len  # a terminal without rich does not get here

    return cell_len(text)
