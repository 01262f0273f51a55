"""The study: baseline, search, choice and comparison, from examples to an optimized signature."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from hokusai_core import Budget
from hokusai_core.errors import ExecutionError, OptimizationError
from hokusai_core.plugin_api import LanguageModel, OptimizationExample, OptimizationTask, SignatureSpec
from hokusai_teleprompt.comparison import Comparison, compare, score_of
from hokusai_teleprompt.data_split import FEWEST, DataSplit
from hokusai_teleprompt.example_reader import dataset_hash
from hokusai_teleprompt.metrics.scoring import raw_score, summary_of
from hokusai_teleprompt.optimized_signature import OptimizedSignature, candidate_spec, make_optimized
from hokusai_teleprompt.optimizer_choice import OptimizerChoice
from hokusai_teleprompt.progress import Progress
from hokusai_teleprompt.promotion_rule import PromotionRule
from hokusai_teleprompt.report import Report, Trial
from hokusai_teleprompt.study.call_cache import CallCache
from hokusai_teleprompt.study.candidate_search import CandidatePool, FoundCandidate, search
from hokusai_teleprompt.study.evaluation import Evaluator, Measurement
from hokusai_teleprompt.study.phase_budget import CallCounter, PhaseBudget, PhaseLimits, ResourceLimit, Spent
from hokusai_teleprompt.study.progress_reporter import ProgressReporter
from hokusai_teleprompt.study.stop_signals import StudyFailed
from hokusai_teleprompt.study.study_lm import StudyModels
from hokusai_teleprompt.target_signature import TargetSignature

__all__ = ["Study", "StudyPlan"]

#: Candidates that are measured again before one is chosen.
_FINALISTS = 3


@frozen
class StudyPlan:
    """Everything that a study is about.

    Args:
        target: the signature to improve.
        split: the examples.
        metric: the metric.
        optimizer: the optimizer.
        choice: its name, and why it is the one.
        model: the language model that is optimized for.
        writer: the language model that writes instructions; None for the same.
        resolve: returns further language models by name.
        rule: the gate that a candidate has to pass.
        budget: what all calls are charged to.
        seed: of everything random.
        workers: calls at once.
        journal: file of the checkpoint; None for none.
        progress: is told how far it is.
        notes: what there is to say beforehand.
    """

    target: TargetSignature
    split: DataSplit
    metric: Any
    optimizer: Any
    choice: OptimizerChoice
    model: LanguageModel
    resolve: Callable[[Any], LanguageModel]
    writer: LanguageModel | None = None
    rule: PromotionRule = field(factory=PromotionRule)
    budget: Budget | None = None
    seed: int = 0
    workers: int = 4
    journal: Path | None = None
    progress: Callable[[Progress], None] = field(default=lambda progress: None)
    notes: tuple[str, ...] = ()

    @property
    def spec(self) -> SignatureSpec:
        """The signature to improve."""
        return self.target.spec

    @property
    def name(self) -> str:
        """The name by which it is found."""
        return self.target.name


@define
class _Baseline:
    """What the signature can do as it is."""

    test: Measurement
    dev: Measurement
    #: What measuring ``test`` took, calls that were spared included.
    took: Spent
    seconds: float


class Study:
    """One optimization. Make it, run it once.

    Args:
        plan: what it is about.
    """

    def __init__(self, plan: StudyPlan) -> None:
        self._plan = plan
        self._ledger = CallCounter(plan.budget, sensitive=bool(plan.spec.sensitive))
        self._charged = Spent() if plan.budget is None else Spent(plan.budget.spent.calls, plan.budget.spent)
        self._cost_before = 0.0 if plan.budget is None else plan.budget.spent_cost
        self._journal = CallCache(plan.journal)
        self._models = StudyModels(plan.model, plan.writer, plan.resolve, self._ledger, self._journal)
        self._gate = PhaseBudget(self._ledger)
        self._model = self._models.task(self._gate)
        metric = self._models.metric(plan.metric, self._gate, plan.spec.instructions)
        self._evaluator = Evaluator(metric, plan.workers)
        self._reporter = ProgressReporter(plan.progress, self._ledger, max if plan.metric.higher_is_better else min)

    def run(self) -> type[OptimizedSignature]:
        """Return the optimized signature, or the signature as it was where the gate is not passed.

        Raises:
            OptimizationError: it cannot work, or failed; the cause is the first thing that went wrong.
        """
        finished = False
        try:
            optimized, finished = self._run()
            return optimized
        except StudyFailed as failure:
            raise OptimizationError(f"optimizing {self._plan.name}: {failure.problem}") from failure.cause
        finally:
            self._gate.close("the study is over")
            self._journal.close(discard=finished)

    def _run(self) -> tuple[type[OptimizedSignature], bool]:
        plan = self._plan
        baseline = self._baseline()
        stopped = baseline.test.stopped or baseline.dev.stopped
        findings = CandidatePool(lambda: self._ledger.spent.calls, self._on_found)
        if stopped is None:
            stopped = self._search(baseline, findings)
        new = findings.new(plan.spec)
        if not new and stopped is None and not findings.everything():
            raise OptimizationError(
                f"{plan.choice.name} came back without a candidate for {plan.name}"
            ) from self._ledger.first_error
        chosen = self._choose(new, findings) if new else None
        trials = self._trials(baseline, findings, chosen)
        if chosen is None:
            verdict = (
                "not promoted: no candidate was found" if stopped else "not promoted: nothing beat it in the search"
            )
            report = self._report(baseline, trials, None, (False, verdict), stopped, (baseline.test.failures, 0))
            return self._as_it_was(report, None), stopped is None
        made = self._made(chosen)
        after = self._measure("comparison", made, plan.split.test)
        stopped = stopped or after.stopped
        comparison = self._compare(baseline.test, after)
        verdict_ = self._verdict(comparison)
        invalid = (baseline.test.failures, after.failures)
        report = self._report(baseline, trials, comparison, verdict_, stopped, invalid)
        candidate = make_optimized(made, report, base=plan.target.base, base_name=plan.name, promoted=verdict_[0])
        finished = stopped is None
        if verdict_[0] or not plan.split.test:
            return candidate, finished
        return self._as_it_was(report, candidate), finished

    # -- phases -------------------------------------------------------------------------------------------------

    def _baseline(self) -> _Baseline:
        plan, started = self._plan, time.monotonic()
        test = self._measure("baseline", plan.spec, plan.split.test)
        took, seconds = self._ledger.spent, time.monotonic() - started
        dev = Measurement((), test.stopped)
        if test.stopped is None:
            dev = self._measure("baseline", plan.spec, plan.split.dev)
        if dev.outcomes:
            self._reporter.scored(score_of(self._evaluator.metric, plan.split.dev, dev, self._worst(dev)))
        return _Baseline(test, dev, took, seconds)

    def _search(self, baseline: _Baseline, findings: CandidatePool) -> str | None:
        plan = self._plan
        self._reporter.begin("search")
        gate = PhaseBudget(self._ledger, self._allowance(baseline))
        judge = Evaluator(self._models.metric(plan.metric, gate, plan.spec.instructions), plan.workers)

        def metric(expected: Mapping[str, Any], outputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> float:
            try:
                return judge.grade(OptimizationExample(inputs, expected), outputs)
            except ExecutionError:
                return 0.0  # a judge that fails now and then; the ledger ends the search where it is dead

        task = OptimizationTask(
            signature=plan.spec,
            train=plan.split.train,
            dev=plan.split.dev,
            metric=metric,
            model=self._models.task(gate),
            seed=plan.seed,
            workdir=None,
            prompt_model=self._models.writer(gate),
            workers=plan.workers,
            found=findings.add,
        )
        try:
            return search(plan.optimizer, plan.choice.name, task, findings)
        finally:
            gate.close("the search is over")

    def _choose(self, new: list[FoundCandidate], findings: CandidatePool) -> FoundCandidate:
        """Return the finding that scores best on the examples to choose by, measured as it would be executed."""
        if not self._plan.split.dev:
            latest = findings.latest()
            return latest if latest is not None and latest in new else new[-1]
        scored = sorted((item for item in new if item.candidate.score is not None), key=_reported, reverse=True)
        unscored = [item for item in new if item.candidate.score is None]
        finalists = [*scored[:_FINALISTS], *unscored[-_FINALISTS:]]
        return max(finalists, key=lambda item: (self._on_dev(item), -len(item.candidate.demos)))

    def _on_dev(self, item: FoundCandidate) -> float:
        measured = self._measure("choice", self._made(item), self._plan.split.dev)
        if not measured.complete:
            return item.candidate.score if item.candidate.score is not None else -math.inf
        goods = measured.goods(self._worst(measured))
        return sum(goods) / len(goods)

    def _measure(self, phase: str, spec: SignatureSpec, examples: tuple[OptimizationExample, ...]) -> Measurement:
        self._reporter.begin(phase, len(examples))
        return self._evaluator.run(spec, self._model, examples, self._reporter.step)

    def _worst(self, *measurements: Measurement) -> float:
        return self._evaluator.worst(*measurements)

    def _compare(self, before: Measurement, after: Measurement) -> Comparison | None:
        plan = self._plan
        return compare(
            self._evaluator.metric,
            plan.split.test,
            before,
            after,
            worst=self._worst(before, after),
            confidence=plan.rule.confidence,
            seed=plan.seed,
        )

    def _verdict(self, comparison: Comparison | None) -> tuple[bool, str]:
        rule, held_out = self._plan.rule, len(self._plan.split.test)
        if comparison is None:
            if held_out:
                return False, "not promoted: the comparison was stopped before it began"
            return rule.verdict(None)
        compared = len(comparison.examples)
        if compared < min(held_out, max(FEWEST, math.ceil(held_out / 2))):
            return False, f"not promoted: only {compared} of {held_out} held-out examples could be compared"
        return rule.verdict(comparison.paired)

    # -- money --------------------------------------------------------------------------------------------------

    def _allowance(self, baseline: _Baseline) -> PhaseLimits:
        """Return what the search may use, so that the comparison can be paid for."""
        budget, held_out = self._plan.budget, len(self._plan.split.test)
        if budget is None:
            return PhaseLimits()
        took, now = baseline.took, self._ledger.spent
        later = held_out * math.ceil((took.calls + took.replayed) / held_out) if held_out else 0
        before = self._charged.usage
        # Demos make prompts longer than those of the baseline; how much, nobody knows yet.
        return PhaseLimits(
            calls=None if budget.calls is None else budget.calls - before.calls - later,
            tokens=_ceiling(budget.tokens, before.total_tokens, now.usage.total_tokens, 3 * took.usage.total_tokens),
            cost=_ceiling(budget.cost, self._cost_before, now.cost or 0.0, 3 * (took.cost or 0.0)),
            seconds=_ceiling(budget.seconds, 0.0, time.monotonic() - self._ledger.since, 2 * baseline.seconds),
            begun=now.calls,
            later=later,
        )

    # -- results ------------------------------------------------------------------------------------------------

    def _made(self, item: FoundCandidate) -> SignatureSpec:
        plan = self._plan
        provenance = {
            "optimizer": plan.choice.name,
            "metric": summary_of(plan.metric)["name"],
            "model": str(plan.model.lm.model),
            "seed": plan.seed,
            "base": {"name": plan.name, "version": plan.spec.version, "fingerprint": plan.spec.fingerprint},
            "dataset_hash": self._dataset_hash(),
        }
        return candidate_spec(plan.spec, item.candidate, provenance)

    def _as_it_was(self, report: Report, candidate: type[OptimizedSignature] | None) -> type[OptimizedSignature]:
        plan = self._plan
        return make_optimized(
            plan.spec, report, base=plan.target.base, base_name=plan.name, promoted=False, candidate=candidate
        )

    def _trials(self, baseline: _Baseline, findings: CandidatePool, chosen: FoundCandidate | None) -> tuple[Trial, ...]:
        plan, metric = self._plan, self._evaluator.metric
        dev = (
            score_of(metric, plan.split.dev, baseline.dev, self._worst(baseline.dev)) if baseline.dev.outcomes else None
        )
        first = Trial(
            "baseline", dev, baseline.took.calls, len(plan.spec.demos), plan.spec.instructions, plan.spec.fingerprint
        )
        rest = (
            Trial(
                label=item.candidate.label or f"candidate {number}",
                score=None if item.candidate.score is None else raw_score(metric, item.candidate.score),
                calls=item.calls,
                demos=len(item.candidate.demos),
                instructions=item.candidate.instructions,
                fingerprint=self._made(item).fingerprint,
                chosen=item is chosen,
            )
            for number, item in enumerate(findings.new(plan.spec), 1)
        )
        return first, *rest

    def _report(
        self,
        baseline: _Baseline,
        trials: tuple[Trial, ...],
        comparison: Comparison | None,
        verdict: tuple[bool, str],
        stopped: str | None,
        invalid: tuple[int, int],
    ) -> Report:
        plan, spent = self._plan, self._ledger.spent
        split, paired = plan.split, None if comparison is None else comparison.paired
        alone = score_of(self._evaluator.metric, split.test, baseline.test, self._worst(baseline.test))
        return Report(
            signature=plan.name,
            optimizer=plan.choice.name,
            reason=plan.choice.reason,
            metric=summary_of(plan.metric),
            model=str(plan.model.lm.model),
            seed=plan.seed,
            sizes={"train": len(split.train), "dev": len(split.dev), "test": len(split.test)},
            stratified_by=split.stratified_by,
            baseline_score=alone if comparison is None else comparison.baseline,
            candidate_score=None if comparison is None else comparison.candidate,
            improvement=None if paired is None else paired.difference,
            interval=None if paired is None else (paired.low, paired.high),
            confidence=plan.rule.confidence,
            p_value=None if paired is None else paired.p_value,
            test=None if paired is None else paired.test,
            promoted=verdict[0],
            verdict=verdict[1],
            trials=trials,
            examples=() if comparison is None else comparison.examples,
            calls=spent.calls,
            replayed=spent.replayed,
            failed_calls=spent.failed,
            usage=spent.usage,
            cost=spent.cost,
            seconds=time.monotonic() - self._ledger.since,
            invalid=invalid,
            stopped=stopped,
            dataset_hash=self._dataset_hash(),
            notes=(*plan.notes, *split.notes, *self._remarks(stopped, invalid)),
        )

    def _remarks(self, stopped: str | None, invalid: tuple[int, int]) -> list[str]:
        remarks = []
        if self._journal.found:
            remarks.append(f"continued: {self._journal.found} calls of an earlier run were not paid for again")
        if any(invalid):
            remarks.append(
                f"held-out answers that did not fit: {invalid[0]} of the baseline, {invalid[1]} of the candidate"
            )
        if stopped is not None and self._plan.journal is not None:
            remarks.append("run the same again to continue: calls that were made are not paid for again")
        return remarks

    def _dataset_hash(self) -> str:
        split = self._plan.split
        return dataset_hash(split.train, split.dev, split.test)

    def _on_found(self, finding: FoundCandidate, count: int) -> None:
        good = finding.candidate.score
        score = None if good is None else raw_score(self._plan.metric, good)
        self._reporter.scored(score, finding.candidate.label)
        self._reporter.step()


def _reported(item: FoundCandidate) -> float:
    return item.candidate.score or 0.0


def _ceiling(total: float | None, before: float, begun: float, kept: float) -> ResourceLimit | None:
    """Return the ceiling of the study, of a budget of which others have used something ``before``."""
    return None if total is None else ResourceLimit(total - before, begun, kept)
