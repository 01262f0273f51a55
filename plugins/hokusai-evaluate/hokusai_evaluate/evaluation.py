"""``evaluate``: run systems on a data set, score the answers, and compare the systems with each other."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Literal, Unpack

from hokusai_core import Budget, Executor
from hokusai_core.errors import ConfigurationError, InputError
from hokusai_core.plugin_api import Problem, check_cost_bound
from hokusai_core.types import ExecutionOptions
from hokusai_evaluate.answers import AnswerJournal
from hokusai_evaluate.early_stopping import ask_until_shown, check_sequential
from hokusai_evaluate.evaluation_event import event_of
from hokusai_evaluate.evaluation_report import Evaluation
from hokusai_evaluate.evaluation_run import EvaluationRun
from hokusai_evaluate.example_reader import Examples, keys_hash, read_examples
from hokusai_evaluate.measurement import ReportOptions, report_of
from hokusai_evaluate.metered_metric import MeteredMetrics
from hokusai_evaluate.metrics import make_metric, usual_metric
from hokusai_evaluate.metrics.scoring import summary_of
from hokusai_evaluate.saved_report import SavedReport, read_saved_report
from hokusai_evaluate.scorecard_making import find_files
from hokusai_evaluate.systems import System, make_systems

__all__ = ["evaluate"]


def evaluate(
    executor: Executor,
    target: Any,
    data: Any = None,
    *,
    metric: Any = None,
    metric_options: Mapping[str, Any] | None = None,
    against: Any = None,
    repeat: int = 1,
    sample: int | None = None,
    by: str | None = None,
    inputs: Mapping[str, Any] | None = None,
    mapping: Mapping[str, str] | None = None,
    delimiter: str | None = None,
    journal: str | os.PathLike[str] | None = None,
    stop: Literal["early"] | None = None,
    max_regression: float | None = None,
    max_workers: int | None = None,
    seed: int = 0,
    confidence: float = 0.95,
    progress: Callable[[int, int], object] | None = None,
    **options: Unpack[ExecutionOptions],
) -> Evaluation:
    """Run a signature or chain on a data set and score what it gives.

    A row whose answer does not fit the signature counts as the worst score. A row that could not be asked, because the
    language model failed, the timeout passed or the money is spent, is left out of the scores and counted as
    unanswered; the evaluation is then not ``complete``.

    Args:
        executor: runs it.
        target: name or class of a signature, a ``SignatureChain``, or the path of a file with one of them.
        data: rows with inputs and expected outputs: the path of a JSONL or CSV file, a list of mappings of field to
            value or of ``{"inputs": {...}, "outputs": {...}}``, of ``dspy.Example``, or a pandas frame. None for the
            evaluation set that comes with the signature.
        metric: name of a metric, ``{name: weight}``, a function, a ``Metric``, or a list of them. The first one leads:
            comparisons and worst rows are by that. None for the one that suits the outputs.
        metric_options: options of metrics that are given by name, such as ``{"judge": "openai/gpt-5"}``.
        against: what to compare with: another signature, the file of an optimized one, the file that
            ``Evaluation.save`` has written, ``"lm=NAME"`` or ``"strategy=NAME"``; or a list of them.
        repeat: how often each row is asked, with ``cache="off"`` above 1. The score of a row is then the mean.
        sample: number of rows that are chosen at random; None for all.
        by: column whose values make slices with a score of their own.
        inputs: inputs that all rows have alike.
        mapping: column -> field, for columns that are called otherwise.
        delimiter: what separates the columns of a CSV file; None for what its first line says.
        journal: file that keeps answers, also those of language models that metrics ask. The same call with the same
            file asks only for what is not in it.
        stop: ``"early"`` asks the rows in random order and stops as soon as it is shown whether the system is worse
            than what it is compared with by more than ``max_regression``. One system is then compared with one other.
            The test may be wrong in ``1 - confidence`` of the cases, as it may without.
        max_regression: how much worse than what it is compared with a system may be, in units of the metric;
            ``Evaluation.check`` says whether it is. None for no such gate, and for zero with ``stop``.
        max_workers: executions at once; None for the executor's.
        seed: of the sample, of the order and of the resampling.
        confidence: of the intervals.
        progress: called with the number of answers so far, and of all.
        **options: options of every execution, as for ``execute_signature``. ``lm`` may be a list: each language model
            is then measured by itself. ``budget`` bounds all systems together, and the calls of metrics that ask a
            model.

    Returns:
        The scores with their intervals, the comparisons, and the rows.

    Raises:
        BudgetExceeded: the budget has a ceiling on cost, and no price of a language model is known; nothing was called.
        InputError: rows do not fit the signature; carries every problem, and nothing was called.
        ConfigurationError: an argument cannot be used.
        OptimizationError: a metric failed.
        LanguageModelError: the language model cannot be reached at all.
        JournalError: the journal cannot be used.

    Example:
        >>> from hokusai_core.testing.lm import null_lm
        >>> rows = [{"question": "Capital of France?", "answer": "Paris"}, {"question": "2+2?", "answer": "4"}]
        >>> with Executor(lm=null_lm(answers={"answer": "Paris"}), plugins=[]) as executor:
        ...     executor.register_signature("Ask", "question -> answer")
        ...     evaluation = evaluate(executor, "Ask", rows, metric="accuracy")
        >>> evaluation.score
        0.5
    """
    if isinstance(repeat, bool) or not isinstance(repeat, int) or repeat < 1:
        raise ConfigurationError(f"repeat={repeat!r}: expected a whole number of at least 1")
    if not 0.5 < confidence < 1:
        raise ConfigurationError(f"confidence={confidence!r}: expected a number between 0.5 and 1")
    if max_regression is not None and not max_regression >= 0:
        raise ConfigurationError(f"max_regression={max_regression!r}: expected a number of at least 0")
    started = time.time()
    data = find_files(executor, target).set_needed() if data is None else data
    lms = _listed(options.pop("lm", None)) or [None]
    if repeat > 1:
        options.setdefault("cache", "off")
    others, saved = _read_saved(against)
    systems = make_systems(executor, target, lms, others, _own_options(options))
    columns = () if by is None else (by,)
    examples = read_examples(
        systems[0].spec,
        data,
        "data",
        mapping=mapping,
        constants=inputs,
        delimiter=delimiter,
        other_columns=columns,
        media=executor.config.media_policy,
    )
    examples = _choose(examples, sample, seed)
    _check_others(executor, systems, examples)
    _check_slices(by, systems[0], examples)
    metrics = [
        make_metric(executor.plugins, given, metric_options if isinstance(given, str) else None)
        for given in _metrics(metric, systems[0])
    ]
    digest = keys_hash(examples.keys)
    if stop is not None:
        max_regression = 0.0 if max_regression is None else max_regression
        check_sequential(stop, metrics[0], systems, saved, max_regression)
    elif max_regression is not None and len(systems) + len(saved) < 2:
        raise ConfigurationError("max_regression needs something to compare with; give against=...")
    budget = options.get("budget") or executor.budget
    _check_prices(executor, systems, budget)
    total = len(systems) * len(examples.items) * repeat
    with nullcontext() if journal is None else AnswerJournal(journal) as kept:
        metered = MeteredMetrics(executor, budget, kept)
        ready = [metered.ready(item, systems[0]) for item in metrics]
        run = EvaluationRun(
            executor, systems, examples.items, ready, repeat, kept, workers=max_workers, options=options
        ).reporting(progress, total)
        sequential = None
        if stop is None:
            run.ask(range(len(examples.items)))
        else:
            sides = [
                one.side(examples, digest, ready[0], str(summary_of(ready[0])["name"]), systems[0].spec)
                for one in saved
            ]
            sequential = ask_until_shown(run, sides, max_regression or 0.0, confidence=confidence, seed=seed)
            examples = _asked(examples, run.places)
    evaluation = report_of(
        run.measurements(),
        examples,
        ready,
        ReportOptions(digest, by, seed, confidence, saved, sequential, max_regression),
        spent=run.spent + metered.spent,
        seconds=time.time() - started,
        notes=metered.notes(),
    )
    if executor.notes_evaluations:
        executor.evaluation_finished(event_of(evaluation, systems[0].name))
    return evaluation


def _read_saved(against: Any) -> tuple[list[Any], list[SavedReport]]:
    """Return what is to be asked to compare with, and the reports that are compared with as they are."""
    others: list[Any] = []
    saved: list[SavedReport] = []
    for other in _listed(against):
        report = read_saved_report(other)
        if report is None:
            others.append(other)
        else:
            saved.append(report)
    return others, saved


def _metrics(metric: Any, system: System) -> list[Any]:
    return _listed(metric) or [usual_metric(system.spec)]


def _listed(given: Any) -> list[Any]:
    if given is None:
        return []
    return list(given) if isinstance(given, (list, tuple)) else [given]


def _own_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those options that decide about answers, and are part of what a system is."""
    return {name: options[name] for name in ("strategy", "parameters") if options.get(name)}


