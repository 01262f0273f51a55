"""Study: from a signature and examples to an optimized signature, in five phases.

1. timing: where a budget bounds the study, ten calls show how many examples and candidates it can pay for.
2. baseline: measures the signature as it is, on the held-out examples and on those to choose by.
3. search: the optimizer looks for candidates, on the examples to learn from and to choose by.
4. choice: the best candidates are measured again, as they would be executed.
5. comparison: the best one and the baseline are compared on the held-out examples, which nothing else has used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import field, frozen

from hokusai_core import Budget, LanguageModel, SignatureSpec
from hokusai_core.errors import OptimizationError
from hokusai_core.plugin_api import Candidate, OptimizationExample, OptimizationTask
from hokusai_evaluate.example_reader import dataset_hash
from hokusai_evaluate.metrics.scoring import goodness, raw_score, summary_of
from hokusai_evaluate.statistics import score_interval
from hokusai_teleprompt.certificate import make_certificate
from hokusai_teleprompt.comparison import PromotionRule, score_of
from hokusai_teleprompt.data_split import DataSplit
from hokusai_teleprompt.example_texts import ExampleTexts, example_texts
from hokusai_teleprompt.held_out_comparison import HeldOutResult, compare_held_out, not_compared
from hokusai_teleprompt.optimized_signature import (
    OptimizedSignature,
    candidate_spec,
    instructions_of,
    make_optimized,
)
from hokusai_teleprompt.optimizer_choice import OptimizerChoice
from hokusai_teleprompt.optimizers.example_demos import KnnDemos, with_more_demos
from hokusai_teleprompt.progress import Progress, ProgressReporter
from hokusai_teleprompt.report import Report, TrialResult
from hokusai_teleprompt.study.auto_search import CHEAP, AutoSearch, portfolio_of
from hokusai_teleprompt.study.call_cache import CallCache
from hokusai_teleprompt.study.call_rate import CallPace, CallRate
from hokusai_teleprompt.study.call_timing import time_calls
from hokusai_teleprompt.study.candidate_search import CandidatePool, FoundCandidate, search
from hokusai_teleprompt.study.evaluation import Measurement
from hokusai_teleprompt.study.halving import Contender, ahead, shown_demos
from hokusai_teleprompt.study.phase_budget import CallCounter, StudyFailed
from hokusai_teleprompt.study.step_reach import StepReach
from hokusai_teleprompt.study.study_lm import StudyModels
from hokusai_teleprompt.study.study_phases import Phase, StudyPhases
from hokusai_teleprompt.study.study_sizes import fitting_sizes, resized
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
        optimizer: the optimizer; None for the search of ``auto``.
        create: makes an optimizer by its name and options.
        choice: the name of the optimizer, and why it was chosen.
        model: the language model that is optimized for.
        resolve: returns further language models by name.
        writer: the language model that writes instructions; None for ``model``.
        rule: what a candidate has to show to be promoted.
        budget: what all calls are charged to.
        prices: prices that go before those of DSPy, or None.
        parameters: parameters of every call; those of the signature go before them.
        seed: of everything random.
        workers: calls at once.
        checkpoint: file that keeps the answers to calls; None for none.
        baseline_answers: keeps the answers of the baseline, for studies with other optimizers and seeds as well.
        expected_pace: what an example takes, as far as it is known before the first call.
        given_test: whether the held-out examples may be used for nothing else, as those that the caller gave.
        given_dev: the same for the examples to choose by.
        keep_checkpoint: whether the checkpoint stays when the study is finished.
        progress: called with the progress.
        notes: notes for the report.
    """

    target: TargetSignature
    split: DataSplit
    metric: Any
    optimizer: Any
    create: Callable[[str, Mapping[str, Any]], Any]
    choice: OptimizerChoice
    model: LanguageModel
    resolve: Callable[[Any], LanguageModel]
    baseline_answers: CallCache
    expected_pace: CallPace
    metric_given: Any = None
    metric_options: Mapping[str, Any] = field(factory=dict)
    writer: LanguageModel | None = None
    rule: PromotionRule = field(factory=PromotionRule)
    budget: Budget | None = None
    prices: Any = None
    parameters: Mapping[str, Any] = field(factory=dict)
    seed: int = 0
    workers: int = 4
    checkpoint: Path | None = None
    given_test: bool = False
    given_dev: bool = False
    keep_checkpoint: bool = False
    progress: Callable[[Progress], None] = field(default=lambda progress: None)
    notes: tuple[str, ...] = ()


