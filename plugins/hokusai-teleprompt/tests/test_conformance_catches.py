"""The conformance suites fail those who break their word."""

from __future__ import annotations

import inspect
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hokusai_core.errors import ExecutionError
from hokusai_core.plugin_api import Candidate, OptimizationTask, SignatureRunner
from hokusai_core.testing.metrics import MetricConformance
from hokusai_core.testing.optimizers import OptimizerConformance
from hokusai_evaluate.metrics import Accuracy


class GoodOptimizer:
    """Scores two instructions on dev."""

    name = "good"

    def check(self, task: OptimizationTask) -> list[str]:
        return [] if task.train and task.dev else ["there is nothing to learn from"]

    def propose(self, task: OptimizationTask) -> Iterator[Candidate]:
        for text in ("Shout.", "Shout louder."):
            runner = SignatureRunner(task.signature.evolve(instructions=text), task.model)
            scores = []
            for example in task.dev:
                outputs = self.answer(runner, example)
                scores.append(self.grade(task, example, outputs))
            yield Candidate(text, score=sum(scores) / len(scores))

    def answer(self, runner: Any, example: Any) -> Any:
        try:
            return runner.run(example.inputs)
        except ExecutionError:
            return {}

    def grade(self, task: OptimizationTask, example: Any, outputs: Any) -> float:
        return task.metric(example.outputs, outputs, example.inputs)


class NeverSaysNo(GoodOptimizer):
    def check(self, task: OptimizationTask) -> list[str]:
        return []


class SwallowsStops(GoodOptimizer):
    def answer(self, runner: Any, example: Any) -> Any:
        try:
            return runner.run(example.inputs)
        except BaseException:
            return {}


class SwallowsMetricErrors(GoodOptimizer):
    def grade(self, task: OptimizationTask, example: Any, outputs: Any) -> float:
        try:
            return super().grade(task, example, outputs)
        except Exception:
            return 0.0


class Chatty(GoodOptimizer):
    def grade(self, task: OptimizationTask, example: Any, outputs: Any) -> float:
        sys.stdout.write("scored\n")
        return super().grade(task, example, outputs)


class Dice(GoodOptimizer):
    def propose(self, task: OptimizationTask) -> Iterator[Candidate]:
        yield Candidate(f"Shout {random.random()}.")


class ForeignDemos(GoodOptimizer):
    def propose(self, task: OptimizationTask) -> Iterator[Candidate]:
        yield Candidate("Shout.", ({"text": "a", "mood": "b"},))


class Nothing(GoodOptimizer):
    def propose(self, task: OptimizationTask) -> Iterator[Candidate]:
        return iter(())


def run(suite: Any, name: str, **fixtures: Any) -> None:
    """Run one test of a suite as pytest would."""
    test = getattr(suite, name)
    test(**{parameter: fixtures[parameter] for parameter in inspect.signature(test).parameters})


def optimizer_tests() -> list[str]:
    return [name for name in vars(OptimizerConformance) if name.startswith("test_")]


@pytest.mark.parametrize("name", optimizer_tests())
def test_an_optimizer_that_keeps_its_word_passes(name: str, capfd: Any) -> None:
    lm = OptimizerConformance.lm.__wrapped__(OptimizerConformance())  # type: ignore[attr-defined]
    run(OptimizerConformance(), name, make_optimizer=GoodOptimizer, lm=lm, capfd=capfd)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (NeverSaysNo, "test_nothing_to_learn_from_is_a_problem"),
        (SwallowsStops, "test_a_stop_gets_through"),
        (SwallowsMetricErrors, "test_an_error_of_the_metric_gets_out"),
        (Chatty, "test_nothing_is_printed"),
        (Dice, "test_the_seed_decides"),
        (ForeignDemos, "test_candidates_fit_the_signature"),
        (Nothing, "test_candidates_fit_the_signature"),
        (object, "test_satisfies_the_protocol"),
    ],
)
def test_an_optimizer_that_breaks_its_word_fails(kind: Callable[[], Any], name: str, capfd: Any) -> None:
    lm = OptimizerConformance.lm.__wrapped__(OptimizerConformance())  # type: ignore[attr-defined]
    with pytest.raises(AssertionError):
        run(OptimizerConformance(), name, make_optimizer=kind, lm=lm, capfd=capfd)


class Halved(Accuracy):
    def score(self, expected: Any, outputs: Any, inputs: Any) -> float:
        return super().score(expected, outputs, inputs) / 2


class UpsideDown(Accuracy):
    higher_is_better = False


class NotANumber(Accuracy):
    def score(self, expected: Any, outputs: Any, inputs: Any) -> float:
        return super().score(expected, outputs, inputs) if outputs else float("nan")


class Changes(Accuracy):
    def score(self, expected: Any, outputs: Any, inputs: Any) -> float:
        score = super().score(expected, outputs, inputs)
        outputs.clear()
        return score


class Anonymous(Accuracy):
    source = ""


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Halved, "test_the_best_is_an_end_of_the_range"),
        (UpsideDown, "test_tells_right_from_wrong"),
        (NotANumber, "test_an_output_may_be_missing"),
        (Changes, "test_nothing_is_changed"),
        (Anonymous, "test_says_where_it_comes_from"),
        (object, "test_satisfies_the_protocol"),
    ],
)
def test_a_metric_that_breaks_its_word_fails(kind: Callable[[], Any], name: str) -> None:
    class Suite(MetricConformance):
        wrong = {"answer": "a potato"}  # noqa: RUF012  # its own, to be changed

    with pytest.raises(AssertionError):
        run(Suite(), name, metric=kind())
