"""Study: from a signature and examples to an optimized signature, in four phases.

1. baseline: measures the signature as it is, on the held-out examples and on those to choose by.
2. search: the optimizer looks for candidates, on the examples to learn from and to choose by.
3. choice: the best candidates are measured again, as they would be executed.
4. comparison: the best one and the baseline are compared on the held-out examples, which nothing else has used.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from hokusai_core import Budget, LanguageModel, SignatureSpec
from hokusai_core.errors import ExecutionError, OptimizationError
from hokusai_core.plugin_api import OptimizationExample, OptimizationTask
from hokusai_evaluate.example_reader import dataset_hash
from hokusai_evaluate.metrics.scoring import raw_score, summary_of
from hokusai_teleprompt.certificate import make_certificate
from hokusai_teleprompt.comparison import PromotionRule, score_of
from hokusai_teleprompt.data_split import DataSplit
from hokusai_teleprompt.held_out_comparison import HeldOutResult, compare_held_out, not_compared
from hokusai_teleprompt.optimized_signature import (
    OptimizedSignature,
    candidate_spec,
    instructions_of,
    make_optimized,
)
from hokusai_teleprompt.optimizer_choice import OptimizerChoice
from hokusai_teleprompt.progress import Progress, ProgressReporter
from hokusai_teleprompt.report import Report, TrialResult
from hokusai_teleprompt.study.call_cache import CallCache
from hokusai_teleprompt.study.candidate_search import CandidatePool, FoundCandidate, search
from hokusai_teleprompt.study.evaluation import Evaluator, Measurement
from hokusai_teleprompt.study.phase_budget import (
    CallCounter,
    PhaseBudget,
    PhaseLimits,
    ResourceLimit,
    Spent,
    StudyFailed,
)
from hokusai_teleprompt.study.study_lm import StudyModels
from hokusai_teleprompt.target_signature import TargetSignature

__all__ = ["Study", "StudyPlan"]

#: Candidates that are measured again before one is chosen.
_FINALISTS = 3


@frozen
class StudyPlan:
    """What a study works with.

    Args:
        target: the signature to improve.
        split: the examples.
        metric: the metric.
        metric_given: the metric as it was given, by which it can be made again.
        metric_options: options of the metric.
        optimizer: the optimizer.
        choice: the name of the optimizer, and why it was chosen.
        model: the language model that is optimized for.
        resolve: returns further language models by name.
        writer: the language model that writes instructions; None for ``model``.
        rule: what a candidate has to show to be promoted.
        budget: what all calls are charged to.
        prices: prices that go before those of DSPy, or None.
        seed: of everything random.
        workers: calls at once.
        checkpoint: file that keeps the answers to calls; None for none.
        progress: called with the progress.
        notes: notes for the report.
    """

    target: TargetSignature
    split: DataSplit
    metric: Any
    optimizer: Any
    choice: OptimizerChoice
    model: LanguageModel
    resolve: Callable[[Any], LanguageModel]
    metric_given: Any = None
    metric_options: Mapping[str, Any] = field(factory=dict)
    writer: LanguageModel | None = None
    rule: PromotionRule = field(factory=PromotionRule)
    budget: Budget | None = None
    prices: Any = None
    seed: int = 0
    workers: int = 4
    checkpoint: Path | None = None
    progress: Callable[[Progress], None] = field(default=lambda progress: None)
    notes: tuple[str, ...] = ()


@frozen
class _Baseline:
    """The measurements of the signature as it is.

    Args:
        test: on the held-out examples.
        dev: on the examples to choose by.
        dev_score: its score on these, in units of the metric.
        used: what measuring ``test`` used; calls that were replayed are counted too.
        seconds: how long measuring ``test`` took.
    """

    test: Measurement
    dev: Measurement
    dev_score: float | None
    used: Spent
    seconds: float


@frozen
class _Result:
    """The result of the comparison.

    Args:
        found: what the comparison shows.
        stopped: why the study was stopped early, None where it was not.
        certificate: what its figures can be computed from again, None where there are none.
    """

    found: HeldOutResult
    stopped: str | None
    certificate: Mapping[str, Any] | None = None


class Study:
    """One optimization. Make it, and run it once.

    Args:
        plan: what it works with.

    Raises:
        OptimizationError: another process runs the same study.
    """

    def __init__(self, plan: StudyPlan) -> None:
        self._plan, self._spec, self._name = plan, plan.target.spec, plan.target.name
        self._counter = CallCounter(plan.budget, sensitive=bool(self._spec.sensitive))
        self._charged_before = Spent()
        if plan.budget is not None:
            self._charged_before = Spent(plan.budget.spent.calls, plan.budget.spent, plan.budget.spent_cost)
        self._cache = CallCache(plan.checkpoint)
        self._models = StudyModels(plan.model, plan.writer, plan.resolve, self._counter, self._cache, plan.prices)
        self._budget = PhaseBudget(self._counter)
        self._model = self._models.task(self._budget)
        self._current = plan.target.current(plan.target.runner(self._spec, self._model).module)
        self._metric = self._models.metric(plan.metric, self._budget, self._spec.instructions)
        self._evaluator = Evaluator(self._metric, plan.workers)
        self._reporter = ProgressReporter(plan.progress, self._counter, max if plan.metric.higher_is_better else min)
        self._dataset_hash = dataset_hash(plan.split.train, plan.split.dev, plan.split.test)

    def run(self) -> type[OptimizedSignature]:
        """Return the optimized signature, or the signature as it was if the candidate does not satisfy the rule.

        Raises:
            OptimizationError: it cannot work, or failed; the cause is the first thing that went wrong.
        """
        finished = False
        try:
            optimized = self._run_phases()
            finished = optimized.report.stopped is None
            return optimized
        except StudyFailed as failure:
            raise OptimizationError(f"optimizing {self._name}: {failure.problem}") from failure.cause
        finally:
            self._budget.close("the study is over")
            self._cache.close(discard=finished)

    def _run_phases(self) -> type[OptimizedSignature]:
        baseline = self._measure_baseline()
        pool = CandidatePool(lambda: self._counter.spent.calls, self._on_found)
        stopped = baseline.test.stopped or baseline.dev.stopped or self._search(baseline, pool)
        new = pool.new(self._current)
        if not new and stopped is None and pool.latest() is None:
            raise OptimizationError(
                f"{self._plan.choice.name} came back without a candidate for {self._name}"
            ) from self._counter.first_error
        if not new:
            reason = "no candidate was found" if stopped else "nothing beat it in the search"
            result = _Result(not_compared(reason, baseline.test), stopped)
            return self._optimized(self._plan.target.as_it_is.spec, self._report(baseline, pool, None, result), result)
        chosen = self._choose(new, pool)
        spec = self._spec_of(chosen)
        result = self._compare(baseline, spec, stopped)
        report = self._report(baseline, pool, chosen, result)
        candidate = self._optimized(spec, report, result)
        if result.found.decision.promoted or not self._plan.split.test:
            return candidate
        return self._optimized(self._plan.target.as_it_is.spec, report, result, candidate)

    # -- phases -------------------------------------------------------------------------------------------------

    def _measure_baseline(self) -> _Baseline:
        split, started, before = self._plan.split, time.monotonic(), self._plan.target.as_it_is
        test = self._measure("baseline", before, before.spec, split.test)
        used, seconds = self._counter.spent, time.monotonic() - started
        dev, dev_score = Measurement((), test.stopped), None
        if test.stopped is None:
            dev = self._measure("baseline", before, before.spec, split.dev)
        if dev.outcomes:
            dev_score = score_of(self._metric, split.dev, dev, self._evaluator.worst(dev))
            self._reporter.scored(dev_score)
        return _Baseline(test, dev, dev_score, used, seconds)

    def _search(self, baseline: _Baseline, pool: CandidatePool) -> str | None:
        """Run the optimizer; return why it was stopped, None where it was not."""
        plan = self._plan
        self._reporter.begin("search")
        budget = PhaseBudget(self._counter, self._search_limits(baseline))
        evaluator = Evaluator(self._models.metric(plan.metric, budget, self._spec.instructions), plan.workers)

        def metric(expected: Mapping[str, Any], outputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> float:
            try:
                return evaluator.grade(OptimizationExample(inputs, expected), outputs)
            except ExecutionError:
                return 0.0  # a judge may fail now and then; the counter ends the search if it is dead

        task = OptimizationTask(
            signature=self._spec,
            train=plan.split.train,
            dev=plan.split.dev,
            metric=metric,
            model=self._models.task(budget),
            seed=plan.seed,
            prompt_model=self._models.writer(budget),
            workers=plan.workers,
            found=pool.add,
            program=plan.target.runner(self._spec, self._model).module,
        )
        try:
            return search(plan.optimizer, plan.choice.name, task, pool)
        finally:
            budget.close("the search is over")

    def _choose(self, new: list[FoundCandidate], pool: CandidatePool) -> FoundCandidate:
        """Return the candidate that scores best on the examples to choose by."""
        if not self._plan.split.dev:
            latest = pool.latest()
            return latest if latest is not None and latest in new else new[-1]
        scored = [found for found in new if found.candidate.score is not None]
        scored.sort(key=lambda found: found.candidate.score or 0.0, reverse=True)
        unscored = [found for found in new if found.candidate.score is None]
        finalists = [*scored[:_FINALISTS], *unscored[-_FINALISTS:]]
        return max(finalists, key=lambda found: (self._dev_goodness(found), -found.candidate.demo_count))

    def _dev_goodness(self, found: FoundCandidate) -> float:
        measured = self._measure("choice", self._plan.target, self._spec_of(found), self._plan.split.dev)
        if not measured.complete:
            return found.candidate.score if found.candidate.score is not None else -math.inf
        goods = measured.goods(self._evaluator.worst(measured))
        return sum(goods) / len(goods)

    def _compare(self, baseline: _Baseline, spec: SignatureSpec, stopped: str | None) -> _Result:
        plan, held_out = self._plan, self._plan.split.test
        after = self._measure("comparison", plan.target, spec, held_out)
        found = compare_held_out(
            self._spec,
            self._metric,
            held_out,
            baseline.test,
            after,
            rule=plan.rule,
            seed=plan.seed,
            refusals=plan.split.refusals,
            keys=[""] * len(held_out) if self._spec.sensitive else None,  # values could be guessed by their digests
        )
        certificate = None
        if found.comparison is not None:
            certificate = make_certificate(
                spec,
                plan.split,
                (baseline.test, after),
                found,
                metric=plan.metric,
                given=plan.metric_given,
                options=plan.metric_options,
                rule=plan.rule,
                seed=plan.seed,
                baseline=plan.target.as_it_is.spec.fingerprint,
            )
        return _Result(found, stopped or after.stopped, certificate)

    def _measure(
        self,
        phase: str,
        target: TargetSignature,
        spec: SignatureSpec,
        examples: tuple[OptimizationExample, ...],
    ) -> Measurement:
        self._reporter.begin(phase, len(examples))
        return self._evaluator.run(target.runner(spec, self._model), examples, self._reporter.step)

    def _on_found(self, found: FoundCandidate) -> None:
        good = found.candidate.score
        self._reporter.scored(None if good is None else raw_score(self._metric, good), found.candidate.label)
        self._reporter.step()

    def _search_limits(self, baseline: _Baseline) -> PhaseLimits:
        """Return what the search may use, so that the comparison can still be paid for."""
        budget, held_out = self._plan.budget, len(self._plan.split.test)
        if budget is None:
            return PhaseLimits()
        used, now, before = baseline.used, self._counter.spent, self._charged_before
        later = held_out * math.ceil((used.calls + used.replayed) / held_out) if held_out else 0
        tokens_before = before.usage.total_tokens
        # Demos make prompts longer than those of the baseline; how much is not known before the search.
        return PhaseLimits(
            calls=None if budget.calls is None else budget.calls - before.calls - later,
            tokens=_limit(budget.tokens, tokens_before, now.usage.total_tokens, 3 * used.usage.total_tokens),
            cost=_limit(budget.cost, before.cost or 0.0, now.cost or 0.0, 3 * (used.cost or 0.0)),
            seconds=_limit(budget.seconds, 0.0, self._counter.seconds, 2 * baseline.seconds),
            begun=now.calls,
            later=later,
        )

    # -- results ------------------------------------------------------------------------------------------------

    def _spec_of(self, found: FoundCandidate) -> SignatureSpec:
        plan, spec = self._plan, self._spec
        provenance = {
            "optimizer": plan.choice.name,
            "metric": summary_of(plan.metric)["name"],
            "model": str(plan.model.lm.model),
            "seed": plan.seed,
            "base": {"name": self._name, "version": spec.version, "fingerprint": spec.fingerprint},
            "dataset_hash": self._dataset_hash,
        }
        return candidate_spec(spec, found.candidate, provenance, self._current.predictors)

    def _optimized(
        self,
        spec: SignatureSpec,
        report: Report,
        result: _Result,
        candidate: type[OptimizedSignature] | None = None,
    ) -> type[OptimizedSignature]:
        target = self._plan.target
        return make_optimized(
            spec,
            report,
            base=target.base,
            base_name=self._name,
            program=target.program,
            candidate=candidate,
            certificate=result.certificate,
        )

    def _trials(
        self, baseline: _Baseline, pool: CandidatePool, chosen: FoundCandidate | None
    ) -> tuple[TrialResult, ...]:
        spec = self._spec
        first = TrialResult(
            "baseline",
            baseline.dev_score,
            baseline.used.calls,
            self._current.demo_count,
            instructions_of(self._current),
            spec.fingerprint,
        )
        rest = (
            TrialResult(
                label=found.candidate.label or f"candidate {number}",
                score=None if found.candidate.score is None else raw_score(self._metric, found.candidate.score),
                calls=found.calls,
                demos=found.candidate.demo_count,
                instructions=instructions_of(found.candidate),
                fingerprint=self._spec_of(found).fingerprint,
                chosen=found is chosen,
            )
            for number, found in enumerate(pool.new(self._current), 1)
        )
        return first, *rest

    def _report(
        self, baseline: _Baseline, pool: CandidatePool, chosen: FoundCandidate | None, result: _Result
    ) -> Report:
        plan, split, spent, comparison = self._plan, self._plan.split, self._counter.spent, result.found.comparison
        paired = None if comparison is None else comparison.paired
        alone = score_of(self._metric, split.test, baseline.test, self._evaluator.worst(baseline.test))
        return Report(
            signature=self._name,
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
            promoted=result.found.decision.promoted,
            verdict=result.found.decision.text,
            finding=result.found.decision.finding,
            examples_needed=result.found.decision.examples_needed,
            detectable=None if paired is None else paired.detectable,
            false_promotions=plan.rule.false_promotions,
            trials=self._trials(baseline, pool, chosen),
            examples=() if comparison is None else comparison.examples,
            labels=tuple(label for label in result.found.labels if label.field not in self._spec.sensitive),
            sources=split.sources,
            calls=spent.calls,
            replayed=spent.replayed,
            failed_calls=spent.failed,
            usage=spent.usage,
            cost=spent.cost,
            seconds=self._counter.seconds,
            invalid=result.found.invalid,
            stopped=result.stopped,
            dataset_hash=self._dataset_hash,
            notes=(*plan.notes, *split.notes, *self._notes(result)),
        )

    def _notes(self, result: _Result) -> list[str]:
        notes = [reason for reason in self._plan.split.refusals if reason not in result.found.decision.text]
        if self._cache.found:
            notes.append(f"continued: {self._cache.found} calls of an earlier run were not paid for again")
        if any(result.found.invalid):
            of_baseline, of_candidate = result.found.invalid
            notes.append(
                f"held-out answers that did not fit: {of_baseline} of the baseline, {of_candidate} of the candidate"
            )
        if result.stopped is not None and self._plan.checkpoint is not None:
            notes.append("run the same again to continue: calls that were made are not paid for again")
        return notes


def _limit(total: float | None, before: float, begun: float, kept: float) -> ResourceLimit | None:
    """Return the limit of the study on a budget of which ``before`` was used by other work."""
    return None if total is None else ResourceLimit(total - before, begun, kept)
