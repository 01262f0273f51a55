"""DSPy's BetterTogether: several optimizers, one after the other."""

from __future__ import annotations

from typing import Any

from dspy.teleprompt import BetterTogether

from hokusai_teleprompt.optimizers.demo_optimizers import BootstrapRandomSearch
from hokusai_teleprompt.optimizers.dspy_optimizer import DspyOptimizer, DspyTask
from hokusai_teleprompt.optimizers.instruction_optimizers import Copro

__all__ = ["Together"]


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
