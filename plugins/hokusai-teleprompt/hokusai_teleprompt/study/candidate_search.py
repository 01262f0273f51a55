"""The search phase of a study: runs an optimizer and collects its candidates, also when it is interrupted."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, evolve

from hokusai_core.errors import OptimizationError
from hokusai_core.plugin_api import Candidate, OptimizationTask
from hokusai_teleprompt.study.evaluation import INTERRUPTED
from hokusai_teleprompt.study.phase_budget import StudyFailed, StudyStop

__all__ = ["CandidatePool", "FoundCandidate", "candidate_key", "search"]


@define
class FoundCandidate:
    """A candidate and when it was found.

    Args:
        candidate: the candidate.
        calls: language-model calls that had been made by then.
        optimizer: name of the optimizer that found it.
        partial: whether its score is that of some of the examples to choose by.
        goods: how good it was on each of them; empty where that is not known.
    """

    candidate: Candidate
    calls: int
    optimizer: str = ""
    partial: bool = False
    goods: Sequence[float] = ()


class CandidatePool:
    """Collects candidates, each once; safe to use from many threads.

    Args:
        calls: returns how many calls were made so far.
        on_found: called with each new candidate.
        optimizer: name of the optimizer that finds them.
        kept: returns a candidate with what it may not change as it is.

    Attributes:
        optimizer: name of the optimizer that searches now.
    """

    def __init__(
        self,
        calls: Callable[[], int],
        on_found: Callable[[FoundCandidate], None],
        optimizer: str = "",
        kept: Callable[[Candidate], Candidate] = lambda candidate: candidate,
    ) -> None:
        self._calls, self._on_found, self.optimizer, self._kept = calls, on_found, optimizer, kept
        self._by_key: dict[str, FoundCandidate] = {}
        self._lock = threading.Lock()
        self._last: str | None = None

    def add(
        self, candidate: Candidate, optimizer: str = "", *, partial: bool = False, goods: Sequence[float] = ()
    ) -> None:
        """Add a candidate. One that is known already keeps the score that it has.

        Args:
            candidate: the candidate.
            optimizer: name of the optimizer that found it; "" for the one that searches now.
            partial: whether its score is that of some of the examples to choose by.
            goods: how good it was on each of them; empty where that is not known.
        """
        if candidate.score is not None and not math.isfinite(candidate.score):
            candidate = evolve(candidate, score=None)  # a score that is not a number says nothing
        candidate = self._kept(candidate)
        key = candidate_key(candidate)
        with self._lock:
            self._last = key
            known = self._by_key.get(key)
            if known is not None:
                if known.candidate.score is None or (known.partial and not partial):
                    known.candidate, known.partial = evolve(known.candidate, score=candidate.score), partial
                    known.goods = goods
                return
            found = FoundCandidate(candidate, self._calls(), optimizer or self.optimizer, partial, goods)
            self._by_key[key] = found
        self._on_found(found)

    def new(self, current: Candidate) -> list[FoundCandidate]:
        """Return the candidates that differ from what the signature has, in the order in which they were found."""
        before = candidate_key(current)
        return [found for key, found in self._by_key.items() if key != before]

    def latest(self) -> FoundCandidate | None:
        """Return the candidate that was added last: the result of an optimizer that scores none."""
        return None if self._last is None else self._by_key[self._last]


def candidate_key(candidate: Candidate) -> str:
    """Return a text that is equal for candidates of the same instructions and demos."""
    states = {name: [state.instructions, state.demos] for name, state in candidate.predictors.items()}
    parts = [candidate.instructions, candidate.demos, candidate.nearest_demos, states]
    return json.dumps(parts, sort_keys=True, default=str)


def search(optimizer: Any, name: str, task: OptimizationTask, pool: CandidatePool) -> str | None:
    """Run an optimizer until it ends or is stopped.

    Args:
        optimizer: the optimizer.
        name: its name, for errors.
        task: what it works on.
        pool: collects the candidates that it yields.

    Returns:
        Why it was stopped, None where it was not.

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
            pool.add(candidate)
    except StudyStop as stop:
        return stop.reason
    except StudyFailed as failure:
        raise OptimizationError(f"{name} on {task.signature.name}: {failure.problem}") from failure.cause
    except KeyboardInterrupt:
        return INTERRUPTED
    return None
