"""Evaluator: runs a signature on examples as an executor would, and scores the outputs."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Final

from attrs import frozen

from hokusai_core.errors import ExecutionError, OptimizationError, OutputError, PromptTooLong
from hokusai_core.plugin_api import OptimizationExample, SignatureRunner
from hokusai_evaluate.metrics.scoring import checked, goodness, worst_goodness
from hokusai_teleprompt.study.phase_budget import StudyFailed, StudyStop
from hokusai_teleprompt.study.step_reach import steps_of

__all__ = ["INTERRUPTED", "Evaluator", "ExampleOutcome", "Measurement"]

#: Share of examples on which a language model may fail for reasons of its own.
_OUTAGES = 0.1
#: Why an evaluation was stopped by Ctrl-C.
INTERRUPTED: Final = "interrupted"


@frozen
class ExampleOutcome:
    """The result of one example.

    Args:
        outputs: the outputs; None where the answer did not fit the signature.
        good: how good they are, more is better; None where they have no score.
        error: class of the error, None for none.
        outage: an error of a language model that is not the candidate's fault: of the model that is optimized for, or
            of the model that the metric asks.
        steps: keys of the steps and branches that ran, where it is a chain that gave the outputs.
    """

    outputs: Mapping[str, Any] | None
    good: float | None
    error: str | None = None
    outage: Exception | None = None
    steps: frozenset[str] = frozenset()


@frozen
class Measurement:
    """The results of a set of examples.

    Args:
        outcomes: one for each example, None for those that were not reached.
        stopped: why the evaluation was stopped, None where it was not.
    """

    outcomes: tuple[ExampleOutcome | None, ...]
    stopped: str | None = None

    @property
    def complete(self) -> bool:
        """Whether there is a result for every example."""
        return all(outcome is not None for outcome in self.outcomes)

    @property
    def failures(self) -> int:
        """How many examples have no score."""
        return sum(outcome is not None and outcome.good is None for outcome in self.outcomes)

    @property
    def outputs(self) -> list[Mapping[str, Any] | None]:
        """The outputs of each example, empty where the answer did not fit; None where it was not reached."""
        return [None if outcome is None else outcome.outputs or {} for outcome in self.outcomes]

    def goods(self, worst: float) -> list[float]:
        """Return how good each finished example is; one without a score counts ``worst``."""
        return [worst if item.good is None else item.good for item in self.outcomes if item is not None]


class Evaluator:
    """Evaluates signatures with one metric.

    Args:
        metric: the metric.
        workers: examples that are evaluated at once.
    """

    def __init__(self, metric: Any, workers: int) -> None:
        self.metric, self.workers = metric, workers

    def worst(self, *measurements: Measurement) -> float:
        """Return what an example without a score counts: the bad end of the range, or the worst score if it is open."""
        outcomes = [outcome for item in measurements for outcome in item.outcomes if outcome is not None]
        return worst_goodness(self.metric, (item.good for item in outcomes if item.good is not None))

    def run(
        self,
        runner: SignatureRunner,
        examples: Sequence[OptimizationExample],
        on_done: Callable[[], None] = lambda: None,
    ) -> Measurement:
        """Evaluate a signature or program.

        Args:
            runner: runs it with the language model of the study.
            examples: the examples.
            on_done: called after each example.

        Raises:
            StudyFailed: the metric raised, or the language model fails too often.
        """
        outcomes: list[ExampleOutcome | None] = [None] * len(examples)
        pool = ThreadPoolExecutor(max_workers=max(1, min(self.workers, len(examples) or 1)))
        waiting: dict[Future[ExampleOutcome], int] = {}
        queue = iter(enumerate(examples))
        stopped: str | None = None
        try:
            while True:
                # Only a few examples ahead of the workers: the rest is never begun if the budget ends.
                while stopped is None and len(waiting) < 2 * self.workers and (item := next(queue, None)) is not None:
                    context = contextvars.copy_context()
                    waiting[pool.submit(context.run, self._evaluate, runner, item[1])] = item[0]
                if not waiting:
                    _check_outages(outcomes)
                    return Measurement(tuple(outcomes), stopped)
                done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    index = waiting.pop(future)
                    try:
                        outcomes[index] = future.result()
                        on_done()
                    except StudyStop as stop:
                        stopped = stopped or stop.reason
        except KeyboardInterrupt:
            return Measurement(tuple(outcomes), INTERRUPTED)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _evaluate(self, runner: SignatureRunner, example: OptimizationExample) -> ExampleOutcome:
        outputs: Mapping[str, Any] | None = None
        steps: frozenset[str] = frozenset()
        try:
            answer = runner.run(example.inputs)
            outputs, steps = dict(answer), steps_of(answer.extras)
            return ExampleOutcome(outputs, self.grade(example, outputs), steps=steps)
        except ExecutionError as error:
            of_candidate = outputs is None and isinstance(error, (OutputError, PromptTooLong))
            return ExampleOutcome(outputs, None, type(error).__name__, None if of_candidate else error, steps)

    def grade(self, example: OptimizationExample, outputs: Mapping[str, Any]) -> float:
        """Return how good outputs are.

        Raises:
            ExecutionError: the metric's own language model failed, or its answer does not fit.
            StudyFailed: the metric raised, or its score cannot be used.
        """
        try:
            score = self.metric.score(example.outputs, outputs, example.inputs)
        except ExecutionError:
            raise
        except Exception as error:
            name = getattr(self.metric, "name", type(self.metric).__name__)
            raise StudyFailed(f"metric {name} raised {type(error).__name__}: {error}", error) from error
        try:
            return goodness(self.metric, checked(score, self.metric))
        except OptimizationError as error:
            raise StudyFailed(str(error), error) from error


def _check_outages(outcomes: Sequence[ExampleOutcome | None]) -> None:
    """Raise where the language model failed so often that the scores would say more of it than of the signature.

    Raises:
        StudyFailed: with its first error.
    """
    outages = [outcome.outage for outcome in outcomes if outcome is not None and outcome.outage is not None]
    if len(outages) > max(2, _OUTAGES * len(outcomes)):
        raise StudyFailed(
            f"the language model failed on {len(outages)} of {len(outcomes)} examples; the first error: {outages[0]}",
            outages[0],
        )
