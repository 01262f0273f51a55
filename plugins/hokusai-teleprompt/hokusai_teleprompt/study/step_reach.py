"""StepReach: which steps and predictors of a chain or program the examples of a study reach."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from attrs import evolve

from hokusai_core.plugin_api import Candidate

__all__ = ["StepReach", "steps_of"]

#: The key of a step in the name of a predictor; that of a chain in a chain has several.
_STEP = re.compile(r"(?:^|\.)steps\['(.*?)'\]")


def steps_of(extras: Mapping[str, Any]) -> frozenset[str]:
    """Return the keys of the steps and branches of a chain that ran; empty for what is no chain."""
    steps = extras.get("steps")
    return frozenset(steps) if isinstance(steps, Mapping) else frozenset()


class StepReach:
    """Notes what runs on the examples of a study; safe to use from many threads.

    Args:
        current: the present states of all predictors.
    """

    def __init__(self, current: Candidate) -> None:
        self._current = current
        self._names: set[str] = set()
        self._counts: dict[str, int] = {}
        self._examples = 0
        self._lock = threading.Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # optimizers copy the programs that report to it

    def ran(self, names: Iterable[str]) -> None:
        """Note the predictors that ran on an example."""
        with self._lock:
            self._names.update(names)

    def measured(self, steps: Sequence[frozenset[str]]) -> None:
        """Note the steps that ran on each of some examples, with the chain as it is."""
        with self._lock:
            self._examples += len(steps)
            for key in (key for found in steps for key in found):
                self._counts[key] = self._counts.get(key, 0) + 1
            self._names.update(name for name in self._current.predictors if _step_of(name) in self._counts)

    @property
    def counts(self) -> dict[str, tuple[int, int]]:
        """Key of each step -> how many examples have reached it, of how many that were measured."""
        keys = dict.fromkeys([*map(_step_of, self._current.predictors), *self._counts])
        return {key: (self._counts.get(key, 0), self._examples) for key in keys if key} if self._counts else {}

    @property
    def unreached(self) -> list[str]:
        """Names of the predictors of which it is known that nothing has reached them."""
        with self._lock:
            return [name for name in self._current.predictors if name not in self._names] if self._names else []

    def kept(self, candidate: Candidate) -> Candidate:
        """Return a candidate whose predictors that nothing has reached have the states that they have now."""
        as_they_are = {name: self._current.predictors[name] for name in self.unreached if name in candidate.predictors}
        return evolve(candidate, predictors={**candidate.predictors, **as_they_are}) if as_they_are else candidate


def _step_of(name: str) -> str:
    return ".".join(_STEP.findall(name))
