"""``evaluate``: run systems on a data set, score the answers, and compare the systems with each other."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any, Unpack

from hokusai_core import Executor
from hokusai_core.errors import ConfigurationError, ExecutionError, InputError, LanguageModelError, OptimizationError
from hokusai_core.plugin_api import OptimizationExample, Problem
from hokusai_core.types import ExecutionOptions
from hokusai_evaluate.answering import PROBE, ask
from hokusai_evaluate.answers import Answer, AnswerJournal
from hokusai_evaluate.evaluation_report import Evaluation
from hokusai_evaluate.example_reader import Examples, keys_hash, read_examples
from hokusai_evaluate.measurement import Measurement, report_of
from hokusai_evaluate.metrics import make_metric, usual_metric
from hokusai_evaluate.metrics.scoring import checked, goodness
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
    journal: str | os.PathLike[str] | None = None,
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
        against: what to compare with: another signature, the file of an optimized one, ``"lm=NAME"`` or
            ``"strategy=NAME"``; or a list of them.
        repeat: how often each row is asked, with ``cache="off"`` above 1. The score of a row is then the mean.
        sample: number of rows that are chosen at random; None for all.
        by: column whose values make slices with a score of their own.
        inputs: inputs that all rows have alike.
        mapping: column -> field, for columns that are called otherwise.
        journal: file that keeps answers. The same call with the same file asks only for what is not in it.
        max_workers: executions at once; None for the executor's.
        seed: of the sample and of the resampling.
        confidence: of the intervals.
        progress: called with the number of answers so far, and of all.
        **options: options of every execution, as for ``execute_signature``. ``lm`` may be a list: each language model
            is then measured by itself. ``budget`` bounds all systems together; what a metric's own model costs is not
            charged to it.

    Returns:
        The scores with their intervals, the comparisons, and the rows.

    Raises:
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
    started = time.time()
    data = find_files(executor, target).set_needed() if data is None else data
    lms = _listed(options.pop("lm", None)) or [None]
    if repeat > 1:
        options.setdefault("cache", "off")
    systems = make_systems(executor, target, lms, _listed(against), _own_options(options))
    others = () if by is None else (by,)
    examples = read_examples(
        systems[0].spec,
        data,
        "data",
        mapping=mapping,
        constants=inputs,
        other_columns=others,
        media=executor.config.media_policy,
    )
    examples = _choose(examples, sample, seed)
    _check_others(executor, systems, examples)
    _check_slices(by, systems[0], examples)
    metrics = [
        make_metric(executor.plugins, given, metric_options if isinstance(given, str) else None)
        for given in _metrics(metric, systems[0])
    ]
    total = len(systems) * len(examples.items) * repeat
    run = _Run(executor, examples.items, repeat, max_workers, options, progress, total)
    with nullcontext() if journal is None else AnswerJournal(journal) as kept:
        answers = [run.answers(system, kept) for system in systems]
    ready = [_with_models(executor, item, systems[0]) for item in metrics]
    workers = max_workers or executor.config.value("max_workers")
    measured = [
        Measurement(system, rounds, [_score_all(item, examples.items, rounds, workers) for item in ready])
        for system, rounds in zip(systems, answers, strict=True)
    ]
    return report_of(
        measured,
        examples,
        ready,
        digest=keys_hash(examples.keys),
        by=by,
        seed=seed,
        confidence=confidence,
        spent=run.spent,
        seconds=time.time() - started,
    )


class _Run:
    """The calls of an evaluation.

    Args:
        executor: runs the systems.
        examples: the rows.
        repeat: rounds.
        workers: executions at once.
        options: options of every execution.
        progress: called with the number of answers so far, and of all.
        total: answers of all systems together.
    """

    def __init__(
        self,
        executor: Executor,
        examples: Sequence[OptimizationExample],
        repeat: int,
        workers: int | None,
        options: Mapping[str, Any],
        progress: Callable[[int, int], object] | None,
        total: int,
    ) -> None:
        self._executor, self._examples, self._repeat = executor, examples, repeat
        self._workers, self._options, self._progress = workers, options, progress
        self._done, self._total = 0, total
        #: US dollars so far, as far as prices are known.
        self.spent = 0.0

    def answers(self, system: System, journal: AnswerJournal | None) -> list[list[Answer]]:
        """Return the answers of a system by round and row. Those of the journal are not asked for again."""
        count = len(self._examples)
        found: list[Answer | None] = [None] * (count * self._repeat)
        keys: list[str] = []
        if journal is not None:
            rounds = range(self._repeat)
            keys = [journal.key(system, example.inputs, number) for number in rounds for example in self._examples]
            found = [journal.find(key, system) for key in keys]
        places = [place for place, answer in enumerate(found) if answer is None]
        self._done += len(found) - len(places)
        inputs = [self._examples[place % count].inputs for place in places]
        reached, failed = False, 0
        at_once = journal is None and self._progress is None
        found_now = ask(self._executor, system, inputs, workers=self._workers, options=self._options, at_once=at_once)
        for index, answer in found_now:
            place = places[index]
            found[place] = answer
            if journal is not None:
                journal.record(keys[place], system, answer)
            self._note(answer)
            reached |= answer.answered
            failed += not reached
            if not reached and failed == min(PROBE, len(places)):
                raise LanguageModelError(
                    f"{system.label}: none of the first {failed} rows could be asked: {answer.error}: {answer.message}"
                )
        answers = [answer or Answer(None, "Missing", answered=False) for answer in found]
        return [answers[start : start + count] for start in range(0, len(answers), count)]

    def _note(self, answer: Answer) -> None:
        self._done += 1
        if answer.tokens is not None:  # made now, and not out of a cache
            self.spent += answer.cost or 0.0
        if self._progress is not None:
            self._progress(self._done, self._total)


def _score_all(
    metric: Any, examples: Sequence[OptimizationExample], rounds: Sequence[Sequence[Answer]], workers: int
) -> list[list[float | None]]:
    """Return how good each answer is, by round and row; None if it has no answer or no score."""
    jobs = [pair for answers in rounds for pair in zip(examples, answers, strict=True)]

    def score(job: tuple[OptimizationExample, Answer]) -> float | None:
        return _score(metric, *job)

    if hasattr(metric, "using"):  # it waits for a language model
        with ThreadPoolExecutor(max_workers=workers) as pool:
            scores = list(pool.map(score, jobs))
    else:
        scores = list(map(score, jobs))
    return [scores[start : start + len(examples)] for start in range(0, len(jobs), len(examples))]


def _score(metric: Any, example: OptimizationExample, answer: Answer) -> float | None:
    if answer.outputs is None:
        return None
    try:
        score = metric.score(example.outputs, answer.outputs, example.inputs)
    except ExecutionError:  # the metric's own language model failed
        return None
    except Exception as error:
        name = getattr(metric, "name", type(metric).__name__)
        raise OptimizationError(
            f"metric {name} raised {type(error).__name__}: {error}; what is in a journal is not asked for again"
        ) from error
    return goodness(metric, checked(score, metric))


def _with_models(executor: Executor, metric: Any, system: System) -> Any:
    """Return a metric that asks a language model with that model."""
    if not hasattr(metric, "using"):
        return metric
    return metric.using(lambda lm: executor.language_model(system.lm if lm is None else lm), system.spec.instructions)


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
    notes = (*examples.notes, f"{sample} of {len(examples.items)} rows, chosen at random")
    return Examples(
        tuple(examples.items[place] for place in chosen),
        notes,
        tuple(examples.keys[place] for place in chosen),
        tuple(examples.numbers[place] for place in chosen),
        tuple(examples.extras[place] for place in chosen),
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


def _check_slices(by: str | None, system: System, examples: Examples) -> None:
    if by is None or by in system.spec.inputs or by in system.spec.outputs:
        return
    columns = {name for extra in examples.extras for name in extra}
    if by not in columns:
        known = sorted({*columns, *system.spec.inputs, *system.spec.outputs})
        raise ConfigurationError(f"by={by!r}: the data has no such column; it has {', '.join(known)}")
