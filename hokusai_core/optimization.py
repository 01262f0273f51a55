"""The records that optimizers and their callers exchange."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

if TYPE_CHECKING:
    from hokusai_core.model import LanguageModel
    from hokusai_core.signatures import SignatureSpec
    from hokusai_core.signatures.predictor_state import PredictorState

__all__ = ["Candidate", "OptimizationExample", "OptimizationTask"]


@frozen
class OptimizationExample:
    """Inputs and their correct outputs.

    Args:
        inputs: input field -> value.
        outputs: output field -> value; only the outputs that the metric reads are needed.
        source: where the example comes from. The share of examples of one source may be limited.
    """

    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    source: str = ""


@frozen
class Candidate:
    """Instructions and demos that might be better.

    Args:
        instructions: the new instructions.
        demos: few-shot examples, each input and output field -> value, such as
            ``{**example.inputs, **example.outputs}`` of an example in ``task.train``.
        score: what the optimizer measured on ``task.dev``; None where it did not measure.
        label: name of the candidate in reports.
        nearest_demos: how many demos a prompt shows: those that are nearest to its inputs. None for all demos.
        predictors: of a program, the state of each of its predictors by name. The program's own instructions and demos
            are then left as they are.
    """

    instructions: str
    demos: tuple[Mapping[str, Any], ...] = ()
    score: float | None = None
    label: str = ""
    nearest_demos: int | None = None
    predictors: Mapping[str, PredictorState] = field(factory=dict)

    @property
    def demo_count(self) -> int:
        """The number of demos, those of predictors included."""
        return len(self.demos) + sum(len(state.demos) for state in self.predictors.values())


@frozen
class OptimizationTask:
    """Everything that an optimizer may use.

    Args:
        signature: the signature to improve; of a program, what the whole takes and gives.
        train: examples to learn from.
        dev: examples to choose between candidates by; never the held-out ones.
        metric: (expected outputs, outputs, inputs) -> score; higher is better.
        model: the language model. Every call is charged to the budget. If no further call may be made, it raises a
            ``BaseException`` that is not an ``Exception``; let it pass.
        seed: of everything random.
        prompt_model: the language model that writes instructions, charged in the same way; None for ``model``.
        workers: calls that may be made at once.
        found: call it with each candidate as soon as it is scored on ``dev``, so that an interrupted search loses none.
            Candidates that are yielded need no call.
        program: the ``dspy.Module`` whose predictors are improved; change a copy of it only. None for a signature that
            is one call of the language model. A candidate for a program has ``predictors``.
        ran: call it with the names of predictors that ran on an example. Those of which it is known that no example
            reaches them keep what they have, whatever a candidate says.
    """

    signature: SignatureSpec
    train: Sequence[OptimizationExample]
    dev: Sequence[OptimizationExample]
    metric: Callable[[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]], float]
    model: LanguageModel
    seed: int = 0
    prompt_model: LanguageModel | None = None
    workers: int = 1
    found: Callable[[Candidate], None] = field(default=lambda candidate: None)
    program: Any = None
    ran: Callable[[Iterable[str]], None] = field(default=lambda names: None)