def _choose(examples: Examples, sample: int | None, seed: int) -> Examples:
    if sample is None or sample >= len(examples.items):
        return examples
    if sample < 1:
        raise ConfigurationError(f"sample={sample!r}: expected a number of rows")
    chosen = sorted(random.Random(seed).sample(range(len(examples.items)), sample))  # noqa: S311  # no secret
    return _selected(examples, chosen, f"{sample} of {len(examples.items)} rows, chosen at random")


def _asked(examples: Examples, places: Sequence[int]) -> Examples:
    """Return the examples that a test has asked before it stopped."""
    if len(places) == len(examples.items):
        return examples
    note = (
        f"stopped after {len(places)} of {len(examples.items)} rows, in random order, because the comparison was "
        "decided; scores and difference are of a stopped test, which tends to show more than is there"
    )
    return _selected(examples, places, note)


def _selected(examples: Examples, places: Sequence[int], note: str) -> Examples:
    return Examples(
        tuple(examples.items[place] for place in places),
        (*examples.notes, note),
        tuple(examples.keys[place] for place in places),
        tuple(examples.numbers[place] for place in places),
        tuple(examples.extras[place] for place in places),
    )


def _check_others(executor: Executor, systems: Iterable[System], examples: Examples) -> None:
    """Refuse systems that the data of the first one does not fit.

    Raises:
        InputError: it does not fit one of them.
    """
    first, *others = systems
    for system in others:
        if system.spec.fingerprint == first.spec.fingerprint:
            continue
        problems: list[Problem] = []
        for number, example in zip(examples.numbers, examples.items, strict=True):
            found = [*system.spec.binder.problems(example.inputs, executor.config.media_policy)]
            found += (
                Problem(name, "unknown", f"is no output of {system.name}")
                for name in example.outputs
                if name not in system.spec.outputs
            )
            problems += (Problem(f"row {number}: {item.field}", item.code, item.message) for item in found)
        if problems:
            shown = "".join(f"\n- {problem}" for problem in problems[:5])
            raise InputError(
                f"the data fits {first.name} and not {system.name}:{shown}", problems=problems, signature=system.name
            )


def _check_prices(executor: Executor, systems: Iterable[System], budget: Budget | None) -> None:
    """Refuse a language model without a price under a ceiling on cost, before the calls of the others are paid.

    Raises:
        BudgetExceeded: no price of one is known.
    """
    prices = executor.config.value("prices")
    for system in systems if budget is not None and budget.cost is not None else ():
        if not system.is_chain:  # whose steps may have models of their own
            # What bounds the answers may stand in the signature, and shows at the first call.
            model = executor.language_model(system.lm)
            check_cost_bound(model, budget, prices=prices, parameters={"max_tokens": 1})


def _check_slices(by: str | None, system: System, examples: Examples) -> None:
    if by is None or by in system.spec.inputs or by in system.spec.outputs:
        return
    columns = {name for extra in examples.extras for name in extra}
    if by not in columns:
        known = sorted({*columns, *system.spec.inputs, *system.spec.outputs})
        raise ConfigurationError(f"by={by!r}: the data has no such column; it has {', '.join(known)}")
