"""Prepare an optimization on feedback: find the signature, choose the examples, and split them fairly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from attrs import evolve, frozen

from hokusai_core import Executor
from hokusai_core.errors import ConfigurationError, FeedbackError
from hokusai_core.plugin_api import Component, KeptExecution, OptimizationExample
from hokusai_evaluate.example_reader import near_key, read_examples
from hokusai_evaluate.plugin import METRICS
from hokusai_teleprompt.data_split import DataSplit
from hokusai_teleprompt.feedback.collector import Feedback, Moment
from hokusai_teleprompt.feedback.execution_population import read_population
from hokusai_teleprompt.feedback.feedback_examples import FeedbackExamples, examples_of, is_of, spec_of
from hokusai_teleprompt.feedback.feedback_source import open_feedback
from hokusai_teleprompt.feedback.feedback_split import split_feedback
from hokusai_teleprompt.feedback.outcome_examples import best_by_outcome, outcome_names
from hokusai_teleprompt.target_signature import TargetSignature, target_of

__all__ = ["FeedbackOptions", "PreparedFeedback", "prepare_feedback"]


@frozen
class FeedbackOptions:
    """How feedback is used.

    Args:
        metric: the metric, or the name of an outcome.
        min_rating: the least rating of an output that counts as right.
        per_source: largest share of the examples that one source may have, if there are several sources.
        min_count: feedbacks, or executions with the outcome, that are needed.
        since: only executions that were started at this time or later; None for all.
        testset: examples of the user's own to compare on; None for none.
        seed: of everything random.
    """

    metric: Any
    min_rating: int
    per_source: float
    min_count: int
    since: Moment | None
    testset: Any
    seed: int


@frozen
class PreparedFeedback:
    """What an optimization on feedback works with.

    Args:
        target: the signature.
        split: the examples.
        metric: the metric to compare by; None for the usual one.
        notes: notes for the report.
    """

    target: TargetSignature
    split: DataSplit
    metric: Any
    notes: tuple[str, ...]


def prepare_feedback(executor: Executor, name: str, feedback: Any, options: FeedbackOptions) -> PreparedFeedback:
    """Return the examples of an optimization on feedback.

    Args:
        executor: knows signatures, metrics and the feedback store.
        name: name of the signature.
        feedback: a ``FeedbackCollector``; what its ``get_feedback`` returned; None for all feedback in the store.
        options: how it is used.

    Raises:
        FeedbackError: there is not enough feedback, or none that can be used.
        ConfigurationError: an option cannot be used.
        InputError: the examples of the test set do not fit the signature.
    """
    if type(options.min_count) is not int or options.min_count < 0:
        raise ConfigurationError(f"min_count={options.min_count!r}: expected a whole number")
    target = _registered(executor, name)
    short = (name if target is None else target.name).rpartition("/")[2]
    test = None
    with open_feedback(executor, feedback, short, options.since) as (given, collector):
        if target is None:
            spec = spec_of(name, given, () if collector is None else collector.executions(short))
            target = TargetSignature(spec, f"local/{spec.name}", spec)
        if options.testset is not None:
            test = read_examples(target.spec, options.testset, "testset", media=executor.config.media_policy)
        material = _Material(
            executor=executor,
            target=target,
            given=given,
            executions=None if collector is None else (lambda: collector.executions(short, options.since)),
            test=() if test is None else test.items,
            options=options,
        )
        outcome = material.outcome()
        prepared = material.by_feedback() if outcome is None else material.by_outcome(outcome)
    return prepared if test is None else evolve(prepared, notes=(*prepared.notes, *test.notes))


def _registered(executor: Executor, name: str) -> TargetSignature | None:
    known = executor.signatures
    if any(name in (item.name, item.qualified_name, *item.spec.aliases) for item in known.list()):
        return target_of(executor, known.resolve(name))
    return None


@frozen
class _Material:
    """What examples are made of.

    Args:
        executor: knows the metrics.
        target: the signature.
        given: the feedback.
        executions: returns all kept executions of the signature; None where they are not known.
        test: examples of the user's own to compare on.
        options: how feedback is used.
    """

    executor: Executor
    target: TargetSignature
    given: Sequence[Feedback]
    executions: Callable[[], Iterable[KeptExecution]] | None
    test: Sequence[OptimizationExample]
    options: FeedbackOptions

    def outcome(self) -> str | None:
        """Return the outcome that the metric names; None where it is a metric.

        Raises:
            ConfigurationError: it is neither a metric nor an outcome, or both.
        """
        metric, name = self.options.metric, self.target.spec.name
        if not isinstance(metric, str):
            return None
        is_metric = bool(self._components(metric))
        outcomes = outcome_names(self.executions()) if self.executions is not None else []
        if metric in outcomes and is_metric:
            raise ConfigurationError(f"metric={metric!r} is both a metric and an outcome of {name}; rename the outcome")
        if metric not in outcomes and not is_metric:
            told = f"its outcomes are {', '.join(outcomes)}" if outcomes else "no outcome is recorded for it"
            raise ConfigurationError(
                f"metric={metric!r} is neither a metric nor an outcome of {name}: {told}. Record one with: "
                f"hokusai feedback outcome EXECUTION_ID {metric}=NUMBER"
            )
        return None if is_metric else metric

    def by_feedback(self) -> PreparedFeedback:
        """Return the examples that people rated high or corrected.

        Raises:
            FeedbackError: there are not enough.
        """
        found = self._examples(self.options.min_count)
        split = self._split(found, reference_free=self._is_reference_free())
        return PreparedFeedback(self.target, split, self.options.metric, found.notes)

    def by_outcome(self, name: str) -> PreparedFeedback:
        """Return the examples with the best outcome, and reviewed executions to compare on, where there are any.

        Raises:
            FeedbackError: there are not enough.
        """
        options, spec = self.options, self.target.spec
        executions = () if self.executions is None else self.executions()
        chosen = best_by_outcome(spec, name, executions, min_rating=options.min_rating, min_count=options.min_count)
        try:
            reviewed = self._split(self._examples(0), reference_free=False)
        except FeedbackError:  # nothing was reviewed, so nothing can be compared
            reviewed = DataSplit((), (), tuple(self.test))
        items = chosen.found.examples
        apart = {near_key(example.inputs) for part in (reviewed.dev, reviewed.test) for example in part}
        split = evolve(
            reviewed,
            train=tuple(example for example in items if near_key(example.inputs) not in apart) or items,
            refusals=(*reviewed.refusals, chosen.refusal),
            sources=chosen.found.sources,
        )
        return PreparedFeedback(self.target, split, None, chosen.found.notes)

    def _examples(self, min_count: int) -> FeedbackExamples:
        target, options = self.target, self.options
        count = sum(is_of(item.signature, target.name) for item in self.given)
        if count < min_count:
            raise FeedbackError(
                f"not enough yet: {target.spec.name} has {count} feedbacks, {min_count} are needed. Collect "
                f"{min_count - count} more, for example with: hokusai feedback review --signature {target.spec.name}"
            )
        return examples_of(
            target.spec,
            target.name,
            self.given,
            min_rating=options.min_rating,
            per_source=options.per_source,
            seed=options.seed,
        )

    def _split(self, found: FeedbackExamples, *, reference_free: bool) -> DataSplit:
        target, options = self.target, self.options
        population = None
        if self.executions is not None:
            ids = {item.execution_id for item in self.given if is_of(item.signature, target.name)}
            population = read_population(target.spec, self.executions(), ids, seed=options.seed)
        return split_feedback(
            target.spec,
            found,
            population,
            seed=options.seed,
            reference_free=reference_free,
            test=self.test or None,
        )

    def _is_reference_free(self) -> bool:
        return any("reference_free" in one.capabilities for one in self._components(self.options.metric))

    def _components(self, metric: Any) -> list[Component]:
        offered = [*METRICS, *self.executor.plugins.components("metric")]
        return [one for one in offered if metric in (one.name, one.qualified_name)]
