"""Tells whoever wants to know how far a study is."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable

from hokusai_teleprompt.progress import Progress
from hokusai_teleprompt.study.phase_budget import CallCounter

__all__ = ["ProgressReporter"]


class ProgressReporter:
    """Keeps track of how far a study is and tells it; used by many threads.

    Args:
        listener: is told. Where it raises it is told nothing more: an optimizer of DSPy would take its error for a bad
            answer.
        ledger: the ledger of the study; what it counts is told as well.
        better: returns the better one of two scores.
    """

    def __init__(
        self, listener: Callable[[Progress], None], ledger: CallCounter, better: Callable[[float, float], float]
    ) -> None:
        self._listener, self._ledger, self._better = listener, ledger, better
        self._lock = threading.Lock()
        self._phase, self._candidate = "baseline", ""
        self._done, self._total = 0, None  # type: int, int | None
        self._best: float | None = None
        ledger.on_call = self.called

    def begin(self, phase: str, total: int | None = None) -> None:
        """Begin a phase of ``total`` steps; None where nobody knows how many."""
        with self._lock:
            self._phase, self._done, self._total = phase, 0, total

    def step(self) -> None:
        """Note that one step of the phase is done."""
        with self._lock:
            self._done += 1
        self._tell()

    def called(self) -> None:
        """Note that a language model was called; where steps are long, this is what shows that something happens."""
        if self._total is None:
            self._tell()

    def scored(self, score: float | None, candidate: str = "") -> None:
        """Note the score of a candidate, as good or bad as it is."""
        with self._lock:
            self._candidate = candidate
            if score is not None:
                self._best = score if self._best is None else self._better(self._best, score)

    def _tell(self) -> None:
        spent, seconds = self._ledger.spent, time.monotonic() - self._ledger.since
        progress = Progress(
            self._phase, self._done, self._total, self._candidate, self._best, spent.calls, spent.cost, seconds
        )
        try:
            self._listener(progress)
        except Exception as error:
            self._listener = _nobody
            warnings.warn(
                f"what is told of progress raised {type(error).__name__}: {error}; it is told nothing more",
                RuntimeWarning,
                stacklevel=2,
            )


def _nobody(progress: Progress) -> None:
    """Listen to nothing."""
