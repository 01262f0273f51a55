"""The search: what an optimizer finds, whether it tells on its way, in the end, or is interrupted."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

from attrs import define, evolve

from hokusai_core.errors import OptimizationError
from hokusai_core.plugin_api import Candidate, OptimizationTask, SignatureSpec
from hokusai_teleprompt.study.evaluation import INTERRUPTED
from hokusai_teleprompt.study.stop_signals import StudyFailed, StudyStop

__all__ = ["CandidatePool", "FoundCandidate", "search"]


@define
class FoundCandidate:
    """A candidate and when it was found.

    Args:
        candidate: the candidate.
        calls: language-model calls that had been made by then.
    """

    candidate: Candidate
    calls: int


class CandidatePool:
    """Collects candidates, each once; used by many threads.

    Args:
        calls: returns how many calls were made so far.
        on_found: told of each new candidate.
    """

    def __init__(self, calls: Callable[[], int], on_found: Callable[[FoundCandidate, int], None]) -> None:
        self._calls, self._on_found = calls, on_found
        self._by_key: dict[str, FoundCandidate] = {}
        self._lock = threading.Lock()
        self.last: str | None = None

    def add(self, candidate: Candidate) -> None:
        """Accept a candidate; of one that is known the score is kept."""
        key = _key(candidate)
        with self._lock:
            self.last = key
            known = self._by_key.get(key)
            if known is not None:
                if known.candidate.score is None:
                    known.candidate = evolve(known.candidate, score=candidate.score)
                return
            finding = self._by_key[key] = FoundCandidate(candidate, self._calls())
            count = len(self._by_key)
        self._on_found(finding, count)

    def new(self, spec: SignatureSpec) -> list[FoundCandidate]:
        """Return those that are not the signature as it was."""
        before = _key(Candidate(spec.instructions, spec.demos, nearest_demos=spec.nearest_demos))
        return [finding for key, finding in self._by_key.items() if key != before]

    def everything(self) -> list[FoundCandidate]:
        """Return all, in the order in which they were found."""
        return list(self._by_key.values())

    def latest(self) -> FoundCandidate | None:
        """Return the one that was told last: of an optimizer that scores none, the one that it came back with."""
        return None if self.last is None else self._by_key[self.last]


def _key(candidate: Candidate) -> str:
    parts = [candidate.instructions, candidate.demos, candidate.nearest_demos]
    return json.dumps(parts, sort_keys=True, default=str)


def search(optimizer: Any, name: str, task: OptimizationTask, findings: CandidatePool) -> str | None:
    """Run an optimizer to its end, or until it is stopped; return why it was stopped, None where it was not.

    Raises:
        OptimizationError: it failed, or cannot work on the task.
    """
    problems = list(optimizer.check(task))
    if problems:
        raise OptimizationError(f"{name} cannot work on {task.signature.name}: {'; '.join(problems)}")
    try:
        for candidate in optimizer.propose(task):
            if not isinstance(candidate, Candidate):
                raise OptimizationError(f"{name} proposed a {type(candidate).__name__}; it must yield Candidates")
            findings.add(candidate)
    except StudyStop as stop:
        return stop.reason
    except StudyFailed as failure:
        raise OptimizationError(f"{name} on {task.signature.name}: {failure.problem}") from failure.cause
    except KeyboardInterrupt:
        return INTERRUPTED
    return None
