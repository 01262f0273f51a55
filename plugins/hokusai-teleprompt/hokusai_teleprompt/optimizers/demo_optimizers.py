"""Optimizers of DSPy that choose demos: examples, and correct answers of the model."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import optuna
from dspy.teleprompt import (
    BootstrapFewShot,
    BootstrapFewShotWithOptuna,
    BootstrapFewShotWithRandomSearch,
)

from hokusai_teleprompt.optimizers.dspy_optimizer import DspyOptimizer, DspyTask

__all__ = ["BootstrapDemos", "BootstrapOptuna", "BootstrapRandomSearch"]


class _DemoOptimizer(DspyOptimizer):
    """An optimizer that only makes demos, so that a result without demos is a failure."""

    makes_demos = True

    def _problem(self, program: Any, messages: Sequence[str]) -> str | None:
        problem = super()._problem(program, messages)
        if problem is None and not any(predictor.demos for predictor in program.predictors()):
            why = f"; first error: {messages[0]}" if messages else ""
            return f"it found no demo, because no answer was good enough{why}"
        return problem

    def _shuffled(self, dspy_task: DspyTask) -> list[Any]:
        train = list(dspy_task.train)
        random.Random(dspy_task.task.seed).shuffle(train)  # noqa: S311  # DSPy's own draw is the same for every seed
        return train


class BootstrapDemos(_DemoOptimizer):
    """``dspy.BootstrapFewShot``: good answers of the model as demos, and examples beside them.

    Args:
        max_bootstrapped_demos: answers of the model at most.
        max_labeled_demos: demos in all at most.
        metric_threshold: how good an answer must be to become a demo, from 0 to 1.
        max_rounds: tries for each example.
    """

    name = "bootstrap_fewshot"
    least_dev = 0

    def __init__(
        self,
        max_bootstrapped_demos: int = 4,
        max_labeled_demos: int = 16,
        metric_threshold: float = 0.8,
        max_rounds: int = 1,
    ) -> None:
        self.options = {
            "max_bootstrapped_demos": max_bootstrapped_demos,
            "max_labeled_demos": max_labeled_demos,
            "metric_threshold": metric_threshold,
            "max_rounds": max_rounds,
        }

    def _compile(self, dspy_task: DspyTask) -> Any:
        options = dspy_task.demo_options(self.options)
        optimizer = BootstrapFewShot(metric=dspy_task.metric, **options)
        return optimizer.compile(dspy_task.student(), trainset=self._shuffled(dspy_task))


class BootstrapRandomSearch(DspyOptimizer):
    """``dspy.BootstrapFewShotWithRandomSearch``: tries many sets of demos and keeps the best.

    One of the sets is empty, so a result without demos is valid: nothing else was better.

    Args:
        num_candidate_programs: sets that are drawn at random, in addition to three that are not.
        max_bootstrapped_demos: answers of the model in a set at most.
        max_labeled_demos: demos in a set at most.
        metric_threshold: how good an answer must be to become a demo, from 0 to 1.
        stop_at_score: score in percent at which the search ends.
    """

    name = "bootstrap_random_search"
    makes_demos = True

    def __init__(
        self,
        num_candidate_programs: int = 8,
        max_bootstrapped_demos: int = 4,
        max_labeled_demos: int = 16,
        metric_threshold: float = 0.8,
        stop_at_score: float | None = 100.0,
    ) -> None:
        self.options = {
            "num_candidate_programs": num_candidate_programs,
            "max_bootstrapped_demos": max_bootstrapped_demos,
            "max_labeled_demos": max_labeled_demos,
            "metric_threshold": metric_threshold,
            "stop_at_score": stop_at_score,
        }

    def teleprompter(self, dspy_task: DspyTask) -> Any:
        """Return the optimizer of DSPy."""
        options = dspy_task.demo_options(self.options)
        return BootstrapFewShotWithRandomSearch(metric=dspy_task.metric, num_threads=dspy_task.task.workers, **options)

    def _compile(self, dspy_task: DspyTask) -> Any:
        train = list(dspy_task.train)
        random.Random(dspy_task.task.seed).shuffle(train)  # noqa: S311
        return self.teleprompter(dspy_task).compile(dspy_task.student(), trainset=train, valset=dspy_task.dev)


class _SeededOptuna(BootstrapFewShotWithOptuna):
    """DSPy's optimizer with a seed, because its own study starts differently each time."""

    def __init__(self, seed: int, **options: Any) -> None:
        super().__init__(**options)
        self.seed = seed

    def compile(self, student: Any, *, teacher: Any = None, max_demos: int, trainset: Any, valset: Any = None) -> Any:
        """Bootstrap demos and let Optuna choose the one that helps most."""
        self.trainset, self.valset = trainset, valset or trainset
        self.student = student.reset_copy()
        bootstrap = BootstrapFewShot(
            metric=self.metric, max_bootstrapped_demos=max_demos, max_labeled_demos=self.max_labeled_demos
        )
        self.compiled_teleprompter = bootstrap.compile(self.student, teacher=teacher, trainset=trainset)
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=self.seed))
        study.optimize(self.objective, n_trials=self.num_candidate_sets)
        return study.best_trial.user_attrs["program"]


class BootstrapOptuna(_DemoOptimizer):
    """``dspy.BootstrapFewShotWithOptuna``: the one demo that helps most, found by Optuna.

    Args:
        num_candidate_programs: demos that are tried.
        max_demos: answers of the model among which it chooses.
        max_labeled_demos: examples among which it chooses.
    """

    name = "bootstrap_optuna"

    def __init__(self, num_candidate_programs: int = 8, max_demos: int = 4, max_labeled_demos: int = 16) -> None:
        self.candidates, self.max_demos, self.max_labeled = num_candidate_programs, max_demos, max_labeled_demos

    def _compile(self, dspy_task: DspyTask) -> Any:
        optimizer = _SeededOptuna(
            dspy_task.task.seed,
            metric=dspy_task.metric,
            **dspy_task.demo_options({"max_labeled_demos": self.max_labeled}),
            num_candidate_programs=self.candidates,
            num_threads=dspy_task.task.workers,
        )
        return optimizer.compile(
            dspy_task.student(), max_demos=self.max_demos, trainset=self._shuffled(dspy_task), valset=dspy_task.dev
        )
