"""AcmeSample: tries phrases that may make instructions clearer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean

from hokusai_core.errors import OutputError
from hokusai_core.plugin_api import Candidate, OptimizationTask, SignatureRunner

__all__ = ["AcmeSample"]


class AcmeSample:
    """Adds each phrase to the instructions and measures it on the development set.

    Args:
        phrases: what is added.
    """

    def __init__(self, phrases: Sequence[str] = ("Think before you answer.", "Be brief.")) -> None:
        self._phrases = tuple(phrases)

    def check(self, task: OptimizationTask) -> Sequence[str]:
        """Return why it cannot work on ``task``."""
        return () if task.dev else ("it needs examples to measure on",)

    def propose(self, task: OptimizationTask) -> Iterator[Candidate]:
        """Yield a candidate for each phrase, with its score. Errors of the metric, and stops, get out."""
        for phrase in self._phrases:
            instructions = f"{task.signature.instructions}\n\n{phrase}"
            yield Candidate(instructions, score=self._score(task, instructions), label=phrase)

    def _score(self, task: OptimizationTask, instructions: str) -> float | None:
        runner = SignatureRunner(task.signature.evolve(instructions=instructions), task.model)
        scores = []
        for example in task.dev:
            try:
                outputs = runner.run(example.inputs)
            except OutputError:
                return None  # some answers cannot be read: its caller measures what that is worth
            scores.append(task.metric(example.outputs, outputs, example.inputs))
        return fmean(scores)
