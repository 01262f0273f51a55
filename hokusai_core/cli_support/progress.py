"""Progress on a terminal: a spinner for one step, a line that is drawn over for many."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from hokusai_core.cli_support.tables import console, is_terminal

__all__ = ["StatusLine", "spinner"]

_DRAW_EVERY = 0.1


@contextmanager
def spinner(text: str) -> Iterator[None]:
    """Show on stderr that work is under way, where that is a terminal."""
    if not is_terminal(sys.stderr):
        yield
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    with Progress(*columns, console=console(err=True), transient=True) as display:
        display.add_task(text, total=None)
        yield


class StatusLine:
    """One line of a terminal that each state of some work is drawn over; safe to use from many threads.

    Args:
        stream: where to draw; None for stderr.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._lock = threading.Lock()
        self._width, self._drawn_at = 0, 0.0

    def draw(self, text: str, *, final: bool = False) -> None:
        """Draw a state, unless another was drawn less than 0.1 s before.

        Args:
            text: the state; what does not fit on one line is left out.
            final: whether to draw it in any case.
        """
        now = time.monotonic()
        with self._lock:
            if now - self._drawn_at < _DRAW_EVERY and not final:
                return
            self._drawn_at = now
            line = text[: shutil.get_terminal_size().columns - 1]  # a line that wraps cannot be drawn over
            self._stream.write(f"\r{line:<{self._width}}")
            self._stream.flush()
            self._width = len(line)

    def close(self) -> None:
        """Go to the next line, where something was drawn."""
        with self._lock:
            if self._width:
                self._stream.write("\n")
                self._stream.flush()
                self._width = 0
