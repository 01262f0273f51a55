"""The records that optimizers and whoever calls them exchange."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

if TYPE_CHECKING:
    from hokusai_core.model import LanguageModel
    from hokusai_core.signatures import SignatureSpec

__all__ = ["Candidate", "OptimizationExample", "OptimizationTask"]


@frozen
class OptimizationExample:
    """Inputs, and the outputs that are right for them.

    Args:
        inputs: input field -> value.
        outputs: output field -> value; a subset of the outputs is enough where the metric reads no more.
        source: where the example comes from; caps per source and provenance read it.
    """

    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    source: str = ""


@frozen
class Candidate:
    """Instructions and demos that might be better.

    Args:
        instructions: the new instructions.
        demos: few-shot examples, each input and output field -> value.
        score: what the optimizer itself measured on ``task.dev``, None where it did not.
        label: how it came about, for reports.
        nearest_demos: how many of the demos a prompt shows, the nearest ones; None for all of them.
    """

    instructions: str
    demos: tuple[Mapping[str, Any], ...] = ()
    score: float | None = None
    label: str = ""
    nearest_demos: int | None = None


@frozen
class OptimizationTask:
    """Everything that an optimizer may use.

    Args:
        signature: the signature to improve.
        train: examples to learn from.
        dev: examples to choose between candidates; never the held-out ones.
        metric: (expected outputs, outputs, inputs) -> score; higher is better.
        model: the language model, metered: every call through it is charged to the budget. Where no further call may
            be made it raises a ``BaseException`` that is no ``Exception``; let it pass.
        seed: of everything random.
        workdir: where checkpoints may be kept; None for none.
        progress: called with (done, total or None, best score or None) now and then.
        prompt_model: the language model that writes instructions, metered likewise; None for ``model``.
        workers: calls that may be made at once.
        found: to be told of each candidate as soon as it is scored on ``dev``, so that a search that is interrupted
            loses none; candidates that are yielded need not be told here.
    """

    signature: SignatureSpec
    train: Sequence[OptimizationExample]
    dev: Sequence[OptimizationExample]
    metric: Callable[[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]], float]
    model: LanguageModel
    seed: int = 0
    workdir: Path | None = None
    progress: Callable[[int, int | None, float | None], None] = field(default=lambda done, total, best: None)
    prompt_model: LanguageModel | None = None
    workers: int = 1
    found: Callable[[Candidate], None] = field(default=lambda candidate: None)
