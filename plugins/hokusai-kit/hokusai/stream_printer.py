"""StreamPrinter: prints the outputs of an execution while they come in, wrapped at words on a terminal."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click

from hokusai_core.cli_support.tables import is_terminal, print_styled

if TYPE_CHECKING:
    from hokusai_core.types import ExecutionResult, StreamEvent

__all__ = ["StreamPrinter"]

#: A run of blanks, an end of a line, or a word.
_PARTS = re.compile(r"[ \t]+|\n|[^ \t\n]+")


class StreamPrinter:
    """Prints texts piece by piece, and the other outputs at the end.

    Args:
        begins: is called before the first character is printed.
        several: whether there are several outputs, whose names are then printed.
        show: returns an output as it is printed.
    """

    def __init__(self, begins: Callable[[], None], *, several: bool, show: Callable[[Any], str]) -> None:
        self._begins, self._several, self._show = begins, several, show
        self._writer = _WordWriter(shutil.get_terminal_size().columns if is_terminal(sys.stdout) else None)
        self._printed: list[str] = []

    def print(self, events: Iterable[StreamEvent]) -> ExecutionResult:
        """Print the events as they happen, and return the result."""
        result: ExecutionResult | None = None
        for event in events:
            if event.kind == "delta":
                self._begin(event.field)
                self._writer.write(event.text)
            elif event.kind == "retracted":
                self._retract(event.reason)
            elif event.kind == "finished":
                result = event.result
        if result is None:
            raise RuntimeError("the stream ended without a result")
        for name, value in result.items():
            if name not in self._printed:
                self._begin(name)
                self._writer.write(self._show(value))
        self._writer.end()
        return result

    def _begin(self, name: str) -> None:
        if self._printed[-1:] == [name]:
            return
        if not self._printed:
            self._begins()
        else:
            self._writer.end()
            click.echo()
        self._printed.append(name)
        if self._several:
            print_styled(f"{name}:", "bold")

    def _retract(self, reason: str) -> None:
        self._writer.end()
        begun, self._printed = bool(self._printed), []
        note = f"The answer so far does not count: {reason}"
        print_styled(note, "yellow", err=True)
        if begun and not is_terminal(sys.stdout):  # a file has no stderr beside it
            click.echo(f"[{note}]\n")


class _WordWriter:
    """Writes a text to stdout and breaks lines between words.

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
        for part in _PARTS.findall(text):
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
