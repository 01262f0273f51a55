"""Progress of an optimization, for programs and for people."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from typing import Any, TextIO

from attrs import frozen

__all__ = ["Progress", "ProgressBar"]


@frozen
class Progress:
    """How far an optimization is.

    Args:
        phase: ``baseline``, ``search``, ``choice`` or ``comparison``.
        done: examples or candidates that are done in this phase.
        total: how many there are, None where nobody knows.
        candidate: the candidate that was scored last.
        best: best score so far on the examples that candidates are chosen by.
        calls: language-model calls so far.
        cost: US dollars so far, None where no price is known.
        seconds: seconds so far.
    """

    phase: str
    done: int
    total: int | None
    candidate: str = ""
    best: float | None = None
    calls: int = 0
    cost: float | None = None
    seconds: float = 0.0


class ProgressBar:
    """Draws progress on one line of a terminal.

    Args:
        stream: where to; None for standard error.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._lock = threading.Lock()
        self._drawn, self._at = 0, 0.0

    def __call__(self, progress: Progress) -> None:
        """Draw."""
        now = time.monotonic()
        with self._lock:
            if now - self._at < 0.1 and progress.done != progress.total:
                return
            self._at = now
            line = _line(progress)[: shutil.get_terminal_size().columns - 1]  # a line that wraps is not drawn over
            self._stream.write(f"\r{line:<{self._drawn}}")
            self._stream.flush()
            self._drawn = len(line)

    def close(self) -> None:
        """Leave the line, where something was drawn."""
        with self._lock:
            if self._drawn:
                self._stream.write("\n")
                self._stream.flush()
                self._drawn = 0


def _line(progress: Progress) -> str:
    parts: list[Any] = [f"{progress.phase:<10}"]
    if progress.total:
        filled = round(20 * progress.done / progress.total)
        parts.append(f"[{'#' * filled}{'-' * (20 - filled)}] {progress.done}/{progress.total}")
    elif progress.candidate:
        parts.append(progress.candidate)
    if progress.best is not None:
        parts.append(f"best {progress.best:.4f}")
    parts.append(f"{progress.calls} calls")
    if progress.cost is not None:
        parts.append(f"${progress.cost:.4f}")
    parts.append(f"{progress.seconds:.0f} s")
    return "  ".join(parts)