@frozen
class _Baseline:
    """The measurements of the signature as it is.

    Args:
        test: on the held-out examples.
        dev: on the examples to choose by.
        dev_score: its score on these, in units of the metric.
        calls: calls that had been made when ``test`` was measured.
    """

    test: Measurement
    dev: Measurement
    dev_score: float | None
    calls: int


@frozen
class _Result:
    """The result of the comparison.

    Args:
        found: what the comparison shows.
        stopped: why the study was stopped early, None where it was not.
        certificate: what its figures can be computed from again, None where there are none.
        differing: wins and losses with their texts.
    """

    found: HeldOutResult
    stopped: str | None
    certificate: Mapping[str, Any] | None = None
    differing: tuple[ExampleTexts, ...] = ()


class Study:
    """One optimization. Make it, and run it once.

    Args:
        plan: what it works with.

    Raises:
        OptimizationError: another process runs the same study.
    """

    def __init__(self, plan: StudyPlan) -> None:
        self._plan, self._spec, self._name = plan, plan.target.spec, plan.target.name
        self._split = plan.split
        self._counter = CallCounter(plan.budget, sensitive=bool(self._spec.sensitive))
        self._reporter = ProgressReporter(plan.progress, self._counter, max if plan.metric.higher_is_better else min)
        self._cache = CallCache(plan.checkpoint, behind=plan.baseline_answers)
        # The predictors of a program may bound their answers themselves; that shows at their first call.
        own = {"max_tokens": 1, **self._spec.parameters} if plan.target.has_module else self._spec.parameters
        self._phases = StudyPhases(
            plan.budget,
            self._counter,
            StudyModels(
                plan.model, plan.writer, plan.resolve, self._counter, self._cache, plan.prices, plan.parameters, own
            ),
            self._reporter,
            metric=plan.metric,
            instructions=self._spec.instructions,
            workers=plan.workers,
        )
        self._pace: CallPace | None = None
        first = self._phases.begin("timing")
        self._module = plan.target.runner(self._spec, first.model).module
        self._metric, self._evaluator = first.evaluator.metric, first.evaluator
        self._current = plan.target.current(self._module)
        self._reach = StepReach(self._current)
        self._search_notes: list[str] = []
        self._dataset_hash = ""

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
            self._phases.close()
            self._cache.close(discard=finished and not self._plan.keep_checkpoint)

    def _run_phases(self) -> type[OptimizedSignature]:
        portfolio = self._fit_to_budget()
        split = self._split
        self._dataset_hash = dataset_hash(split.train, split.dev, split.test)
        baseline = self._measure_baseline()
        pool = CandidatePool(
            lambda: self._counter.spent.calls, self._on_found, self._plan.choice.name, self._reach.kept
        )
        stopped = baseline.test.stopped or baseline.dev.stopped or self._search(portfolio, pool)
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
        spec = self._spec_of(self._with_all_demos(chosen), chosen.optimizer)
        result = self._compare(baseline, spec, stopped)
        report = self._report(baseline, pool, chosen, result)
        candidate = self._optimized(spec, report, result)
        if result.found.decision.promoted or not self._split.test:
            return candidate
        return self._optimized(self._plan.target.as_it_is.spec, report, result, candidate)

    # -- phases -------------------------------------------------------------------------------------------------

    def _fit_to_budget(self) -> list[Contender]:
        """Make the sets of examples as large as the budget pays for, and return the portfolio that it pays for."""
        plan, split = self._plan, self._split
        phase = self._phases.begin("timing", answers=plan.baseline_answers)
        portfolio = self._portfolio(phase)
        if not (split.test or split.dev):
            return portfolio
        pace = time_calls(
            self._phases, plan.target, split, portfolio, self._spec_of, plan.baseline_answers, plan.expected_pace
        )
        if not self._phases.left.bounded:
            return portfolio
        self._pace = pace
        wanted = [item.candidate for item in portfolio]
        sizes = fitting_sizes(split, self._phases.left, pace, wanted)
        self._split = resized(split, sizes, given_test=plan.given_test, given_dev=plan.given_dev)
        return self._portfolio(phase)[: sizes.candidates]

    def _portfolio(self, phase: Phase) -> list[Contender]:
        if self._plan.optimizer is not None:
            return []
        return portfolio_of(self._task(phase, self._spec), self._plan.create)

    def _measure_baseline(self) -> _Baseline:
        before, split = self._plan.target.as_it_is, self._split
        phase = self._phases.begin("baseline", answers=self._plan.baseline_answers)
        test, _ = self._phases.measure(phase, before, before.spec, split.test)
        calls = self._counter.spent.calls
        dev, dev_score = Measurement((), test.stopped), None
        if test.stopped is None:
            dev, _ = self._phases.measure(phase, before, before.spec, split.dev)
        if before is self._plan.target:  # with another strategy it has other steps
            outcomes = (item for item in (*test.outcomes, *dev.outcomes) if item is not None)
            self._reach.measured([item.steps for item in outcomes if item.steps])
        if dev.outcomes:
            dev_score = score_of(self._metric, split.dev, dev, self._evaluator.worst(dev))
            self._reporter.scored(dev_score)
        return _Baseline(test, dev, dev_score, calls)

    def _search(self, portfolio: Sequence[Contender], pool: CandidatePool) -> str | None:
        """Run the optimizer; return why it was stopped, None where it was not."""
        plan = self._plan
        self._reporter.begin("search")
        if plan.optimizer is None:
            automatic = AutoSearch(
                phases=self._phases,
                target=plan.target,
                pool=pool,
                create=plan.create,
                spec_of=self._spec_of,
                task_of=lambda phase, spec: self._task(phase, spec, pool),
                dev=self._split.dev,
                held_out=len(self._split.test),
                perfect=goodness(plan.metric, plan.metric.range[bool(plan.metric.higher_is_better)]),
                pace=self._pace,
                notes=self._search_notes,
            )
            return automatic.run(portfolio, self._spec)
        later = CallRate(0.0) if self._pace is None else self._pace.of(self._pace.fixed_demos)
        phase = self._phases.begin("search", self._phases.part(later, len(self._split.test)))
        try:
            return search(plan.optimizer, plan.choice.name, self._task(phase, self._spec, pool), pool)
        finally:
            phase.budget.close("the search is over")

    def _task(self, phase: Phase, spec: SignatureSpec, pool: CandidatePool | None = None) -> OptimizationTask:
        return OptimizationTask(
            signature=spec,
            train=self._split.train,
            dev=self._split.dev,
            metric=phase.metric,
            model=phase.model,
            seed=self._plan.seed,
            prompt_model=phase.writer,
            workers=self._plan.workers,
            found=pool.add if pool is not None else lambda candidate: None,
            program=self._module,
            ran=self._reach.ran,
        )

    def _choose(self, new: list[FoundCandidate], pool: CandidatePool) -> FoundCandidate:
        """Return the best candidate, by the examples to choose by.

        A candidate of a later search has to be ahead of the best so far by more than one standard error. The best of
        many is the luckiest of them, too, and the first ones are the simplest.
        """
        if not self._split.dev:
            latest = pool.latest()
            return latest if latest is not None and latest in new else new[-1]
        if len(new) == 1:
            return new[0]
        kept = CallRate(0.0) if self._pace is None else self._pace.of(self._pace.fixed_demos)
        phase = self._phases.begin("choice", self._phases.part(kept, len(self._split.test)))
        stages: dict[str, list[FoundCandidate]] = {}
        for found in new:
            stages.setdefault("" if found.optimizer in CHEAP else found.optimizer, []).append(found)
        best, goods = None, list[float]()
        for stage in stages.values():
            chosen, reached = self._best_of(phase, stage)
            if best is None or ahead(reached, goods):
                best, goods = chosen, reached
        return best or new[-1]

    def _best_of(self, phase: Phase, stage: Sequence[FoundCandidate]) -> tuple[FoundCandidate, list[float]]:
        """Return the best candidate of a search, and how good it is on each example to choose by."""
        whole = [found for found in stage if not found.partial] or stage
        scored = [found for found in whole if found.candidate.score is not None]
        scored.sort(key=lambda found: found.candidate.score or 0.0, reverse=True)
        unscored = [found for found in whole if found.candidate.score is None]
        ranked = []
        for found in (*scored[:_FINALISTS], *unscored[-_FINALISTS:]):
            spec = self._spec_of(found.candidate, found.optimizer)
            measured, _ = self._phases.measure(phase, self._plan.target, spec, self._split.dev)
            goods = measured.goods(self._evaluator.worst(measured))
            if measured.complete:
                found.goods = goods
            known = found.candidate.score if found.candidate.score is not None else -math.inf
            mean = sum(goods) / len(goods) if measured.complete else known
            ranked.append((mean, -shown_demos(found.candidate), found, goods))
        *_, found, goods = max(ranked, key=lambda item: item[:2])
        return found, goods

    def _with_all_demos(self, chosen: FoundCandidate) -> Candidate:
        """Return the chosen candidate. If prompts show the nearest demos, the examples to choose by are demos as well.

        They have served, and among more demos there are nearer ones. The held-out examples stay unseen.
        """
        dev = () if self._plan.given_dev or chosen.optimizer != KnnDemos.name else self._split.dev
        if not dev:
            return chosen.candidate
        self._search_notes.append(f"after the choice, the {len(dev)} examples to choose by became demos as well")
        return with_more_demos(chosen.candidate, self._spec, dev)

    def _compare(self, baseline: _Baseline, spec: SignatureSpec, stopped: str | None) -> _Result:
        plan, held_out = self._plan, self._split.test
        after = self._measure("comparison", plan.target, spec, held_out)
        found = compare_held_out(
            self._spec,
            self._metric,
            held_out,
            baseline.test,
            after,
            rule=plan.rule,
            seed=plan.seed,
            refusals=self._split.refusals,
            keys=[""] * len(held_out) if self._spec.sensitive else None,  # values could be guessed by their digests
        )
        certificate = None
        differing: tuple[ExampleTexts, ...] = ()
        if found.comparison is not None:
            outcomes = [item.outcome for item in found.comparison.examples]
            differing = example_texts(self._spec, held_out, baseline.test, after, outcomes)
            certificate = make_certificate(
                spec,
                self._split,
                (baseline.test, after),
                found,
                metric=plan.metric,
                given=plan.metric_given,
                options=plan.metric_options,
                rule=plan.rule,
                seed=plan.seed,
                baseline=plan.target.as_it_is.spec.fingerprint,
            )
        return _Result(found, stopped or after.stopped, certificate, differing)

    def _measure(
        self,
        phase: str,
        target: TargetSignature,
        spec: SignatureSpec,
        examples: tuple[OptimizationExample, ...],
    ) -> Measurement:
        return self._phases.measure(self._phases.begin(phase), target, spec, examples)[0]

    def _on_found(self, found: FoundCandidate) -> None:
        good = found.candidate.score
        self._reporter.scored(None if good is None else raw_score(self._metric, good), found.candidate.label)
        self._reporter.step()

    # -- results ------------------------------------------------------------------------------------------------

    def _spec_of(self, candidate: Candidate, optimizer: str = "") -> SignatureSpec:
        plan, spec = self._plan, self._spec
        provenance = {
            "optimizer": optimizer or plan.choice.name,
            "metric": summary_of(plan.metric)["name"],
            "model": str(plan.model.lm.model),
            "seed": plan.seed,
            "base": {"name": self._name, "version": spec.version, "fingerprint": spec.fingerprint},
            "dataset_hash": self._dataset_hash,
        }
        return candidate_spec(spec, candidate, provenance, self._current.predictors)

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
            baseline.calls,
            self._current.demo_count,
            instructions_of(self._current),
            spec.fingerprint,
            interval=self._interval(baseline.dev.goods(self._evaluator.worst(baseline.dev))),
        )
        rest = (
            TrialResult(
                label=found.candidate.label or f"candidate {number}",
                score=self._dev_score(found),
                interval=self._interval(found.goods),
                calls=found.calls,
                demos=found.candidate.demo_count,
                instructions=instructions_of(found.candidate),
                fingerprint=self._spec_of(found.candidate, found.optimizer).fingerprint,
                chosen=found is chosen,
            )
            for number, found in enumerate(pool.new(self._current), 1)
        )
        return first, *rest

    def _dev_score(self, found: FoundCandidate) -> float | None:
        """Return the score of a candidate on the examples to choose by, None if it was not scored."""
        good = found.candidate.score
        if good is None and found.goods:
            good = sum(found.goods) / len(found.goods)
        return None if good is None else raw_score(self._metric, good)

    def _interval(self, goods: Sequence[float]) -> tuple[float, float] | None:
        """Return the interval of a score on the examples to choose by, None for a score of the whole set."""
        if not goods or hasattr(self._metric, "aggregate"):
            return None
        ends = score_interval(goods, confidence=self._plan.rule.confidence, seed=self._plan.seed)
        low, high = sorted(raw_score(self._metric, end) for end in ends)
        return low, high

    def _report(
        self, baseline: _Baseline, pool: CandidatePool, chosen: FoundCandidate | None, result: _Result
    ) -> Report:
        plan, split, spent, comparison = self._plan, self._split, self._counter.spent, result.found.comparison
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
            differing=result.differing,
            labels=tuple(label for label in result.found.labels if label.field not in self._spec.sensitive),
            sources=split.sources,
            steps=self._reach.counts,
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
        notes = [reason for reason in self._split.refusals if reason not in result.found.decision.text]
        notes += self._search_notes
        notes += [
            f"no example reached {name}, which keeps its instructions and demos" for name in self._reach.unreached
        ]
        if self._plan.baseline_answers.found:
            notes.append(
                f"{self._plan.baseline_answers.found} answers of the signature as it is were there from earlier studies"
            )
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
