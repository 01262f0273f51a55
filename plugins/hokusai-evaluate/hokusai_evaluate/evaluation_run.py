"""The run of an evaluation: asks its systems, keeps the answers, and scores them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Self

from hokusai_core import Executor
from hokusai_core.errors import ExecutionError, LanguageModelError, OptimizationError
from hokusai_core.plugin_api import OptimizationExample
from hokusai_evaluate.answering import PROBE, ask
from hokusai_evaluate.answers import Answer, AnswerKeeper
from hokusai_evaluate.measurement import Measurement
from hokusai_evaluate.metrics.scoring import checked, goodness, worst_goodness
from hokusai_evaluate.systems import System

__all__ = ["EvaluationRun"]

#: Further tries of a metric whose language model is busy, and the longest wait before one, in seconds.
_RETRIES, _LONGEST_WAIT = 3, 30.0
#: By metric how good an answer is; None where it has no score.
_Goods = Sequence[float | None]


class EvaluationRun:
    """Asks systems for rows and scores the answers.

    Args:
        executor: runs the systems.
        systems: the systems, those that others are compared with last.
        examples: the rows.
        metrics: the metrics, ready to score, the leading one first.
        repeat: rounds.
        journal: keeps answers; None for none.
        workers: executions at once; None for the executor's.
        options: options of every execution.

    Attributes:
        metric: the leading metric.
        workers: executions at once.
        spent: US dollars so far, as far as prices are known.
    """

    def __init__(
        self,
        executor: Executor,
        systems: Sequence[System],
        examples: Sequence[OptimizationExample],
        metrics: Sequence[Any],
        repeat: int,
        journal: AnswerKeeper | None,
        *,
        workers: int | None,
        options: Mapping[str, Any],
    ) -> None:
        self._executor, self._systems, self._examples, self._metrics = executor, systems, examples, metrics
        self._repeat, self._journal, self._options = repeat, journal, options
        self._progress: Callable[[int, int], object] | None = None
        self._done = self._total = 0
        # By system and round: place of the row -> answer; the scores of an answer by metric.
        self._answers: list[list[dict[int, Answer]]] = [[{} for _ in range(repeat)] for _ in systems]
        self._goods: list[list[dict[int, _Goods]]] = [[{} for _ in range(repeat)] for _ in systems]
        self._reached: set[str] = set()
        self.metric = metrics[0]
        self._given_workers = workers
        self.workers: int = workers or executor.config.value("max_workers")
        self.spent = 0.0

    def reporting(self, progress: Callable[[int, int], object] | None, total: int) -> Self:
        """Call a function with the number of answers so far and of all, and return this run."""
        self._progress, self._total = progress, total
        return self

    @property
    def total(self) -> int:
        """How many rows there are."""
        return len(self._examples)

    @property
    def places(self) -> list[int]:
        """The places of the rows that were asked, in the order of the data."""
        return sorted(self._answers[0][0])

    def ask(self, rows: Sequence[int]) -> None:
        """Ask every system for rows, and score the answers.

        Args:
            rows: places of the rows.

        Raises:
            LanguageModelError: the language model of a system cannot be reached at all.
            OptimizationError: a metric failed.
            JournalError: the journal cannot be written.
        """
        for system, kept in zip(self._systems, self._answers, strict=True):
            jobs = [(number, row) for number in range(self._repeat) for row in rows]
            for (number, row), answer in zip(jobs, self._ask(system, jobs), strict=True):
                kept[number][row] = answer
        for kept, scored in zip(self._answers, self._goods, strict=True):
            for answers, goods in zip(kept, scored, strict=True):
                columns = [self._score_all(metric, [answers[row] for row in rows], rows) for metric in self._metrics]
                goods.update(zip(rows, zip(*columns, strict=True), strict=True))

    def measurements(self) -> list[Measurement]:
        """Return the answers and scores of every system for the rows that were asked, in the order of the data."""
        places = self.places
        return [
            Measurement(
                system,
                [[answers[place] for place in places] for answers in kept],
                [[[goods[place][at] for place in places] for goods in scored] for at in range(len(self._metrics))],
            )
            for system, kept, scored in zip(self._systems, self._answers, self._goods, strict=True)
        ]

    def tested_and_compared(self) -> tuple[int, int | None]:
        """Return the numbers of the system that is tested and of the one that it is compared with, None for a file.

        Of two language models the second one is compared with the first.
        """
        if len(self._systems) == 1:
            return 0, None
        return (0, 1) if self._systems[1].against else (1, 0)

    def good(self, system: int, row: int) -> float | None:
        """Return how good the answers of a system for a row are, the mean over the rounds; None without a score.

        Args:
            system: its number.
            row: place of the row.
        """
        found = []
        for answers, goods in zip(self._answers[system], self._goods[system], strict=True):
            good = goods[row][0]
            if good is None:
                if not answers[row].answered or answers[row].outputs is not None:
                    return None
                good = worst_goodness(self.metric, ())
            found.append(good)
        return sum(found) / len(found)

    def _ask(self, system: System, jobs: Sequence[tuple[int, int]]) -> list[Answer]:
        """Return the answers to pairs of round and row. Those of the journal are not asked for again."""
        found: list[Answer | None] = [None] * len(jobs)
        keys: list[str] = []
        journal = self._journal
        if journal is not None:
            keys = [journal.key(system, self._examples[row].inputs, number) for number, row in jobs]
            found = [journal.find(key, system) for key in keys]
        places = [place for place, answer in enumerate(found) if answer is None]
        self._done += len(found) - len(places)
        inputs = [self._examples[jobs[place][1]].inputs for place in places]
        reached, failed = system.label in self._reached, 0
        at_once = journal is None and self._progress is None
        found_now = ask(
            self._executor, system, inputs, workers=self._given_workers, options=self._options, at_once=at_once
        )
        for index, answer in found_now:
            place = places[index]
            found[place] = answer
            if journal is not None:
                journal.record(keys[place], system, answer)
            self._done += 1
            if answer.cost and answer.tokens is not None:  # made now, and not out of a cache
                self.spent += answer.cost
            if self._progress is not None:
                self._progress(self._done, self._total)
            if not reached and answer.answered:
                reached = True
            elif not reached:
                failed += 1
                if failed == min(PROBE, len(places)):
                    raise LanguageModelError(
                        f"{system.label}: none of the first {failed} rows could be asked: "
                        f"{answer.error}: {answer.message}"
                    )
        if reached:
            self._reached.add(system.label)
        return [answer or Answer(None, "Missing", answered=False) for answer in found]

    def _score_all(self, metric: Any, answers: Sequence[Answer], rows: Sequence[int]) -> list[float | None]:
        """Return how good each answer is; None if it has no answer or no score."""
        examples, score = [self._examples[row] for row in rows], partial(_score, metric)
        if hasattr(metric, "using"):  # it waits for a language model
            with ThreadPoolExecutor(max_workers=self.workers) as pool:
                return list(pool.map(score, examples, answers))
        return list(map(score, examples, answers))


def _score(metric: Any, example: OptimizationExample, answer: Answer) -> float | None:
    if answer.outputs is None:
        return None
    try:
        score = metric.score(example.outputs, answer.outputs, example.inputs)
    except ExecutionError as failure:  # the metric's own language model failed
        again = _score_again(metric, example, answer, failure)
        if again is None:
            return None
        score = again
    except Exception as error:
        name = getattr(metric, "name", type(metric).__name__)
        raise OptimizationError(
            f"metric {name} raised {type(error).__name__}: {error}; what is in a journal is not asked for again"
        ) from error
    return goodness(metric, checked(score, metric))


def _score_again(metric: Any, example: OptimizationExample, answer: Answer, failure: ExecutionError) -> Any:
    """Return the score of another try where the language model of a metric may answer later, None where it fails."""
    for attempt in range(_RETRIES):
        if not failure.retryable:
            return None
        time.sleep(min(_LONGEST_WAIT, getattr(failure, "retry_after", None) or 0.5 * 2**attempt))
        try:
            return metric.score(example.outputs, answer.outputs, example.inputs)
        except ExecutionError as error:
            failure = error
    return None
