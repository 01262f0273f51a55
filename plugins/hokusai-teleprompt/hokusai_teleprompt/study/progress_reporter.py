"""ProgressReporter: tracks and reports the progress of a study."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable

from hokusai_teleprompt.progress import Progress
from hokusai_teleprompt.study.phase_budget import CallCounter

__all__ = ["ProgressReporter"]


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
        counter.on_call = self.called

    def begin(self, phase: str, total: int | None = None) -> None:
        """Begin a phase of ``total`` steps; None where the number is not known."""
        with self._lock:
            self._phase, self._done, self._total = phase, 0, total

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
        progress = Progress(
            self._phase,
            self._done,
            self._total,
            self._candidate,
            self._best,
            spent.calls,
            spent.cost,
            self._counter.seconds,
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
