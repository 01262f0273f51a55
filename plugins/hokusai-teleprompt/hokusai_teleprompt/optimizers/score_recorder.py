"""The recorder: what every candidate scored on every example, whichever optimizer tried it, and told or not.

DSPy's optimizers keep what they find to themselves until they are done, and lose it when they are interrupted.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import Any

from attrs import define, evolve, field

from hokusai_core.plugin_api import Candidate, OptimizationTask

__all__ = ["ScoreRecorder"]

#: A candidate that was interrupted counts as tried when it was scored on so large a share of the examples.
_ENOUGH = 0.6


@define
class _Record:
    candidate: Candidate
    scores: dict[int, float] = field(factory=dict)
    told: bool = False

    @property
    def mean(self) -> float:
        return sum(self.scores.values()) / len(self.scores)


class ScoreRecorder:
    """Collects scores; used by many threads.

    Args:
        task: what is optimized; its ``found`` and ``progress`` are told.
        dev: the examples that candidates are compared on, as DSPy has them.
        label: how candidates are called in reports.
    """

    def __init__(self, task: OptimizationTask, dev: Sequence[Any], label: str) -> None:
        self._task, self._label = task, label
        self._index = {id(example): number for number, example in enumerate(dev)}
        self._dev = dev  # kept alive, or an id might come to mean another example
        self._records: dict[str, _Record] = {}
        self._best: float | None = None
        self._lock = threading.Lock()

    def note(self, candidate: Candidate, example: Any, good: float) -> None:
        """Accept a score of a candidate on an example."""
        number = self._index.get(id(example))
        if number is None:
            return
        key = json.dumps([candidate.instructions, candidate.demos], sort_keys=True, default=str)
        with self._lock:
            record = self._records.setdefault(key, _Record(candidate))
            record.scores[number] = good
            if record.told or len(record.scores) < len(self._index):
                return
            record.told = True
            told = sum(item.told for item in self._records.values())
            found = evolve(record.candidate, score=record.mean, label=f"{self._label} {told}")
            self._best = record.mean if self._best is None else max(self._best, record.mean)
            best = self._best
        self._task.found(found)
        self._task.progress(told, None, best)

    def tell_unfinished(self) -> None:
        """Tell of the candidates that were nearly done when the search was interrupted."""
        with self._lock:
            open_ = [item for item in self._records.values() if not item.told]
            nearly = [item for item in open_ if len(item.scores) >= _ENOUGH * len(self._index)]
            for record in nearly:
                record.told = True
        for record in nearly:
            self._task.found(evolve(record.candidate, score=record.mean, label=f"{self._label}, unfinished"))
