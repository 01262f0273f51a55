"""Runs a system on examples, several at once, and yields the answers as they come."""

from __future__ import annotations

import contextvars
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Final

from hokusai_core import Executor
from hokusai_core.errors import ExecutionError, InputError
from hokusai_evaluate.answers import Answer, answer_of, failed_answer
from hokusai_evaluate.systems import System

__all__ = ["PROBE", "ask"]

#: Rows that are asked one by one before the others, so that a language model that is not there ends it early.
PROBE: Final = 10


def ask(
    executor: Executor,
    system: System,
    inputs: Sequence[Mapping[str, Any]],
    *,
    workers: int | None,
    options: Mapping[str, Any],
    at_once: bool = False,
) -> Iterator[tuple[int, Answer]]:
    """Yield the place and the answer of each of ``inputs``, in the order in which they come.

    Args:
        executor: runs the system.
        system: the system.
        inputs: bound inputs of each example.
        workers: executions at once; None for the executor's.
        options: options of the executions that all systems share.
        at_once: whether nothing is to be done with an answer before all are there. That is a little faster.
    """
    given = {**options, **system.options} | ({} if system.lm is None else {"lm": system.lm})
    if system.is_chain:
        yield from _ask_chain(executor, system.target, inputs, workers or executor.config.value("max_workers"), given)
        return
    first = inputs[:PROBE] if at_once else inputs
    with executor.iter_batch(system.target, first, max_workers=workers, progress=False, **given) as rows:
        for row in rows:
            yield row.index, answer_of(row.outcome)
    if len(first) < len(inputs):
        rest = executor.execute_batch(system.target, inputs[PROBE:], max_workers=workers, progress=False, **given)
        for index, outcome in enumerate(rest, PROBE):
            yield index, answer_of(outcome)


def _ask_chain(
    executor: Executor, chain: Any, inputs: Sequence[Mapping[str, Any]], workers: int, options: Mapping[str, Any]
) -> Iterator[tuple[int, Answer]]:
    def run(values: Mapping[str, Any]) -> Answer:
        try:
            return answer_of(executor.execute_chain(chain, values, **options))
        except (ExecutionError, InputError) as error:
            return failed_answer(error)

    waiting: dict[Future[Answer], int] = {}
    queue = iter(enumerate(inputs))
    pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="hokusai-evaluate")
    try:
        while True:
            # Only a few examples ahead of the workers: the rest is never begun if the evaluation ends.
            while len(waiting) < 2 * workers and (item := next(queue, None)) is not None:
                waiting[pool.submit(contextvars.copy_context().run, run, item[1])] = item[0]
            if not waiting:
                return
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield waiting.pop(future), future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
