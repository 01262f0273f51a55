"""Optimizers of authors in a hurry: each breaks the protocol in one way."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dspy
import pytest

from hokusai_core.errors import ExecutionError
from hokusai_core.plugin_api import Candidate, OptimizationTask, SignatureRunner
from hokusai_core.testing.optimizers import OptimizerConformance


class TwoTexts:
    """An optimizer that is right: it scores two instructions on dev, with two examples of train as demos."""

    def check(self, task: OptimizationTask) -> Any:
        return [] if task.train and task.dev else ["there is nothing to learn from"]

    def texts(self, task: OptimizationTask) -> list[Any]:
        return ["Shout.", "Shout louder."]

    def demos(self, task: OptimizationTask) -> Any:
        chosen = random.Random(task.seed).sample(list(task.train), 2)
        return tuple({**example.inputs, **example.outputs} for example in chosen)

    def propose(self, task: OptimizationTask) -> Iterator[Any]:
        demos = self.demos(task)
        for text in self.texts(task):
            spec = task.signature.evolve(instructions=text)
            candidate = self.make(text, demos, self.measure(task, SignatureRunner(spec, task.model)))
            task.found(candidate)
            yield candidate

    def make(self, text: Any, demos: Any, score: float) -> Any:
        return Candidate(text, demos, score=score)

    def measure(self, task: OptimizationTask, runner: Any) -> Any:
        scores = [self.grade(task, one, self.answer(runner, one)) for one in task.dev]
        return float(sum(scores) / len(scores))

    def answer(self, runner: Any, example: Any) -> Any:
        try:
            return runner.run(example.inputs)
        except ExecutionError:
            return {}

    def grade(self, task: OptimizationTask, example: Any, outputs: Any) -> float:
        return task.metric(example.outputs, outputs, example.inputs)


class NeverSaysNo(TwoTexts):
    def check(self, task: OptimizationTask) -> Any:
        return []


class AlwaysSaysNo(TwoTexts):
    def check(self, task: OptimizationTask) -> Any:
        return ["it needs a hundred examples"] if len(task.train) < 100 else []


class SaysNoInOneText(TwoTexts):
    def check(self, task: OptimizationTask) -> Any:
        return "" if task.train else "no examples"


class SaysNoWithoutAReason(TwoTexts):
    def check(self, task: OptimizationTask) -> Any:
        return [not task.train] if not task.train else []


class ChecksWithTrueAndFalse(TwoTexts):
    def check(self, task: OptimizationTask) -> Any:
        return bool(task.train)


class SwallowsStops(TwoTexts):
    def answer(self, runner: Any, example: Any) -> Any:
        try:
            return runner.run(example.inputs)
        except BaseException:
            return {}


class GoesOnAfterAStop(TwoTexts):
    def propose(self, task: OptimizationTask) -> Iterator[Any]:
        try:
            yield from super().propose(task)
        except BaseException as error:
            if isinstance(error, (Exception, GeneratorExit)):
                raise
            yield Candidate(task.signature.instructions)


class SwallowsErrorsOfTheMetric(TwoTexts):
    def grade(self, task: OptimizationTask, example: Any, outputs: Any) -> float:
        try:
            return super().grade(task, example, outputs)
        except Exception:
            return 0.0


class HidesErrorsOfTheMetric(TwoTexts):
    def grade(self, task: OptimizationTask, example: Any, outputs: Any) -> float:
        try:
            return super().grade(task, example, outputs)
        except Exception:
            raise RuntimeError("the metric failed") from None


class Chatty(TwoTexts):
    def grade(self, task: OptimizationTask, example: Any, outputs: Any) -> float:
        os.write(1, b"scored\n")
        return super().grade(task, example, outputs)


class ShowsProgress(TwoTexts):
    def grade(self, task: OptimizationTask, example: Any, outputs: Any) -> float:
        os.write(2, b"50%\r")
        return super().grade(task, example, outputs)


class Dice(TwoTexts):
    def demos(self, task: OptimizationTask) -> Any:
        chosen = random.sample(list(task.train), 4)
        return tuple({**example.inputs, **example.outputs} for example in chosen)


class Clock(TwoTexts):
    def texts(self, task: OptimizationTask) -> list[Any]:
        return [f"Shout. ({time.time_ns()})"]


class LearnsForever(TwoTexts):
    """What it has found for one task goes into the next one."""

    def __init__(self) -> None:
        self.best = ["Shout."]

    def texts(self, task: OptimizationTask) -> list[Any]:
        self.best.append(f"{self.best[-1]} Louder.")
        return self.best[-1:]


class Nothing(TwoTexts):
    def texts(self, task: OptimizationTask) -> list[Any]:
        return []


class EmptyInstructions(TwoTexts):
    def make(self, text: Any, demos: Any, score: float) -> Any:
        return Candidate(" ", demos, score=score)


class NoInstructions(TwoTexts):
    def make(self, text: Any, demos: Any, score: float) -> Any:
        return Candidate(None, demos, score=score)  # type: ignore[arg-type]  # that is the fault


class Mappings(TwoTexts):
    def make(self, text: Any, demos: Any, score: float) -> Any:
        return {"instructions": text, "demos": demos, "score": score}


class ForeignDemos(TwoTexts):
    def demos(self, task: OptimizationTask) -> Any:
        return tuple({**demo, "mood": "loud"} for demo in super().demos(task))


class LiveDemos(TwoTexts):
    def demos(self, task: OptimizationTask) -> Any:
        return tuple({**demo, "loud": object()} for demo in super().demos(task))


class ScoredExamplesAreDemos(TwoTexts):
    def demos(self, task: OptimizationTask) -> Any:
        return tuple({**example.inputs, **example.outputs} for example in task.dev[:2])


class AllExamplesAreDemos(TwoTexts):
    def demos(self, task: OptimizationTask) -> Any:
        return tuple({**example.inputs, **example.outputs} for example in (*task.train, *task.dev))


class Percent(TwoTexts):
    def make(self, text: Any, demos: Any, score: float) -> Any:
        return Candidate(text, demos, score=100 * score)


class ScoresAreTexts(TwoTexts):
    def make(self, text: Any, demos: Any, score: float) -> Any:
        return Candidate(text, demos, score=f"{score:.2f}")  # type: ignore[arg-type]  # that is the fault


class InventsScores(TwoTexts):
    def measure(self, task: OptimizationTask, runner: Any) -> Any:
        return 0.9


class TellsBetterScores(TwoTexts):
    """Those that it reports on the way are not those that it yields."""

    def propose(self, task: OptimizationTask) -> Iterator[Any]:
        for candidate in super().propose(task):
            task.found(Candidate(candidate.instructions, candidate.demos, score=1.0))
            yield candidate


class SortsTheExamples(TwoTexts):
    def demos(self, task: OptimizationTask) -> Any:
        for example in task.train:
            example.outputs.pop("loud")  # type: ignore[attr-defined]  # that is the fault
        return ()


class SetsTheLanguageModel(TwoTexts):
    def propose(self, task: OptimizationTask) -> Iterator[Any]:
        dspy.configure(lm=task.model.lm)
        yield from super().propose(task)


class WritesLogs(TwoTexts):
    def propose(self, task: OptimizationTask) -> Iterator[Any]:
        Path("optimizer.log").write_text("started")
        yield from super().propose(task)


class Waits(TwoTexts):
    async def propose(self, task: OptimizationTask) -> Any:  # type: ignore[override]  # that is the fault
        return list(super().propose(task))


class CannotCheck:
    propose = TwoTexts.propose


class Suite(OptimizerConformance):
    @pytest.fixture
    def make_optimizer(self, planted: Any) -> Callable[[], Any]:
        made: Callable[[], Any] = planted
        return made


GOOD = TwoTexts
FAULTS = [
    NeverSaysNo, AlwaysSaysNo, SaysNoInOneText, SaysNoWithoutAReason, ChecksWithTrueAndFalse, SwallowsStops,
    GoesOnAfterAStop, SwallowsErrorsOfTheMetric, HidesErrorsOfTheMetric, Chatty, ShowsProgress, Dice, Clock,
    LearnsForever, Nothing, EmptyInstructions, NoInstructions, Mappings, ForeignDemos, LiveDemos,
    ScoredExamplesAreDemos, AllExamplesAreDemos, Percent, ScoresAreTexts, InventsScores, TellsBetterScores,
    SortsTheExamples, SetsTheLanguageModel, WritesLogs, Waits, CannotCheck,
]  # fmt: skip


def clean_up() -> None:
    dspy.configure(lm=None)
