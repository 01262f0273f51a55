"""ScoreRecorder: records the score of every candidate on every example, for all optimizers of DSPy.

Those optimizers return a candidate only when they are done, and lose everything when they are interrupted.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import Any

from attrs import define, evolve, field

from hokusai_core.plugin_api import Candidate, OptimizationTask

__all__ = ["ScoreRecorder"]

#: Share of the examples on which an interrupted candidate must be scored to count as tried.
_ENOUGH = 0.6


@define
class _Record:
    candidate: Candidate
    scores: dict[int, float] = field(factory=dict)
    reported: bool = False

    @property
    def mean(self) -> float:
        return sum(self.scores.values()) / len(self.scores)


class ScoreRecorder:
    """Collects scores; safe to use from many threads.

    Args:
        task: the task; its ``found`` and ``progress`` are called.
        dev: the examples that candidates are chosen by, as DSPy has them.
        label: name of the candidates in reports.
    """

    def __init__(self, task: OptimizationTask, dev: Sequence[Any], label: str) -> None:
        self._task, self._label = task, label
        self._index = {id(example): number for number, example in enumerate(dev)}
        self._dev = dev  # kept alive, because an id may be reused for another example
        self._records: dict[str, _Record] = {}
        self._best: float | None = None
        self._lock = threading.Lock()

    def note(self, candidate: Candidate, example: Any, good: float) -> None:
        """Record the score of a candidate on an example."""
        number = self._index.get(id(example))
        if number is None:
            return
        key = json.dumps([candidate.instructions, candidate.demos], sort_keys=True, default=str)
        with self._lock:
            record = self._records.setdefault(key, _Record(candidate))
            record.scores[number] = good
            if record.reported or len(record.scores) < len(self._index):
                return
            record.reported = True
            number_reported = sum(item.reported for item in self._records.values())
            found = evolve(record.candidate, score=record.mean, label=f"{self._label} {number_reported}")
            self._best = record.mean if self._best is None else max(self._best, record.mean)
            best = self._best
        self._task.found(found)
        self._task.progress(number_reported, None, best)

    def report_unfinished(self) -> None:
        """Report the candidates that were nearly done when the search was interrupted."""
        with self._lock:
            open_ = [item for item in self._records.values() if not item.reported]
            nearly = [item for item in open_ if len(item.scores) >= _ENOUGH * len(self._index)]
            for record in nearly:
                record.reported = True
        for record in nearly:
            self._task.found(evolve(record.candidate, score=record.mean, label=f"{self._label}, unfinished"))
