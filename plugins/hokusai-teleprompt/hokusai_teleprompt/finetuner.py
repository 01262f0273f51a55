"""TelepromptFineTuner: optimizes a signature with examples."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from attrs import evolve

from hokusai_core import Budget, Executor, LanguageModel
from hokusai_core.errors import ConfigurationError, HokusaiError, OptimizationError
from hokusai_core.plugin_api import OptimizationFinished, PromptTemplate, user_data_folder
from hokusai_evaluate.example_reader import example_key, read_examples
from hokusai_evaluate.label_conflicts import without_conflicts
from hokusai_evaluate.metrics.metric_choice import make_metric, usual_metric
from hokusai_evaluate.metrics.scoring import summary_of
from hokusai_teleprompt.comparison import PromotionRule
from hokusai_teleprompt.cross_fit import FOLDS, CrossFit, cross_fit, suits_cross_fitting
from hokusai_teleprompt.data_split import DataSplit, split_examples
from hokusai_teleprompt.estimate import Estimate, estimated_pace, estimated_use
from hokusai_teleprompt.optimized_signature import OptimizedSignature, with_report
from hokusai_teleprompt.optimizer_choice import AUTO, OptimizerChoice, choose_optimizer
from hokusai_teleprompt.progress import Progress, ProgressBar
from hokusai_teleprompt.report import Report
from hokusai_teleprompt.study.call_cache import CallCache
from hokusai_teleprompt.study.call_rate import PACE, CallPace
from hokusai_teleprompt.study.candidate_search import candidate_key
from hokusai_teleprompt.study.study import Study, StudyPlan
from hokusai_teleprompt.target_signature import TargetSignature, answered_by, find_target

__all__ = ["TelepromptFineTuner"]

#: Seconds for which the checkpoint of an unfinished study is kept in the user's folder.
_KEPT_SECONDS = 30 * 86_400


class TelepromptFineTuner:
    """Improves signatures on examples, and measures whether they are better.

    Args:
        optimizer: name of an optimizer component, ``"auto"`` to choose by data and budget, or an ``Optimizer``.
        lm: the language model that is optimized for, as for ``Executor``; left out, the executor's.
        budget: limit on calls, tokens, cost and time of all phases together, judges included. A number limits calls.
            None for no limit.
        seed: of everything random.
        prompt_lm: the language model that writes instructions; None for ``lm``.
        min_improvement: least improvement on held-out examples, in units of the metric.
        confidence: of the interval that has to lie above ``min_improvement``. Of candidates that are no better, at most
            ``(1 - confidence) / 2`` are promoted.
        workers: calls at once; None for the executor's ``max_workers``.
        progress: True for a bar on standard error, or a function that is called with a ``Progress``.
        workdir: folder for checkpoints; None for the user's own folder, False for no checkpoints.
        executor: where signatures, language models and components come from; None for a new one.
        optimizer_options: options of the optimizer.
        confirm: called with the ``Estimate`` before the first call; if it returns False, nothing is called.

    Raises:
        ConfigurationError: an argument cannot be used.

    Example::

        finetuner = TelepromptFineTuner(budget=Budget(calls=1500))
        optimized = finetuner.compile(signature="ClassifyText", examples="reviews.jsonl", metric="accuracy")
        print(optimized.report)
        optimized.save("better.json")
    """

    def __init__(
        self,
        optimizer: Any = "auto",
        lm: Any = None,
        budget: Budget | int | None = None,
        seed: int = 0,
        *,
        prompt_lm: Any = None,
        min_improvement: float = 0.0,
        confidence: float = 0.95,
        workers: int | None = None,
        progress: bool | Callable[[Progress], None] | None = None,
        workdir: str | os.PathLike[str] | bool | None = None,
        executor: Executor | None = None,
        optimizer_options: Mapping[str, Any] | None = None,
        confirm: Callable[[Estimate], bool] | None = None,
    ) -> None:
        if not isinstance(seed, int) or isinstance(seed, bool):
            raise ConfigurationError(f"seed={seed!r}: expected a whole number")
        if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
            raise ConfigurationError(f"workers={workers!r}: expected a whole number of at least 1")
        if budget is not None and not isinstance(budget, (int, Budget)):
            raise ConfigurationError(f"budget={budget!r}: expected a whole number of calls, or a Budget")
        self._optimizer, self._options = optimizer, dict(optimizer_options or {})
        self._lm, self._prompt_lm = lm, prompt_lm
        self._budget = Budget(calls=budget) if isinstance(budget, int) else budget
        self._seed, self._workers, self._progress, self._workdir = seed, workers, progress, workdir
        self._rule = PromotionRule(min_improvement, confidence)
        self._given, self._confirm = executor, confirm
        self._own: Executor | None = None
        #: Answers of signatures as they are, where no file may keep them.
        self._answers: dict[str, CallCache] = {}

    def compile(
        self,
        signature: Any,
        examples: Any,
        metric: Any = None,
        valset: Any = None,
        *,
        testset: Any = None,
        metric_options: Mapping[str, Any] | None = None,
        strategy: Any = None,
        inputs: Mapping[str, Any] | None = None,
        mapping: Mapping[str, str] | None = None,
        delimiter: str | None = None,
    ) -> type[OptimizedSignature]:
        """Return a signature that is better on held-out examples, or the signature as it was.

        Args:
            signature: name, class, ``dspy.Signature`` class, text such as ``"question -> answer"``, ``dspy.Module``,
                ``SignatureChain``, or the path of a file with a chain or a saved optimized signature. Of a program, a
                chain and a signature with a strategy each inner predictor is improved; examples, metric and comparison
                are about the inputs and outputs of the whole.
            examples: ``{"inputs": {...}, "outputs": {...}}`` records, ``dspy.Example``s, a pandas frame, or the path of
                a JSONL or CSV file. They are split into examples to learn from, to choose by and to compare on.
            metric: name of a metric component, ``{name: weight}`` for a weighted mean, a function, or a ``Metric``;
                None for the one that suits the outputs.
            valset: examples to choose between candidates by, in place of some of ``examples``.
            testset: examples to compare on, in place of some of ``examples``; used for nothing else.
            metric_options: options of the metric component, such as ``{"judge": "openai/gpt-5"}``.
            strategy: strategy that the result declares: a name, or a mapping of ``name`` and its options. The result is
                compared with the signature as it is. None for the strategy that the signature has.
            inputs: inputs that all examples have alike; what an example says itself goes before them.
            mapping: column -> field, for columns that are called otherwise.
            delimiter: what separates the columns of CSV files; None for what their first lines say.

        Returns:
            A signature class. ``.report`` says how it compares. If ``.promoted`` is true, it is the better signature.
            Otherwise it is the signature as it was, and ``.candidate`` is the best that was found. If there were too
            few examples to hold any out, it is the candidate, with ``.promoted`` false.

        Raises:
            InputError: examples do not fit the signature; carries every problem with its row.
            ConfigurationError: an argument cannot be used.
            OptimizationError: the optimizer or the metric failed; the cause is the first thing that went wrong. Or
                ``confirm`` returned False.
            LanguageModelUnavailable: there is no language model.
        """
        target = find_target(self._executor(), signature)
        if strategy is not None:
            target = answered_by(self._executor(), target, strategy)
        spec, media = target.spec, self._executor().config.media_policy
        given = {"examples": examples, "valset": valset, "testset": testset}
        options: dict[str, Any] = {"mapping": mapping, "constants": inputs, "delimiter": delimiter, "media": media}
        read = [(what, read_examples(spec, part, what, **options)) for what, part in given.items() if part is not None]
        clean, conflicts = without_conflicts(spec, read)
        parts = dict(zip((what for what, _ in read), clean, strict=True))
        split = split_examples(
            spec,
            parts["examples"].items,
            seed=self._seed,
            dev=parts["valset"].items if "valset" in parts else None,
            test=parts["testset"].items if "testset" in parts else None,
        )
        notes = [*(note for _, found in read for note in found.notes), *conflicts]
        given_sets = {"given_dev": "valset" in parts, "given_test": "testset" in parts}
        return self._compile(target, split, metric, metric_options, notes, **given_sets)

    def compile_from_feedback(
        self,
        signature_name: str,
        feedback: Any = None,
        *,
        metric: Any = None,
        min_rating: int = 4,
        per_source: float = 0.5,
        metric_options: Mapping[str, Any] | None = None,
        testset: Any = None,
        since: Any = None,
        min_count: int = 1,
    ) -> type[OptimizedSignature]:
        """Return a signature that is better by the feedback on its executions, or the signature as it was.

        Corrected outputs count as right. Outputs that were rated ``min_rating`` or higher are examples as they are.
        Outputs that were rated lower without a correction are never used as examples.

        People correct what is wrong and are silent about what is right. Candidates are therefore chosen by and compared
        on a sample of all kept executions: those without feedback count as right as they are. Where the other
        executions are not known, nothing is promoted, and the verdict says why.

        Args:
            signature_name: name of the signature.
            feedback: a ``FeedbackCollector``, or what its ``get_feedback`` returned; None for all feedback in the store
                of the executor.
            metric: as for ``compile``, or the name of an outcome that was recorded, such as ``"reply_rate"``. The
                executions with the best outcome are then learned from. A new answer has no outcome, so that candidates
                are compared on reviewed executions by the usual metric, and nothing is promoted.
            min_rating: the least rating of an output that counts as right.
            per_source: largest share of the examples that one source may have, where there are several sources.
            metric_options: options of the metric component.
            testset: examples of your own to compare on, as for ``compile``.
            since: only executions that were started at this time or later, as for ``get_feedback``.
            min_count: feedbacks that are needed, or executions with the outcome.

        Raises:
            FeedbackError: there is not enough feedback yet, or none to learn from; says what there is.
            OptimizationError: the optimizer or the metric failed.
        """
        from hokusai_teleprompt.feedback.feedback_preparation import FeedbackOptions, prepare_feedback

        options = FeedbackOptions(
            metric=metric,
            min_rating=min_rating,
            per_source=per_source,
            min_count=min_count,
            since=since,
            testset=testset,
            seed=self._seed,
        )
        prepared = prepare_feedback(self._executor(), signature_name, feedback, options)
        return self._compile(
            prepared.target,
            prepared.split,
            prepared.metric,
            metric_options,
            list(prepared.notes),
            given_dev=True,  # what these examples expect may be a part of what a demo has to show
            given_test=True,
        )

    def close(self) -> None:
        """Close the executor that was made here; calling it twice is harmless."""
        own, self._own = self._own, None
        if own is not None:
            own.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    # -- inside -------------------------------------------------------------------------------------------------

    def _compile(
        self,
        target: TargetSignature,
        split: DataSplit,
        metric: Any,
        metric_options: Mapping[str, Any] | None,
        notes: list[str],
        *,
        given_dev: bool = False,
        given_test: bool = False,
    ) -> type[OptimizedSignature]:
        executor, spec = self._executor(), target.spec
        if metric is None:
            metric = usual_metric(spec)
            notes.append(f"no metric was given; {metric} suits these outputs")
        made_metric = make_metric(executor.plugins, metric, metric_options)
        choice, optimizer = self._make_optimizer(target, split)
        model = executor.language_model(self._lm)
        checkpoint = self._checkpoint(target, split, choice, made_metric, model, notes)
        answers = self._baseline_answers(target, model)
        workers = self._workers or executor.config.value("max_workers")
        budget = executor.budget if self._budget is None else self._budget
        known = CallPace.from_list(answers.noted(PACE) or ())
        pace = known or estimated_pace(executor, spec, split, model, workers)
        folds = FOLDS if suits_cross_fitting(split, made_metric) and not (given_dev or given_test) else 0
        estimate = estimated_use(split, choice.name, pace, budget, timed=known is not None, folds=folds)
        if self._confirm is not None and not self._confirm(estimate):
            answers.close(discard=False)
            raise OptimizationError(f"optimizing {target.name} was not begun: {estimate}")
        notes.append(f"estimate before the first call: {estimate}")
        bar = ProgressBar() if self._progress is True else None
        plan = StudyPlan(
            target=target,
            split=split,
            metric=made_metric,
            metric_given=metric,
            metric_options=metric_options or {},
            optimizer=optimizer,
            create=self._create,
            choice=choice,
            model=model,
            writer=None if self._prompt_lm is None else executor.language_model(self._prompt_lm),
            resolve=executor.language_model,
            rule=self._rule,
            budget=budget,
            prices=executor.config.value("prices"),
            parameters=executor.config.value("parameters"),
            seed=self._seed,
            workers=workers,
            checkpoint=checkpoint,
            baseline_answers=answers,
            expected_pace=pace,
            given_dev=given_dev,
            given_test=given_test,
            keep_checkpoint=folds > 0,
            progress=bar or (self._progress if callable(self._progress) else lambda progress: None),
            notes=tuple(notes),
        )
        started_at = time.time()
        try:
            optimized = Study(plan).run()
            if folds:
                optimized = self._cross_fitted(optimized, plan)
        finally:
            answers.close(discard=False)
            if bar is not None:
                bar.close()
        executor.optimization_finished(_event(target, optimized, started_at, self._prompt(optimized)))
        return optimized

    def _prompt(self, optimized: type[OptimizedSignature]) -> PromptTemplate | None:
        """Return the prompt of the outcome; None where it has none, or where a program is missing that it needs."""
        with contextlib.suppress(HokusaiError):
            return self._executor().prompt_template(optimized, lm=self._lm)
        return None

    def _cross_fitted(self, optimized: type[OptimizedSignature], plan: StudyPlan) -> type[OptimizedSignature]:
        """Return the result of a study on few examples with the figure of its procedure."""
        report, budget = optimized.report, plan.budget
        if report.stopped is not None:
            return optimized  # its checkpoint stays, so that it can go on
        needed = FOLDS * max(1, report.calls)
        if budget is not None and not _pays_for(budget, report, FOLDS):
            note = f"not cross-fitted: that takes about {needed} more calls than the budget has"
            found = CrossFit(None, note)
        else:
            found = cross_fit(plan, lambda split: self._make_optimizer(plan.target, split)[1], budget)
        if plan.checkpoint is not None and not any(one.stopped for one in found.reports):
            for path in (plan.checkpoint, *plan.checkpoint.parent.glob(f"{plan.checkpoint.stem}.fold*.jsonl")):
                path.unlink(missing_ok=True)
        return with_report(optimized, found.added_to(report))

    def _executor(self) -> Executor:
        if self._given is not None:
            return self._given
        if self._own is None:
            # It runs nothing: it finds signatures, components and language models, and informs trackers.
            self._own = Executor(cache_enabled=False, mode="production")
            weakref.finalize(self, self._own.close)
        return self._own

    def _make_optimizer(self, target: TargetSignature, split: DataSplit) -> tuple[OptimizerChoice, Any]:
        if not isinstance(self._optimizer, str):
            name = getattr(self._optimizer, "name", type(self._optimizer).__name__)
            return OptimizerChoice(name, {}, "given"), self._optimizer
        choice = OptimizerChoice(self._optimizer, self._options, "asked for")
        if self._optimizer == AUTO:
            if self._options:
                raise ConfigurationError(
                    f"optimizer 'auto' has no options ({', '.join(self._options)}); name the optimizer they are for"
                )
            choice = choose_optimizer(target.spec, split, self._budget, program=target.has_module)
        return choice, None if choice.name == AUTO else self._create(choice.name, choice.options)

    def _create(self, name: str, options: Mapping[str, Any]) -> Any:
        try:
            return self._executor().plugins.create("optimizer", name, **options)
        except TypeError as error:
            raise ConfigurationError(f"optimizer {name!r}: {error}") from error

    def _baseline_answers(self, target: TargetSignature, model: LanguageModel) -> CallCache:
        """Return what keeps the answers of the signature as it is, for all optimizers and seeds."""
        spec, before = target.spec, target.as_it_is
        key = [before.spec.fingerprint, *_states(before), model.lm.model, model.identity]
        digest = hashlib.sha256(json.dumps(key, sort_keys=True, default=repr).encode()).hexdigest()[:32]
        if self._workdir is False or (spec.sensitive and self._workdir is None):
            return self._answers.setdefault(digest, CallCache(None))
        folder = self._folder("baselines")
        return CallCache(folder / f"{digest}.jsonl", shared=True)

    def _folder(self, name: str) -> Path:
        """Return the folder of checkpoints, without those that are too old."""
        if self._workdir is None or isinstance(self._workdir, bool):
            own = self._executor().config.value("data_folder")
            folder = user_data_folder(name) if own is None else own / name
            _remove_old(folder)
            return folder
        folder = Path(self._workdir)
        return folder if name == "studies" else folder / name

    def _checkpoint(
        self,
        target: TargetSignature,
        split: DataSplit,
        choice: OptimizerChoice,
        metric: Any,
        model: LanguageModel,
        notes: list[str],
    ) -> Path | None:
        """Return the file of the checkpoint: the same for the same study, so that a later run continues it."""
        spec = target.spec
        if self._workdir is False:
            return None
        if spec.sensitive and self._workdir is None:
            notes.append("no checkpoint is kept, because answers may quote sensitive fields; workdir=... keeps one")
            return None
        # The split and the choice of "auto" depend on the budget. They are left out, so that a run with a larger budget
        # continues the same study.
        examples = sorted(map(example_key, (*split.train, *split.dev, *split.test)))
        key = [
            spec.fingerprint,
            *_states(target),
            examples,
            self._optimizer if isinstance(self._optimizer, str) else choice.name,
            self._options,
            summary_of(metric)["name"],
            [model.lm.model, model.identity],
            self._seed,
        ]
        digest = hashlib.sha256(json.dumps(key, sort_keys=True, default=repr).encode()).hexdigest()[:32]
        return self._folder("studies") / f"{digest}.jsonl"


def _states(target: TargetSignature) -> list[str]:
    """Return what tells one program from another of the same fields."""
    return [] if target.program is None else [candidate_key(target.current(target.program))]


def _pays_for(budget: Budget, report: Report, times: int) -> bool:
    """Return whether a budget has left so many times what an optimization has used."""
    spent, used = budget.spent, report.usage
    return (
        (budget.calls is None or budget.calls - spent.calls >= times * report.calls)
        and (budget.tokens is None or budget.tokens - spent.total_tokens >= times * used.total_tokens)
        and (budget.cost is None or budget.cost - budget.spent_cost >= times * (report.cost or 0.0))
        and (budget.seconds is None or budget.seconds >= (times + 1) * report.seconds)
    )


def _remove_old(folder: Path) -> None:
    """Remove the checkpoints of studies that were not continued."""
    for path in folder.glob("*.jsonl"):
        if time.time() - path.stat().st_mtime > _KEPT_SECONDS:
            path.unlink(missing_ok=True)


def _event(
    target: TargetSignature,
    optimized: type[OptimizedSignature],
    started_at: float,
    prompt: PromptTemplate | None,
) -> OptimizationFinished:
    """Return the event for trackers. If a field is sensitive, it holds no examples and no text of a model."""
    spec, report = target.spec, optimized.report
    return OptimizationFinished(
        optimization_id=secrets.token_hex(16),
        signature=target.name,
        signature_version=spec.version,
        fingerprint=spec.fingerprint,
        promoted=optimized.promoted,
        figures=report.figures(),
        document=None if spec.sensitive else evolve(optimized.artifact, certificate=None).to_dict(),
        usage=report.usage,
        cost=report.cost,
        latency=time.time() - started_at,
        started_at=started_at,
        prompt=prompt,
    )
