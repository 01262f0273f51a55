"""Progress of an optimization, for programs and for people."""

from __future__ import annotations

from typing import Any, TextIO

from attrs import frozen

__all__ = ["Progress", "ProgressBar"]


@frozen
class Progress:
    """The progress of an optimization.

    Args:
        phase: ``baseline``, ``search``, ``choice`` or ``comparison``.
        done: finished examples or candidates of this phase.
        total: how many there are, None if that is not known.
        candidate: the candidate that was scored last.
        best: best score so far on the examples that candidates are chosen by.
        calls: language-model calls so far.
        cost: US dollars so far, None if no price is known.
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
        stream: where to draw; None for standard error.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        from hokusai_core.cli_support.progress import StatusLine  # needs click, which only commands install

        self._line = StatusLine(stream)

    def __call__(self, progress: Progress) -> None:
        """Draw the progress."""
        self._line.draw(_line(progress), final=progress.done == progress.total)

    def close(self) -> None:
        """Go to the next line, if something was drawn."""
        self._line.close()


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
