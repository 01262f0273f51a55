"""Optimizers of DSPy that write instructions. Some of them choose demos as well, and one runs several in turn."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dspy
from dspy.teleprompt import COPRO, GEPA, SIMBA, BetterTogether, MIPROv2
from dspy.teleprompt.gepa import InstructionProposer

from hokusai_core.plugin_api import OptimizationTask, jsonable
from hokusai_teleprompt.optimizers.demo_optimizers import BootstrapRandomSearch
from hokusai_teleprompt.optimizers.dspy_optimizer import DspyOptimizer, DspyTask
from hokusai_teleprompt.study.candidate_search import candidate_key

__all__ = ["Copro", "Gepa", "Mipro", "Simba", "Together"]

#: With more examples to choose by, MIPROv2 first tries candidates on some of them.
_MINIBATCH_FROM = 50


class Mipro(DspyOptimizer):
    """``dspy.MIPROv2``: proposes instructions and sets of demos, and searches their combinations with Optuna.

    Args:
        num_candidates: instructions, and sets of demos.
        num_trials: combinations that are tried; None for a number that suits the candidates.
        max_bootstrapped_demos: answers of the model in a set at most. If this and ``max_labeled_demos`` are 0, it
            writes instructions only.
        max_labeled_demos: examples in a set at most.
        metric_threshold: how good an answer must be to become a demo, from 0 to 1.
    """

    name = "mipro_v2"
    least_train = 2

    def __init__(
        self,
        num_candidates: int = 6,
        num_trials: int | None = None,
        max_bootstrapped_demos: int = 4,
        max_labeled_demos: int = 4,
        metric_threshold: float = 0.8,
    ) -> None:
        self.candidates = num_candidates
        self.trials = num_trials
        self.options = {
            "max_bootstrapped_demos": max_bootstrapped_demos,
            "max_labeled_demos": max_labeled_demos,
            "metric_threshold": metric_threshold,
        }

    def _compile(self, dspy_task: DspyTask) -> Any:
        count, student = len(dspy_task.dev), dspy_task.student(keep_demos=True)
        # The formula of MIPROv2, with two choices for each predictor.
        choices = 4 * len(student.predictors()) * math.log2(max(2, self.candidates))
        optimizer = MIPROv2(
            metric=dspy_task.metric,
            prompt_model=dspy_task.prompt_lm,
            task_model=dspy_task.lm,
            auto=None,
            num_candidates=self.candidates,
            num_threads=dspy_task.task.workers,
            seed=dspy_task.task.seed,
            **dspy_task.demo_options(self.options),
        )
        return optimizer.compile(
            student,
            trainset=dspy_task.train,
            valset=dspy_task.dev,
            num_trials=self.trials or int(max(choices, 1.5 * self.candidates)),
            minibatch=count > _MINIBATCH_FROM,
            minibatch_size=min(35, count),
            # It would describe SignatureProgram to the model, and not the task.
            program_aware_proposer=False,
        )


class Copro(DspyOptimizer):
    """``dspy.COPRO``: writes instructions, scores them, and writes new ones from the scores.

    Args:
        breadth: instructions in each round.
        depth: rounds.
        init_temperature: temperature of the writing.
    """

    name = "copro"

    def __init__(self, breadth: int = 6, depth: int = 2, init_temperature: float = 1.2) -> None:
        self.breadth, self.depth, self.temperature = breadth, depth, init_temperature

    def teleprompter(self, dspy_task: DspyTask) -> Any:
        """Return the optimizer of DSPy."""
        same = dspy_task.task.prompt_model is None
        return COPRO(
            prompt_model=None if same else dspy_task.prompt_lm,
            metric=dspy_task.metric,
            breadth=self.breadth,
            depth=self.depth,
            init_temperature=self.temperature,
        )

    def evaluation(self, dspy_task: DspyTask) -> dict[str, Any]:
        """Return the options of its evaluation."""
        return {"num_threads": dspy_task.task.workers, "display_progress": False, "display_table": False}

    def _compile(self, dspy_task: DspyTask) -> Any:
        return self.teleprompter(dspy_task).compile(
            dspy_task.student(keep_demos=True), trainset=dspy_task.dev, eval_kwargs=self.evaluation(dspy_task)
        )


class Simba(DspyOptimizer):
    """``dspy.SIMBA``: finds errors in small batches, and adds rules and demos against them.

    Args:
        bsize: examples in a batch at most.
        num_candidates: candidates in each step.
        max_steps: steps.
        max_demos: demos at most; 0 for rules only.
    """

    name = "simba"
    least_train = 2

    def __init__(self, bsize: int = 16, num_candidates: int = 4, max_steps: int = 4, max_demos: int = 4) -> None:
        self.bsize, self.candidates, self.steps, self.demos = bsize, num_candidates, max_steps, max_demos

    def _compile(self, dspy_task: DspyTask) -> Any:
        examples = dspy_task.judged
        optimizer = SIMBA(
            metric=dspy_task.metric,
            bsize=min(self.bsize, len(examples)),
            num_candidates=self.candidates,
            max_steps=self.steps,
            max_demos=self.demos,
            prompt_model=dspy_task.prompt_lm,
            num_threads=dspy_task.task.workers,
        )
        if self.demos:
            add_demo, add_rule = optimizer.strategies
            optimizer.strategies = [_demos_of(dspy_task.train, add_demo, add_rule), add_rule]
        return optimizer.compile(dspy_task.student(keep_demos=True), trainset=examples, seed=dspy_task.task.seed)

    def _problem(self, program: Any, messages: Sequence[str]) -> str | None:
        problem = super()._problem(program, messages)
        if problem is None and messages and candidate_key(program.candidate()) == program.start:
            return f"no step succeeded; first error: {messages[0]}"
        return problem


def _demos_of(examples: Sequence[Any], add_demo: Callable[..., bool], add_rule: Callable[..., bool]) -> Any:
    """Return a strategy of SIMBA that makes demos of these examples only, and rules of the others.

    A demo of an example to choose by holds the answer to its own question, so the score would say nothing.
    """
    known = {id(example) for example in examples}

    def add_demo_or_rule(bucket: Sequence[Mapping[str, Any]], system: Any, **options: Any) -> bool:
        strategy = add_demo if id(bucket[0]["example"]) in known else add_rule
        return strategy(bucket, system, **options)

    return add_demo_or_rule


class Gepa(DspyOptimizer):
    """``dspy.GEPA``: describes errors in words, and improves the instructions step by step.

    Args:
        max_metric_calls: evaluations of single examples; None for about ten rounds over the examples to choose by.
        reflection_minibatch_size: examples in one reflection.
    """

    name = "gepa"

    def __init__(self, max_metric_calls: int | None = None, reflection_minibatch_size: int = 3) -> None:
        self.calls, self.batch = max_metric_calls, reflection_minibatch_size

    def check(self, task: OptimizationTask) -> Sequence[str]:
        """Return the reasons why this optimizer cannot work on ``task``."""
        if self.calls is not None and self.calls < len(task.dev) + 2 * self.batch:
            fewest = len(task.dev) + 2 * self.batch
            return [*super().check(task), f"gepa needs max_metric_calls of at least {fewest} for these examples"]
        return super().check(task)

    def _compile(self, dspy_task: DspyTask) -> Any:
        def metric(gold: Any, pred: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None) -> Any:
            good, outputs = dspy_task.judge(gold, pred)
            return dspy.Prediction(score=good, feedback=_feedback(gold, outputs, good))

        proposer = _Proposer((dspy_task.task.prompt_model or dspy_task.task.model).adapter or dspy.ChatAdapter())
        optimizer = GEPA(
            metric=metric,
            instruction_proposer=proposer,
            max_metric_calls=self.calls or 10 * (len(dspy_task.dev) + 2 * self.batch),
            reflection_minibatch_size=min(self.batch, len(dspy_task.train)),
            reflection_lm=dspy_task.prompt_lm,
            num_threads=dspy_task.task.workers,
            seed=dspy_task.task.seed,
        )
        program = optimizer.compile(dspy_task.student(keep_demos=True), trainset=dspy_task.train, valset=dspy_task.dev)
        if proposer.first_error is not None and not proposer.succeeded:
            raise proposer.first_error
        return program


class _Proposer(InstructionProposer):
    """DSPy's own proposer, with the adapter of the language model in place of one that asks every model for JSON.

    GEPA goes on when writing an instruction fails. This class remembers the error.
    """

    def __init__(self, adapter: Any) -> None:
        super().__init__(adapter=adapter)
        self.succeeded, self.first_error = 0, None  # type: int, Exception | None

    def __call__(self, candidate: Any, reflective_dataset: Any, components_to_update: Any) -> Any:
        """Return new instructions."""
        try:
            texts = super().__call__(candidate, reflective_dataset, components_to_update)
        except Exception as error:
            self.first_error = self.first_error or error
            raise
        self.succeeded += 1
        return texts


def _feedback(gold: Any, outputs: dict[str, Any], good: float) -> str:
    """Return a description of the error for the model that reflects."""
    if good >= 1.0:
        return "This answer is right."
    wanted = "; ".join(f"{name}: {jsonable(value)}" for name, value in gold.labels().items())
    given = "; ".join(f"{name}: {jsonable(value)}" for name, value in outputs.items()) or "no answer that fits"
    return f"This answer scored {good:.2f} of 1. Expected was {wanted}. Given was {given}."


class Together(DspyOptimizer):
    """``dspy.BetterTogether``: first instructions (COPRO), then demos (random search); keeps the best step.

    Args:
        num_candidate_programs: sets of demos that are drawn at random.
        breadth: instructions in each round.
        depth: rounds of instructions.
        strategy: the order of steps: ``i`` writes instructions, ``d`` chooses demos.
    """

    name = "better_together"

    def __init__(
        self, num_candidate_programs: int = 4, breadth: int = 4, depth: int = 1, strategy: str = "i -> d"
    ) -> None:
        self._demos = BootstrapRandomSearch(num_candidate_programs=num_candidate_programs)
        self._instructions = Copro(breadth=breadth, depth=depth)
        self.strategy = strategy

    def _compile(self, dspy_task: DspyTask) -> Any:
        optimizer = BetterTogether(
            metric=dspy_task.metric, i=self._instructions.teleprompter(dspy_task), d=self._demos.teleprompter(dspy_task)
        )
        student = dspy_task.student(keep_demos=True)
        student.set_lm(dspy_task.lm)
        return optimizer.compile(
            student,
            trainset=dspy_task.train,
            valset=dspy_task.dev,
            num_threads=dspy_task.task.workers,
            seed=dspy_task.task.seed,
            strategy=self.strategy,
            optimizer_compile_args={"i": {"eval_kwargs": self._instructions.evaluation(dspy_task)}},
        )
