"""StudyPhases: gives each phase of a study its part of the budget, and measures signatures in it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from hokusai_core import Budget, LanguageModel, SignatureSpec
from hokusai_core.errors import ExecutionError
from hokusai_core.plugin_api import OptimizationExample
from hokusai_teleprompt.progress import ProgressReporter
from hokusai_teleprompt.study.call_cache import CallCache
from hokusai_teleprompt.study.call_rate import CallRate
from hokusai_teleprompt.study.evaluation import Evaluator, Measurement
from hokusai_teleprompt.study.phase_budget import CallCounter, PhaseBudget, PhaseLimits, ResourceLimit
from hokusai_teleprompt.study.study_lm import StudyModels
from hokusai_teleprompt.study.study_sizes import Resources
from hokusai_teleprompt.target_signature import TargetSignature

__all__ = ["Phase", "StudyPhases"]

#: The largest part of what is left that a search leaves to the comparison.
_MOST_KEPT = 0.9
#: How much more than measured the comparison may take.
_MARGIN = 1.25


@frozen(eq=False)
class Phase:
    """A part of a study with a budget of its own.

    Args:
        name: its name for progress.
        budget: refuses calls when its part is used up.
        model: the language model that is optimized for, held to the budget.
        writer: the language model that writes instructions; None for ``model``.
        evaluator: measures with the metric, whose own calls are held to the budget as well.
    """

    name: str
    budget: PhaseBudget
    model: LanguageModel
    writer: LanguageModel | None
    evaluator: Evaluator

    def metric(self, expected: Mapping[str, Any], outputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> float:
        """Return how good outputs are, as optimizers ask for it."""
        try:
            return self.evaluator.grade(OptimizationExample(inputs, expected), outputs)
        except ExecutionError:
            return 0.0  # a judge may fail now and then; the counter ends the search if it is dead


class StudyPhases:
    """Makes the phases of a study, and remembers what examples take in them.

    Args:
        budget: what all calls are charged to, None for no bound.
        counter: counts calls.
        models: makes the language models.
        reporter: reports the progress.
        metric: the metric of the study.
        instructions: the task in words, for metrics that ask a language model.
        workers: calls at once.
    """

    def __init__(
        self,
        budget: Budget | None,
        counter: CallCounter,
        models: StudyModels,
        reporter: ProgressReporter,
        *,
        metric: Any,
        instructions: str,
        workers: int,
    ) -> None:
        self.budget, self.counter, self.reporter = budget, counter, reporter
        self._models, self._metric, self._instructions, self._workers = models, metric, instructions, workers
        self._open: list[PhaseBudget] = []

    @property
    def left(self) -> Resources:
        """What is left of the budget."""
        return Resources.of(self.budget, self.counter.seconds)

    def begin(self, name: str, limits: PhaseLimits | None = None, answers: CallCache | None = None) -> Phase:
        """Begin a phase.

        Args:
            name: its name for progress.
            limits: its part of the budget; None for all that is left.
            answers: where the answers to its calls are kept; None for the checkpoint of the study.
        """
        budget = PhaseBudget(self.counter, limits or self.part(CallRate(0.0), 0))
        self._open.append(budget)
        return Phase(
            name,
            budget,
            self._models.task(budget, answers),
            self._models.writer(budget),
            Evaluator(self._models.metric(self._metric, budget, self._instructions, answers), self._workers),
        )

    def part(self, later: CallRate, examples: int, share: float = 1.0) -> PhaseLimits:
        """Return the limits of a phase after which examples have to be measured.

        Args:
            later: what one of these examples takes.
            examples: how many they are.
            share: the share of what is left that the phase may use, when these examples are taken off.
        """
        left, now = self.left, self.counter.spent
        kept = [amount * examples for amount in (later.calls, later.tokens, later.cost or 0.0, later.seconds)]
        calls = None
        if left.calls is not None:
            calls = now.calls + math.floor(share * max(0.0, left.calls - kept[0]))

        def limit(have: float | None, used: float, kept_back: float) -> ResourceLimit | None:
            if have is None:
                return None
            reserve = min(_MARGIN * kept_back, _MOST_KEPT * have)
            return ResourceLimit(used + reserve + share * (have - reserve), used, reserve, _MOST_KEPT)

        return PhaseLimits(
            calls=calls if examples else None,
            tokens=limit(left.tokens, now.usage.total_tokens, kept[1]),
            cost=limit(left.cost, now.cost or 0.0, kept[2]),
            seconds=limit(left.seconds, self.counter.seconds, kept[3]),
            begun=now.calls,
            later=math.ceil(later.calls * examples),
        )

    def measure(
        self,
        phase: Phase,
        target: TargetSignature,
        spec: SignatureSpec,
        examples: Sequence[OptimizationExample],
    ) -> tuple[Measurement, CallRate | None]:
        """Measure a signature, and return what an example took; None for the latter if too few calls were made."""
        self.reporter.begin(phase.name, len(examples))
        started, before = self.counter.seconds, self.counter.spent
        measured = phase.evaluator.run(target.runner(spec, phase.model), examples, self.reporter.step)
        seconds, after = self.counter.seconds - started, self.counter.spent
        done = sum(outcome is not None for outcome in measured.outcomes)
        calls = after.calls - before.calls
        if not done or 2 * calls < done:
            return measured, None
        # Calls that were replayed took nothing, and say nothing of how long a call takes.
        whole = (calls + after.replayed - before.replayed) / done
        cost = None if after.cost is None else (after.cost - (before.cost or 0.0)) / calls * whole
        tokens = (after.usage.total_tokens - before.usage.total_tokens) / calls * whole
        return measured, CallRate(tokens, cost, seconds / calls * whole, whole)

    def close(self) -> None:
        """Refuse every further call of every phase."""
        for budget in self._open:
            budget.close("the study is over")
