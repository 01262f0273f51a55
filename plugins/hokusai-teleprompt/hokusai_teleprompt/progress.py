"""Progress of an optimization, for programs and for people."""

from __future__ import annotations

import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any, TextIO

from attrs import frozen

from hokusai_teleprompt.study.phase_budget import CallCounter

__all__ = ["Progress", "ProgressBar", "ProgressLines", "ProgressReporter"]

#: Seconds between two lines where no terminal shows a bar.
_EVERY = 30.0


@frozen
class Progress:
    """The progress of an optimization.

    Args:
        phase: ``timing``, ``baseline``, ``search``, ``choice`` or ``comparison``.
        done: finished examples or candidates of this phase.
        total: how many there are, None if that is not known.
        candidate: the candidate that was scored last.
        best: best score so far on the examples that candidates are chosen by.
        calls: language-model calls so far.
        cost: US dollars so far, None if no price is known.
        seconds: seconds so far.
        seconds_left: about how long the rest of the phase takes, by its pace so far; None where that is not known.
    """

    phase: str
    done: int
    total: int | None
    candidate: str = ""
    best: float | None = None
    calls: int = 0
    cost: float | None = None
    seconds: float = 0.0
    seconds_left: float | None = None


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


class ProgressLines:
    """Prints a line of progress now and then, where stderr is a file or a pipe.

    Args:
        every: seconds between two lines; nothing is printed before the first.
        stream: where to print; None for standard error.
    """

    def __init__(self, every: float = _EVERY, stream: TextIO | None = None) -> None:
        self._every, self._stream = every, stream or sys.stderr
        self._lock = threading.Lock()
        self._printed_at = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        """Print the progress, if the last line is old enough."""
        with self._lock:
            now = time.monotonic()
            if now - self._printed_at < self._every:
                return
            self._printed_at = now
        self._stream.write(f"hokusai: {_line(progress)}\n")
        self._stream.flush()


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
    if progress.seconds_left:
        parts.append(f"about {progress.seconds_left:.0f} s left in this phase")
    return "  ".join(parts)


class ProgressReporter:
    """Reports the progress of a study; safe to use from many threads.

    Args:
        listener: called with each report. If it raises, it is not called again: an optimizer of DSPy would take its
            error for a bad answer.
        counter: counts the calls of the study.
        better: returns the better of two scores.
    """

    def __init__(
        self, listener: Callable[[Progress], None], counter: CallCounter, better: Callable[[float, float], float]
    ) -> None:
        self._listener: Callable[[Progress], None] | None = listener
        self._counter, self._better = counter, better
        self._lock = threading.Lock()
        self._phase, self._candidate = "baseline", ""
        self._done, self._total = 0, None  # type: int, int | None
        self._best: float | None = None
        self._began = 0.0
        counter.on_call = self.called

    def begin(self, phase: str, total: int | None = None) -> None:
        """Begin a phase of ``total`` steps; None where the number is not known."""
        with self._lock:
            self._phase, self._done, self._total = phase, 0, total
            self._began = self._counter.seconds

    def step(self) -> None:
        """Count one step of the phase, and report."""
        with self._lock:
            self._done += 1
        self._report()

    def called(self) -> None:
        """Report a call of the language model, in phases whose steps are long."""
        if self._total is None:
            self._report()

    def scored(self, score: float | None, candidate: str = "") -> None:
        """Note the score of a candidate, in units of the metric."""
        with self._lock:
            self._candidate = candidate
            if score is not None:
                self._best = score if self._best is None else self._better(self._best, score)

    def _report(self) -> None:
        listener, spent = self._listener, self._counter.spent
        if listener is None:
            return
        seconds, done, total = self._counter.seconds, self._done, self._total
        left = (seconds - self._began) / done * (total - done) if done and total else None
        progress = Progress(
            self._phase,
            done,
            total,
            self._candidate,
            self._best,
            spent.calls,
            spent.cost,
            seconds,
            left,
        )
        try:
            listener(progress)
        except Exception as error:
            self._listener = None
            warnings.warn(
                f"the progress function raised {type(error).__name__}: {error}; it is not called again",
                RuntimeWarning,
                stacklevel=2,
            )
