"""Optimizers that show examples as demos, without a call of a language model."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import evolve

from hokusai_core.errors import ConfigurationError
from hokusai_core.plugin_api import (
    Candidate,
    OptimizationExample,
    OptimizationTask,
    SignatureSpec,
    jsonable,
    predictor_states,
)
from hokusai_evaluate.example_reader import example_key
from hokusai_evaluate.stratified_split import label_fields, strata_of

__all__ = ["KnnDemos", "LabeledDemos", "demo_problems", "fitting_predictors", "with_more_demos"]


class LabeledDemos:
    """What ``dspy.LabeledFewShot`` does: some of the examples as demos, drawn at random, as many of each label.

    The first demos are the same for every ``k``, and each label comes in turn.

    Args:
        k: demos at most.

    Raises:
        ConfigurationError: ``k`` is not a whole number of at least 1.
    """

    name = "labeled_fewshot"

    def __init__(self, k: int = 16) -> None:
        self.k = _size(k, k)

    def check(self, task: OptimizationTask) -> Sequence[str]:
        """Return the reasons why this optimizer cannot work on ``task``."""
        fits = task.program is None or fitting_predictors(task)
        wanted = (
            f"{self.name} shows examples as they are, and no predictor of {task.signature.name} has all their fields"
        )
        return [*_problems(self.name, task), *([] if fits else [f"{wanted}; use bootstrap_fewshot"])]

    def propose(self, task: OptimizationTask) -> Iterator[Candidate]:
        """Yield one candidate."""
        demos = tuple(_demo(task.signature, example) for example in _balanced(task, self.k))
        label = f"{self.name}, {len(demos)} demos"
        if task.program is None:
            yield Candidate(task.signature.instructions, demos, label=label)
            return
        fitting = fitting_predictors(task)
        states = {
            name: evolve(state, demos=demos) if name in fitting else state
            for name, state in predictor_states(task.program).items()
        }
        yield Candidate(task.signature.instructions, label=label, predictors=states)


class KnnDemos:
    """What ``dspy.KNNFewShot`` does: each prompt shows the demos that are nearest to its inputs.

    DSPy's optimizer replaces ``forward``, which cannot be saved, asks an embedding model, and bootstraps demos at every
    call. Here all examples are demos of the signature, and each prompt shows the nearest, by the words that they share.

    Args:
        k: how many demos a prompt shows; several numbers are tried one after the other.

    Raises:
        ConfigurationError: a number is not a whole number of at least 1.
    """

    name = "knn_fewshot"

    def __init__(self, k: int | Sequence[int] = (4, 8, 16)) -> None:
        sizes = (k,) if isinstance(k, int) else tuple(k)
        if not sizes:
            raise ConfigurationError("k is empty: expected whole numbers of at least 1")
        self.sizes = [_size(size, k) for size in sizes]

    def check(self, task: OptimizationTask) -> Sequence[str]:
        """Return the reasons why this optimizer cannot work on ``task``."""
        several = (
            [] if task.program is None else [f"{self.name} works on signatures of one call; use bootstrap_fewshot"]
        )
        return [*_problems(self.name, task), *several]

    def propose(self, task: OptimizationTask) -> Iterator[Candidate]:
        """Yield a candidate for each number of demos."""
        demos = tuple(_demo(task.signature, example) for example in task.train)
        for size in sorted({min(size, len(demos)) for size in self.sizes}, reverse=True):
            label = f"{self.name}, {size} nearest"
            yield Candidate(task.signature.instructions, demos, label=label, nearest_demos=size)


def _balanced(task: OptimizationTask, count: int) -> list[OptimizationExample]:
    """Return examples drawn at random: one of each label in turn, as long as there are any."""
    rng = random.Random(task.seed)  # noqa: S311  # a draw, not a secret
    labels = label_fields(task.signature, task.train)
    groups = [[example] for example in sorted(task.train, key=example_key)]
    strata = strata_of(groups, lambda example: repr([example.outputs.get(name) for name in labels]), rng)
    rng.shuffle(strata)
    rounds = itertools.chain.from_iterable(itertools.zip_longest(*strata))
    return [example for group in rounds if group is not None for example in group][:count]


def _size(size: Any, given: Any) -> int:
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ConfigurationError(f"k={given!r}: expected whole numbers of at least 1")
    return size


def _problems(name: str, task: OptimizationTask) -> list[str]:
    return [*([] if task.train else [f"{name} needs examples to show"]), *demo_problems(name, task)]


def demo_problems(name: str, task: OptimizationTask) -> list[str]:
    """Return why an optimizer that makes demos cannot work on a task."""
    spec = task.signature
    if spec.outputs.keys() <= spec.sensitive:
        return [f"{name} makes demos, which cannot show sensitive outputs"]
    if task.program is not None and spec.sensitive:
        return [f"{name} makes demos, and those of inner predictors may quote sensitive fields; use copro or gepa"]
    return []


def fitting_predictors(task: OptimizationTask) -> list[str]:
    """Return the names of the predictors of a program that have all fields of the examples."""
    fields = {item.name for item in task.signature.fields if item.required}
    return [name for name, found in task.program.named_predictors() if fields <= found.signature.fields.keys()]


def with_more_demos(candidate: Candidate, spec: SignatureSpec, examples: Sequence[OptimizationExample]) -> Candidate:
    """Return a candidate of ``KnnDemos`` with further examples among those of which prompts show the nearest.

    Args:
        candidate: the candidate.
        spec: the signature.
        examples: the examples.
    """
    return evolve(candidate, demos=(*candidate.demos, *(_demo(spec, example) for example in examples)))


def _demo(spec: SignatureSpec, example: OptimizationExample) -> Mapping[str, Any]:
    """Return an example as a demo: plain values and media, without those of sensitive fields."""
    hidden = spec.sensitive
    media = {item.name for item in spec.fields if item.involves_media}
    return {
        name: value if name in media else jsonable(value)
        for name, value in {**example.inputs, **example.outputs}.items()
        if value is not None and name not in hidden
    }
