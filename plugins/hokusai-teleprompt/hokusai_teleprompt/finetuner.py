"""TelepromptFineTuner: from a signature and examples to an optimized signature."""

from __future__ import annotations

import hashlib
import json
import os
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self, get_origin

from hokusai_core import Budget, Executor
from hokusai_core.errors import ConfigurationError
from hokusai_core.plugin_api import LanguageModel, SignatureSpec, user_data_folder
from hokusai_teleprompt.data_split import DataSplit, split_examples
from hokusai_teleprompt.example_reader import example_key, read_examples
from hokusai_teleprompt.metrics import CallableMetric, summary_of
from hokusai_teleprompt.optimization_event import optimization_event
from hokusai_teleprompt.optimized_signature import OptimizedSignature
from hokusai_teleprompt.optimizer_choice import OptimizerChoice, choose_optimizer
from hokusai_teleprompt.progress import Progress, ProgressBar
from hokusai_teleprompt.promotion_rule import PromotionRule
from hokusai_teleprompt.study.study import Study, StudyPlan
from hokusai_teleprompt.target_signature import TargetSignature, find_target, target_of

__all__ = ["TelepromptFineTuner"]

#: Seconds after which the checkpoint of a study that was not continued is removed from the user's folder.
_KEPT = 30 * 86_400


