"""StreamPrinter: prints the outputs of an execution while they come in, wrapped at words on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click

from hokusai_core.cli_support.tables import is_terminal, print_styled
from hokusai_core.cli_support.word_writer import WordWriter, line_width

if TYPE_CHECKING:
    from hokusai_core.types import ExecutionResult, StreamEvent

__all__ = ["StreamPrinter"]


class StreamPrinter:
    """Prints texts piece by piece, and the other outputs at the end.

    Args:
        begins: is called before the first character is printed.
        several: whether there are several outputs, whose names are then printed.
        show: returns an output as it is printed.
    """

    def __init__(self, begins: Callable[[], None], *, several: bool, show: Callable[[Any], str]) -> None:
        self._begins, self._several, self._show = begins, several, show
        self._writer = WordWriter(line_width())
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
