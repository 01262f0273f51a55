"""The executions that feedback is about: all that are kept, so that a comparison can use a fair sample of them."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from attrs import frozen

from hokusai_core.plugin_api import REDACTED, KeptExecution, OptimizationExample, SignatureSpec, jsonable
from hokusai_evaluate.example_reader import near_key
from hokusai_teleprompt.feedback.feedback_examples import fitting_example

__all__ = ["UNREVIEWED", "ExecutionPopulation", "read_population"]

#: Source of the examples that come from executions without feedback.
UNREVIEWED: Final = "executions without feedback"
#: Executions without feedback that are drawn at most.
_MOST: Final = 2_000


@frozen
class ExecutionPopulation:
    """The kept executions of a signature. Equal inputs count once, as do those that differ in case or blanks only.

    Args:
        reviewed: inputs with feedback.
        drawn: those of them that were drawn at random for a review, by ``near_key``.
        unreviewed: inputs without feedback.
        uncontested: examples out of executions without feedback, drawn at random. Their outputs are what the signature
            answered; that they are right was not said.
        missing: executions with feedback that are not kept in the store.
        left_out: executions with feedback in the store that is not among the feedback that was given.
    """

    reviewed: int
    drawn: frozenset[str]
    unreviewed: int
    uncontested: tuple[OptimizationExample, ...]
    missing: int
    left_out: int


def read_population(
    spec: SignatureSpec, executions: Iterable[KeptExecution], given: Collection[str], *, seed: int
) -> ExecutionPopulation:
    """Return the population that feedback comes from.

    Args:
        spec: the signature.
        executions: all kept executions of it.
        given: ids of the executions whose feedback is used.
        seed: of the draw.
    """
    reviewed: set[str] = set()
    chosen: set[str] = set()
    answers: dict[str, str | None] = {}
    draw = _Draw(seed)
    found = left_out = 0
    for kept in executions:
        if kept.current:
            found += kept.execution_id in given
            left_out += kept.execution_id not in given
        if REDACTED in kept.inputs.values():
            continue
        key = near_key(kept.inputs)
        if kept.current:
            reviewed.add(key)
            if not kept.feedback[0].drawn:
                chosen.add(key)
            continue
        answer = near_key(kept.outputs)
        if key not in answers:
            answers[key] = answer
            draw.offer(key, kept.inputs, kept.outputs)
        elif answers[key] != answer:
            answers[key] = None  # it cannot be said which of them is right
    unsure = {key for key, answer in answers.items() if answer is None}
    drawn = (example for key, example in draw.drawn() if key not in reviewed and key not in unsure)
    fitting = (fitting_example(spec, example) for example in drawn)
    return ExecutionPopulation(
        reviewed=len(reviewed),
        drawn=frozenset(reviewed - chosen),
        unreviewed=len(answers.keys() - reviewed),
        uncontested=tuple(example for example in fitting if example is not None),
        missing=len(given) - found,
        left_out=left_out,
    )


class _Draw:
    """Draws inputs at random while they are read: those whose digests with the seed are smallest."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._heap: list[tuple[int, str, str]] = []

    def offer(self, key: str, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        rank = -int.from_bytes(hashlib.sha256(f"{self._seed} {key}".encode()).digest()[:8], "big")
        if len(self._heap) < _MOST:
            heapq.heappush(self._heap, (rank, key, _text(inputs, outputs)))
        elif rank > self._heap[0][0]:
            heapq.heapreplace(self._heap, (rank, key, _text(inputs, outputs)))

    def drawn(self) -> Iterable[tuple[str, OptimizationExample]]:
        """Return what was drawn, in random order."""
        for _, key, text in sorted(self._heap, reverse=True):
            inputs, outputs = json.loads(text)
            known = {name: value for name, value in outputs.items() if value != REDACTED}
            yield key, OptimizationExample(inputs, known, UNREVIEWED)


def _text(inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> str:
    return json.dumps(jsonable([dict(inputs), dict(outputs)]))