class TelepromptFineTuner:
    """Improves signatures on examples, and measures whether it did.

    Args:
        optimizer: name of an optimizer component, ``"auto"`` to choose by data and budget, or an ``Optimizer``.
        lm: the language model that is optimized for, as for ``Executor``; left out, the executor's.
        budget: ceiling on calls, tokens, cost and time of everything, judges and comparison included; a number is one
            on calls. None for no ceiling.
        seed: of everything random.
        prompt_lm: the language model that writes instructions; None for the one that is optimized for.
        min_improvement: least improvement on held-out examples, in units of the metric.
        confidence: of the interval that has to lie above it.
        significance: highest p-value of the paired test.
        workers: calls at once; None for the executor's ``max_workers``.
        progress: True for a bar on standard error; or a function that is told.
        workdir: folder for checkpoints; None for the user's own, False for none.
        executor: where signatures, language models and components come from; None for one of its own.
        optimizer_options: options of the optimizer.

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
        significance: float = 0.01,
        workers: int | None = None,
        progress: bool | Callable[[Progress], None] | None = None,
        workdir: str | os.PathLike[str] | bool | None = None,
        executor: Executor | None = None,
        optimizer_options: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(seed, int) or isinstance(seed, bool):
            raise ConfigurationError(f"seed={seed!r}: expected a whole number")
        if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
            raise ConfigurationError(f"workers={workers!r}: expected a whole number of at least 1")
        self._optimizer, self._options = optimizer, dict(optimizer_options or {})
        self._lm, self._prompt_lm = lm, prompt_lm
        if budget is not None and not isinstance(budget, (int, Budget)):
            raise ConfigurationError(f"budget={budget!r}: expected a whole number of calls, or a Budget")
        self._budget = Budget(calls=budget) if isinstance(budget, int) else budget
        self._seed, self._workers, self._progress, self._workdir = seed, workers, progress, workdir
        self._rule = PromotionRule(min_improvement, confidence, significance)
        self._given = executor
        self._own: Executor | None = None

    def compile(
        self,
        signature: Any,
        examples: Any,
        metric: Any = None,
        valset: Any = None,
        *,
        testset: Any = None,
        metric_options: Mapping[str, Any] | None = None,
    ) -> type[OptimizedSignature]:
        """Return a signature that is better on held-out examples, or the signature as it was.

        Args:
            signature: name, class, ``dspy.Signature`` class, text such as ``"question -> answer"``, or the path of a
                saved optimized signature.
            examples: ``{"inputs": {...}, "outputs": {...}}`` records, ``dspy.Example``s, a pandas frame, or the path of
                a JSONL or CSV file. They are split into those to learn from, to choose by and to compare on.
            metric: name of a metric component, ``{name: weight}`` for a weighted mean, a function, or a ``Metric``;
                None for the one that suits the outputs.
            valset: examples to choose between candidates by, in place of some of ``examples``.
            testset: examples to compare on, in place of some of ``examples``; nothing else ever sees them.
            metric_options: options of the metric component, such as ``{"judge": "openai/gpt-5"}``.

        Returns:
            A signature class. ``.report`` says how it compares, ``.promoted`` whether the gate was passed. Where it was
            not, it is the signature as it was, and ``.candidate`` the best that was found. Where there were too few
            examples to hold any out, it is the candidate, with ``promoted`` false.

        Raises:
            InputError: examples do not fit the signature; carries every problem with its row.
            ConfigurationError: an argument cannot be used.
            OptimizationError: the optimizer or the metric failed; the cause is the first thing that went wrong.
            LanguageModelUnavailable: there is no language model.
        """
        target = find_target(self._executor(), signature)
        spec = target.spec
        read = read_examples(spec, examples)
        extra = [
            None if part is None else read_examples(spec, part, what)
            for part, what in ((valset, "valset"), (testset, "testset"))
        ]
        split = split_examples(
            spec,
            read.items,
            seed=self._seed,
            dev=None if extra[0] is None else extra[0].items,
            test=None if extra[1] is None else extra[1].items,
            calls=None if self._budget is None else self._budget.calls,
        )
        notes = [*read.notes, *(note for part in extra if part is not None for note in part.notes)]
        return self._compile(target, split, metric, metric_options, notes)

    def compile_from_feedback(
        self,
        signature_name: str,
        feedback: Any = None,
        *,
        metric: Any = None,
        min_rating: int = 4,
        per_source: float = 0.5,
        metric_options: Mapping[str, Any] | None = None,
    ) -> type[OptimizedSignature]:
        """Return a signature that is better by what people said of its executions, or the signature as it was.

        Corrected outputs are what is right; outputs that were rated ``min_rating`` or higher are examples as they are.
        What was rated lower without a correction is never shown as an example.

        Args:
            signature_name: name of the signature.
            feedback: what ``FeedbackCollector.get_feedback`` returned; None for all that the local store has.
            metric: as for ``compile``.
            min_rating: from which rating on an output counts as right.
            per_source: largest share of the examples that one source may have, where there are several sources.
            metric_options: options of the metric component.

        Raises:
            FeedbackError: there is no feedback to learn from; says what there is.
            OptimizationError: the optimizer or the metric failed.
        """
        from hokusai_teleprompt.feedback.collector import FeedbackCollector
        from hokusai_teleprompt.feedback.feedback_examples import examples_of, spec_of

        if feedback is None:
            with FeedbackCollector() as collector:
                feedback = collector.get_feedback(signature_name)
        known = self._executor()
        if _is_known(known, signature_name):
            target = target_of(known.signatures.resolve(signature_name))
        else:
            kept = spec_of(signature_name, feedback)
            target = TargetSignature(kept, f"local/{kept.name}", kept)
        spec = target.spec
        found = examples_of(spec, target.name, feedback, min_rating=min_rating, per_source=per_source, seed=self._seed)
        calls = None if self._budget is None else self._budget.calls
        split = split_examples(spec, found.items, seed=self._seed, calls=calls)
        return self._compile(target, split, metric, metric_options, list(found.notes))

    def close(self) -> None:
        """Close what it has opened itself; calling it twice is harmless."""
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
    ) -> type[OptimizedSignature]:
        executor, spec = self._executor(), target.spec
        if metric is None:
            metric = _usual_metric(spec)
            notes.append(f"no metric was given; {metric} suits these outputs")
        measured = self._metric(metric, dict(metric_options or {}))
        choice, optimizer = self._chosen(spec, split)
        model = executor.language_model(self._lm)
        bar = ProgressBar() if self._progress is True else None
        journal = self._journal(spec, split, choice, measured, model, notes)
        plan = StudyPlan(
            target=target,
            split=split,
            metric=measured,
            optimizer=optimizer,
            choice=choice,
            model=model,
            writer=None if self._prompt_lm is None else executor.language_model(self._prompt_lm),
            resolve=executor.language_model,
            rule=self._rule,
            budget=self._budget,
            seed=self._seed,
            workers=self._workers or executor.config.value("max_workers"),
            journal=journal,
            progress=bar or (self._progress if callable(self._progress) else lambda progress: None),
            notes=tuple(notes),
        )
        started_at = time.time()
        try:
            optimized = Study(plan).run()
        finally:
            if bar is not None:
                bar.close()
        executor.optimization_finished(optimization_event(target, optimized, started_at))
        return optimized

    def _executor(self) -> Executor:
        if self._given is not None:
            return self._given
        if self._own is None:
            # It runs nothing; it finds signatures, components and language models, and has trackers told.
            self._own = Executor(cache_enabled=False, mode="production")
            weakref.finalize(self, self._own.close)
        return self._own

    def _metric(self, metric: Any, options: dict[str, Any]) -> Any:
        plugins = self._executor().plugins
        if isinstance(metric, str):
            return plugins.create("metric", metric, **options)
        if options:
            raise ConfigurationError("metric_options go with the name of a metric component")
        if isinstance(metric, Mapping):
            return plugins.create(
                "metric", "weighted", parts=[(self._metric(part, {}), metric[part]) for part in metric]
            )
        if callable(getattr(metric, "score", None)) and hasattr(metric, "range"):
            return metric
        if callable(metric):
            return CallableMetric(metric)
        raise ConfigurationError(
            f"metric={type(metric).__name__}: expected the name of a metric, {{name: weight}}, or a function"
        )

    def _chosen(self, spec: SignatureSpec, split: DataSplit) -> tuple[OptimizerChoice, Any]:
        if not isinstance(self._optimizer, str):
            name = getattr(self._optimizer, "name", type(self._optimizer).__name__)
            return OptimizerChoice(name, {}, "given"), self._optimizer
        choice = OptimizerChoice(self._optimizer, self._options, "asked for")
        if self._optimizer == "auto":
            choice = choose_optimizer(spec, split, self._budget)
        options = {**choice.options, **self._options}
        try:
            return choice, self._executor().plugins.create("optimizer", choice.name, **options)
        except TypeError as error:
            raise ConfigurationError(f"optimizer {choice.name!r}: {error}") from error

    def _journal(
        self,
        spec: SignatureSpec,
        split: DataSplit,
        choice: OptimizerChoice,
        metric: Any,
        model: LanguageModel,
        notes: list[str],
    ) -> Path | None:
        """Return the file of the checkpoint: the same for the same study, so that it is continued."""
        if self._workdir is False:
            return None
        if spec.sensitive and self._workdir is None:
            notes.append("no checkpoint is kept, because answers may quote sensitive fields; workdir=... keeps one")
            return None
        # Neither how they are split nor what "auto" chose, which the budget has a say in: with a larger one the same
        # study goes on.
        examples = sorted(map(example_key, (*split.train, *split.dev, *split.test)))
        key = [
            spec.fingerprint,
            examples,
            self._optimizer if isinstance(self._optimizer, str) else choice.name,
            self._options,
            summary_of(metric)["name"],
            [model.lm.model, model.identity],
            self._seed,
        ]
        digest = hashlib.sha256(json.dumps(key, sort_keys=True, default=repr).encode()).hexdigest()[:32]
        given = None if self._workdir is None or self._workdir is True else Path(self._workdir)
        if given is None:
            given = user_data_folder("studies")
            _forget_old(given)
        return given / f"{digest}.jsonl"


def _forget_old(folder: Path) -> None:
    """Remove checkpoints that nobody has come back to."""
    for path in folder.glob("*.jsonl"):
        if time.time() - path.stat().st_mtime > _KEPT:
            path.unlink(missing_ok=True)


def _is_known(executor: Executor, name: str) -> bool:
    names = {
        label
        for entry in executor.signatures.list()
        for label in (entry.name, entry.qualified_name, *entry.spec.aliases)
    }
    return name in names


def _usual_metric(spec: SignatureSpec) -> str:
    kinds = [(item.annotation, item.choices_from) for item in spec.outputs.values()]
    if all(
        choices or annotation is bool or str(get_origin(annotation)) == "typing.Literal"
        for annotation, choices in kinds
    ):
        return "classification_accuracy"
    return "f1" if all(annotation is str for annotation, _ in kinds) else "accuracy"
