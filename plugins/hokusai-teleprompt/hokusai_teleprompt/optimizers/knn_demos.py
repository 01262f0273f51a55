"""Demos that are chosen anew for every call: those that are most like it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hokusai_core.errors import ConfigurationError
from hokusai_core.plugin_api import Candidate, OptimizationTask, jsonable

__all__ = ["KnnDemos"]


class KnnDemos:
    """What ``dspy.KNNFewShot`` does, as a signature.

    DSPy's own puts its choice into a replaced ``forward`` that nothing can save, asks an embedding model, and
    bootstraps anew at every call. Here all examples are demos of the signature, which shows the nearest in each prompt,
    by the words that they share.

    Args:
        k: how many demos a prompt shows; several numbers are tried one after the other.
    """

    name = "knn_fewshot"

    def __init__(self, k: int | Sequence[int] = (4, 8, 16)) -> None:
        self.sizes = (k,) if isinstance(k, int) else tuple(k)
        if not self.sizes or any(isinstance(size, bool) or size < 1 for size in self.sizes):
            raise ConfigurationError(f"k={k!r}: expected whole numbers of at least 1")

    def check(self, task: OptimizationTask) -> Sequence[str]:
        """Return the reasons why this optimizer cannot work on ``task``."""
        problems = [] if task.train else ["knn_fewshot needs examples to show"]
        if task.signature.outputs.keys() <= task.signature.sensitive:
            problems.append("knn_fewshot makes demos, which cannot show sensitive outputs")
        return problems

    def propose(self, task: OptimizationTask) -> Iterator[Candidate]:
        """Yield a candidate for each number of demos; no call of a language model."""
        hidden = task.signature.sensitive
        demos = tuple(
            {
                name: jsonable(value)
                for name, value in {**example.inputs, **example.outputs}.items()
                if value is not None and name not in hidden
            }
            for example in task.train
        )
        for size in sorted({min(size, len(demos)) for size in self.sizes}, reverse=True):
            label = f"{self.name}, {size} nearest"
            yield Candidate(task.signature.instructions, demos, label=label, nearest_demos=size)
