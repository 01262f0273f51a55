"""``replay``: run kept executions on another language model, and compare it with what was answered then."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Unpack

import numpy as np
from attrs import evolve

from hokusai_core import Executor
from hokusai_core.errors import ConfigurationError
from hokusai_core.plugin_api import OptimizationExample
from hokusai_core.types import ExecutionOptions
from hokusai_evaluate.answers import Answer, AnswerJournal
from hokusai_evaluate.evaluation_report import Evaluation
from hokusai_evaluate.evaluation_run import EvaluationRun
from hokusai_evaluate.example_reader import Examples, example_key, input_key, keys_hash
from hokusai_evaluate.kept_executions import KeptRow, KeptRows, find_kept, kept_sources
from hokusai_evaluate.measurement import Measurement, ReportOptions, report_of
from hokusai_evaluate.metrics import make_metric, usual_metric
from hokusai_evaluate.paired_intervals import sign_flip_interval
from hokusai_evaluate.replay_report import PairedFigure, Replay, ReplayedSignature
from hokusai_evaluate.systems import System, make_systems

__all__ = ["replay"]


def replay(
    executor: Executor,
    *,
    since: float | None = None,
    signature: str | None = None,
    sources: Mapping[str, Any] | None = None,
    metric: Any = None,
    sample: int | None = None,
    journal: str | os.PathLike[str] | None = None,
    max_workers: int | None = None,
    seed: int = 0,
    confidence: float = 0.95,
    progress: Callable[[str, int, int], object] | None = None,
    **options: Unpack[ExecutionOptions],
) -> Replay:
    """Run kept executions on another language model, and compare both sides row by row.

    Where people have corrected outputs, both sides are scored against the corrections. For the other rows the score is
    how far the new outputs agree with those that were given, which says how much would change, and not what is better.

    Args:
        executor: runs them. Caches are not used.
        since: seconds since the epoch from which on executions are taken; None for all.
        signature: only those of one signature, by ``pack/Name`` or ``Name``.
        sources: trackers and feedback stores with a method ``search``, by name; None for those of ``executor``.
        metric: name of a metric, a function or a ``Metric``; None for the one that suits the outputs.
        sample: executions of each signature, the latest ones; None for all.
        journal: file that keeps the answers of the new language model. The same call with the same file asks only for
            what is not in it.
        max_workers: executions at once; None for the executor's.
        seed: of the resampling.
        confidence: of the intervals.
        progress: called with the signature, the number of answers so far, and of all.
        **options: options of every execution, as for ``execute_signature``. ``lm`` is the other language model.

    Raises:
        ConfigurationError: no language model is given, or no execution is kept; says how to keep them.
        LanguageModelError: the language model cannot be reached at all.
        JournalError: the journal cannot be used.
    """
    if sample is not None and sample < 1:
        raise ConfigurationError(f"sample={sample!r}: expected a number of executions")
    lm = options.pop("lm", None)
    if lm is None:
        raise ConfigurationError("give the language model that the executions are to be run on, as lm=...")
    own = sources is None
    found = kept_sources(executor) if sources is None else dict(sources)
    try:
        kept = find_kept(executor, found, since=since, signature=signature)
    finally:
        for source in found.values() if own else ():
            source.close()
    options.setdefault("cache", "off")
    model = str(executor.language_model(lm).lm.model)
    with nullcontext() if journal is None else AnswerJournal(journal) as answers:
        runner = _Runner(executor, lm, metric, max_workers, seed, confidence, progress, options, answers)
        return Replay(model, since, tuple(found), tuple(runner.signature(one, sample) for one in kept))


class _KeptAnswers:
    """Answers that need not be asked for: those of the kept executions, and of the new model those in a journal.

    Args:
        rows: the kept executions.
        journal: keeps the answers of the new language model; None for none.
    """

    def __init__(self, rows: Sequence[KeptRow], journal: AnswerJournal | None) -> None:
        self._rows = {input_key(row.example): row for row in rows}
        self._journal = journal

    def key(self, system: System, inputs: Mapping[str, Any], occurrence: int) -> str:
        """Return what an answer is found by."""
        if system.against or self._journal is None:
            return input_key(OptimizationExample(inputs, {}))
        return self._journal.key(system, inputs, occurrence)

    def find(self, key: str, system: System) -> Answer | None:
        """Return the answer of a kept execution, or one of the new language model that the journal has."""
        if not system.against:
            return None if self._journal is None else self._journal.find(key, system)
        row = self._rows[key]
        outputs, problems = system.spec.codec.coerce(dict(row.execution.outputs))
        one = row.execution
        fresh = one.cached is None  # an answer out of a cache says nothing of cost and latency
        return Answer(
            outputs if not problems else dict(row.execution.outputs),
            latency=one.latency if fresh else None,
            cost=one.cost if fresh else None,
            tokens=(one.usage.input_tokens, one.usage.output_tokens) if one.usage is not None and fresh else None,
        )

    def record(self, key: str, system: System, answer: Answer) -> None:
        """Keep an answer of the new language model in the journal, if there is one."""
        if self._journal is not None:
            self._journal.record(key, system, answer)


class _Runner:
    """Runs the executions of one signature after the other."""

    def __init__(
        self,
        executor: Executor,
        lm: Any,
        metric: Any,
        workers: int | None,
        seed: int,
        confidence: float,
        progress: Callable[[str, int, int], object] | None,
        options: Mapping[str, Any],
        journal: AnswerJournal | None,
    ) -> None:
        self._journal = journal
        self._executor, self._lm, self._metric, self._workers = executor, lm, metric, workers
        self._seed, self._confidence, self._progress, self._options = seed, confidence, progress, options

    def signature(self, kept: KeptRows, sample: int | None) -> ReplayedSignature:
        """Replay the executions of one signature."""
        rows, left_out = list(kept.rows), dict(kept.left_out)
        if sample is not None and len(rows) > sample:
            left_out["more than were asked for"] = len(rows) - sample
            rows = rows[-sample:]
        found = sum(left_out.values()) + len(rows)
        if not rows:
            return ReplayedSignature(kept.signature, found, left_out, None, None, None, None)
        groups = [[row for row in rows if row.corrected], [row for row in rows if not row.corrected]]
        corrected, agreement = (self._measured(kept.signature, group) if group else None for group in groups)
        answers = [pair for one in (corrected, agreement) if one is not None for pair in _answer_pairs(one[1])]
        return ReplayedSignature(
            kept.signature,
            found,
            left_out,
            None if corrected is None else corrected[0],
            None if agreement is None else agreement[0],
            self._figure([(new.cost, old.cost) for new, old in answers]),
            self._figure([(new.latency, old.latency) for new, old in answers]),
        )

    def _measured(self, signature: str, rows: Sequence[KeptRow]) -> tuple[Evaluation, list[Measurement]]:
        started = time.time()
        (new,) = make_systems(self._executor, signature, [self._lm], [], {})
        models = sorted({row.execution.model for row in rows})
        label = models[0] if len(models) == 1 else f"{len(models)} models"
        kept = evolve(new, model=label, label=f"{label} (kept)", against=True, identity="kept")
        new = evolve(new, label=new.model)
        given = self._metric if self._metric is not None else usual_metric(new.spec)
        metric = make_metric(self._executor.plugins, given, None)
        if hasattr(metric, "using"):
            metric = metric.using(lambda lm: self._executor.language_model(lm or self._lm), new.spec.instructions)
        examples = [row.example for row in rows]
        run = EvaluationRun(
            self._executor,
            [new, kept],
            examples,
            [metric],
            1,
            _KeptAnswers(rows, self._journal),
            workers=self._workers,
            options=self._options,
        ).reporting(self._heard(signature), 2 * len(rows))
        run.ask(range(len(rows)))
        measured = run.measurements()
        keys = tuple(map(example_key, examples))
        numbers = tuple(range(1, len(rows) + 1))
        extras = tuple({"execution_id": row.execution.execution_id} for row in rows)
        digest = keys_hash(keys)
        report = report_of(
            measured,
            Examples(tuple(examples), (), keys, numbers, extras),
            [metric],
            ReportOptions(digest, None, self._seed, self._confidence, (), None, None),
            spent=run.spent,
            seconds=time.time() - started,
        )
        return report, measured

    def _heard(self, signature: str) -> Callable[[int, int], object] | None:
        progress = self._progress
        if progress is None:
            return None
        return lambda done, total: progress(signature, done, total)

    def _figure(self, pairs: Sequence[tuple[float | None, float | None]]) -> PairedFigure | None:
        known = [(new, old) for new, old in pairs if new is not None and old is not None]
        if not known:
            return None
        after, before = [new for new, _ in known], [old for _, old in known]
        gains = np.asarray(after) - np.asarray(before)
        low, high, _ = sign_flip_interval(gains, confidence=self._confidence, seed=self._seed)
        means, difference = (statistics.fmean(before), statistics.fmean(after)), float(gains.mean())
        return PairedFigure(*means, difference, min(low, difference), max(high, difference), len(known))


def _answer_pairs(measured: Sequence[Measurement]) -> list[tuple[Answer, Answer]]:
    new, kept = measured
    return [pair for pair in zip(new.rounds[0], kept.rounds[0], strict=True) if pair[0].outputs is not None]
