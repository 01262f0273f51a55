"""AutoSearch: what ``auto`` does. Cheap candidates first, then searches with what is left of the budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define, evolve, field

from hokusai_core.errors import OptimizationError
from hokusai_core.plugin_api import Candidate, OptimizationExample, OptimizationTask, SignatureSpec
from hokusai_teleprompt.study.call_rate import CallPace, CallRate
from hokusai_teleprompt.study.candidate_search import CandidatePool, candidate_key, search
from hokusai_teleprompt.study.evaluation import Measurement
from hokusai_teleprompt.study.halving import Contender, halve, shown_demos
from hokusai_teleprompt.study.phase_budget import StudyFailed
from hokusai_teleprompt.study.study_phases import Phase, StudyPhases
from hokusai_teleprompt.study.study_sizes import FIRST_ROUND, dearest
from hokusai_teleprompt.target_signature import TargetSignature

__all__ = ["CHEAP", "AutoSearch", "portfolio_of"]

#: Optimizer and number of demos of the cheap candidates, in the order in which they are wanted.
_PORTFOLIO = (
    ("labeled_fewshot", 8),
    ("knn_fewshot", 4),
    ("labeled_fewshot", 16),
    ("knn_fewshot", 8),
    ("labeled_fewshot", 4),
)
#: Optimizers of the portfolio.
CHEAP = frozenset(name for name, _ in _PORTFOLIO)
#: Calls for drawing one set of demos, in addition to those for scoring it.
_DRAWING = 6
#: Sets of demos that random search draws at most, in addition to three that are always tried.
_MOST_SETS, _FIXED_SETS = 8, 3
#: Instructions that are written at the least and at most.
_FEWEST_TEXTS, _MOST_TEXTS = 3, 6
#: Share of what is left that random search may use if instructions can be searched with the rest.
_SETS_SHARE = 0.6

Create = Callable[[str, Mapping[str, Any]], Any]


def portfolio_of(task: OptimizationTask, create: Create) -> list[Contender]:
    """Return the cheap candidates for a task: labelled demos and nearest demos, each once.

    Args:
        task: the task.
        create: makes an optimizer by its name and options.
    """
    found: dict[str, Contender] = {}
    for name, count in _PORTFOLIO:
        optimizer = create(name, {"k": count})
        for candidate in () if optimizer.check(task) else optimizer.propose(task):
            found.setdefault(candidate_key(candidate), Contender(candidate, name))
    return list(found.values())


@define(eq=False)
class AutoSearch:
    """The search of ``auto``.

    Args:
        phases: gives each step its part of the budget.
        target: the signature.
        pool: collects what is found.
        create: makes an optimizer by its name and options.
        spec_of: returns the signature of a candidate.
        task_of: returns the task of an optimizer in a phase, with the signature to begin with.
        dev: the examples to choose by.
        held_out: how many examples have to be measured after the search.
        perfect: how good an answer can be at best, infinity where nothing bounds it.
        pace: what an example takes, None if nothing bounds the budget.

    Attributes:
        notes: steps that were left out or failed, for the report.
    """

    phases: StudyPhases
    target: TargetSignature
    pool: CandidatePool
    create: Create
    spec_of: Callable[[Candidate], SignatureSpec]
    task_of: Callable[[Phase, SignatureSpec], OptimizationTask]
    dev: Sequence[OptimizationExample]
    held_out: int
    perfect: float
    pace: CallPace | None
    notes: list[str] = field(factory=list)

    def run(self, portfolio: Sequence[Contender], spec: SignatureSpec) -> str | None:
        """Search, and put what is found into the pool; return why it was stopped, None if it was not.

        Args:
            portfolio: the cheap candidates.
            spec: the signature as it is.
        """
        if len(portfolio) == 1:
            self.pool.add(portfolio[0].candidate, portfolio[0].optimizer)
            return None
        leader, stopped = self._try(portfolio) if portfolio else (None, None)
        if stopped is not None or (leader is not None and leader.mean >= self.perfect - 1e-9):
            return stopped
        return self._search_sets(leader, spec) or self._search_instructions(leader, spec)

    def _try(self, portfolio: Sequence[Contender]) -> tuple[Contender | None, str | None]:
        """Try the portfolio, and return the best of it."""
        later = dearest([self._rate(item.candidate) for item in portfolio])
        phase, dev = self.phases.begin("search", self.phases.part(later, self.held_out)), self.dev

        def measure(item: Contender, examples: Sequence[OptimizationExample]) -> Measurement:
            measured, rate = self.phases.measure(phase, self.target, self.spec_of(item.candidate), examples)
            item.rate = rate or item.rate
            return measured

        try:
            ranked, stopped = halve(portfolio, dev, measure, phase.evaluator.worst, FIRST_ROUND)
        finally:
            phase.budget.close("the portfolio is tried")
            self.phases.reporter.begin("search")
            for item in portfolio:
                done = len(item.goods())
                partial = done < len(dev)
                label = f"{item.candidate.label} (on {done} of {len(dev)})" if partial else item.candidate.label
                if done:
                    found = evolve(item.candidate, score=item.mean, label=label)
                    self.pool.add(found, item.optimizer, partial=partial, goods=item.goods())
        return (ranked[0] if ranked else None), stopped

    def _search_sets(self, leader: Contender | None, spec: SignatureSpec) -> str | None:
        """Search sets of demos with the model's own good answers among them."""
        demos = min(16, 8 if leader is None else shown_demos(leader.candidate))
        rate = self._rate(demos)
        sets = self._affordable(rate, leader) / (len(self.dev) + _DRAWING)
        if sets < 2:
            # Something has to be found where no cheap candidate is possible, as with the predictors of a program.
            return self._run("bootstrap_fewshot", {}, rate, 1.0, spec) if self.pool.latest() is None else None
        drawn = int(max(0, min(_MOST_SETS, sets - _FIXED_SETS)))
        share = _SETS_SHARE if math.isinf(sets) or _SETS_SHARE * sets >= _FIXED_SETS + 1 else 1.0
        options = {"num_candidate_programs": drawn, "max_labeled_demos": demos, "max_bootstrapped_demos": min(4, demos)}
        return self._run("bootstrap_random_search", options, self._later(rate, leader), share, spec)

    def _search_instructions(self, leader: Contender | None, spec: SignatureSpec) -> str | None:
        """Search instructions, with the demos of the leader if they are the same for each call."""
        demos = () if leader is None or leader.candidate.nearest_demos else leader.candidate.demos
        rate = self._rate(len(demos))
        texts = self._affordable(rate, leader) / (len(self.dev) + 1)
        if texts < _FEWEST_TEXTS:
            return None
        begin_with = spec.evolve(demos=demos, nearest_demos=None) if demos else spec
        options = {"breadth": int(min(_MOST_TEXTS, texts)), "depth": 1}
        return self._run("copro", options, self._later(rate, leader), 1.0, begin_with)

    def _run(
        self, name: str, options: Mapping[str, Any], later: CallRate, share: float, spec: SignatureSpec
    ) -> str | None:
        phase = self.phases.begin("search", self.phases.part(later, self.held_out, share))
        task, optimizer = self.task_of(phase, spec), self.create(name, options)
        if optimizer.check(task):
            return None
        self.pool.optimizer = name
        try:
            return search(optimizer, name, task, self.pool)
        except OptimizationError as error:
            if isinstance(error.__context__, StudyFailed):  # the metric raised, or the language model is dead
                raise
            quoted = spec.sensitive or not str(error)  # an error may quote the answer, and that a sensitive value
            self.notes.append(f"{name} found nothing" if quoted else str(error).splitlines()[0])
            return None
        finally:
            phase.budget.close("the search is over")

    def _rate(self, candidate: Candidate | int) -> CallRate:
        """Return what an example takes with a candidate, or with a number of demos that stay."""
        if self.pace is None:
            return CallRate(0.0)
        return self.pace.of(candidate) if isinstance(candidate, int) else self.pace.of_candidate(candidate)

    def _later(self, rate: CallRate, leader: Contender | None) -> CallRate:
        """Return what an example may take in the comparison: that of the leader, or of what is searched."""
        return dearest([rate, *([leader.rate] if leader is not None and leader.rate is not None else [])])

    def _affordable(self, rate: CallRate, leader: Contender | None) -> float:
        """Return for how many examples at a rate the budget lasts, when the comparison is taken off."""
        if self.pace is None:
            return math.inf
        return self.phases.left.without(self._later(rate, leader), self.held_out).examples(rate)
