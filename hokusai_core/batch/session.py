"""A batch from its first row to its result, for callers that wait for all of it, blocking or awaiting."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from attrs import define, field

from hokusai_core.batch.backend import run_on_backend
from hokusai_core.batch.engines import Engine, LoopEngine, ThreadEngine
from hokusai_core.batch.feeding import Feeding
from hokusai_core.batch.results import BatchResult, Outcome
from hokusai_core.batch.row_execution import failed
from hokusai_core.batch.rows import aiter_rows, is_in_memory, rows
from hokusai_core.errors import BatchInterrupted, ExecutionError
from hokusai_core.events import OperationFinished
from hokusai_core.runtime.drivers import blocking
from hokusai_core.runtime.window import ConcurrencyWindow

if TYPE_CHECKING:
    from hokusai_core.batch.progress import ProgressCounter
    from hokusai_core.batch.row_execution import Row, Work
    from hokusai_core.execution.call_plan import CallPlan
    from hokusai_core.executor import Executor

__all__ = ["Session"]

#: Rows at once from which on an event loop is faster than threads, even where each row only waits. Below, a thread for
#: each row keeps a language model, a validator or a hook that blocks from holding up the others.
_LOOP_FROM = 65


@define(eq=False)
class Session:
    """One batch.

    Args:
        executor: what it runs on.
        work: what is done with a row.
        name: what is run, for people.
        width: rows that run at once at most.
        awaitable: whether the language model can be awaited without a thread.
        meter: counts rows and tells how far the batch is.
        kind: ``batch`` or ``parallel``.
        close: gives back what the batch holds, such as its journal.
        resume: how to go on after an interruption, for people.
        batch_size: rows that are read from the source at once.
    """

    executor: Executor
    work: Work
    name: str
    width: int
    awaitable: bool
    meter: ProgressCounter
    operation_id: str
    kind: str = "batch"
    close: Callable[[], None] = lambda: None
    resume: str = ""
    batch_size: int | None = None
    tags: Any = field(factory=dict)
    _started: float = field(factory=time.time, init=False)
    _closed: bool = field(default=False, init=False)
    _closing: threading.Lock = field(factory=threading.Lock, init=False)

    def collect(self, source: Iterable[Any]) -> BatchResult:
        """Run every row and return the outcomes in order.

        Raises:
            BatchInterrupted: Ctrl-C was pressed; has what is over.
            JournalError: the journal cannot be written.
        """
        kept = _Kept(self)
        engine = self.engine_for(kept.deliver)
        work = Feeding(engine, self.executor, source, self.batch_size, self.width)
        try:
            with blocking():
                work.run()
        except KeyboardInterrupt:
            self.say_stopping()
            work.finish()
            raise self.interrupted(kept.result(engine.under_way)) from None
        except Exception as error:
            self._hand_over(error, engine, kept)
            raise
        finally:
            self.end(engine)
        if engine.fatal is not None:
            self._hand_over(engine.fatal, engine, kept)
            raise engine.fatal
        return kept.result()

    def collect_on(
        self, backend: Any, source: Iterable[Any], plan: CallPlan, options: Mapping[str, Any]
    ) -> BatchResult:
        """Run every row on a backend and return the outcomes in order."""
        kept = _Kept(self)
        engine = Engine(
            self.work, ConcurrencyWindow(self.width), kept.deliver
        )  # takes nothing; what ends the batch is kept there
        try:
            run_on_backend(backend, source, self.work, plan.spec, plan.name, options, kept.deliver)
        except KeyboardInterrupt:
            raise self.interrupted(kept.result()) from None
        except Exception as error:
            engine.end(error)
            self._hand_over(error, engine, kept)
            raise
        finally:
            self.end(engine)
        return kept.result()

    async def acollect(self, source: Any) -> BatchResult:
        """Do as ``collect`` on the running event loop; cancelling it cancels every row."""
        kept = _Kept(self)
        engine = LoopEngine(self.work, ConcurrencyWindow(self.width), kept.deliver)
        try:
            await engine.run(rows(source) if is_in_memory(source) else aiter_rows(source, self.batch_size))
        except (Exception, asyncio.CancelledError) as error:  # which Ctrl-C is turned into, too
            self._hand_over(error, engine, kept)
            raise
        finally:
            self.end(engine)
        if engine.fatal is not None:
            self._hand_over(engine.fatal, engine, kept)
            raise engine.fatal
        return kept.result()

    # -- parts of it --------------------------------------------------------------------------------------------

    def engine_for(self, deliver: Callable[[Row, Outcome], None], room: ConcurrencyWindow | None = None) -> Engine:
        """Return the engine that runs the rows; the arguments are its own."""
        pace = ConcurrencyWindow(self.width)
        if self.awaitable and self.width >= _LOOP_FROM and not self.executor.services.loop.inside:
            return LoopEngine(self.work, pace, deliver, room)
        return ThreadEngine(self.work, pace, deliver, room, threads=self.executor.services.threads)

    def end(self, engine: Engine | None = None) -> None:
        """Give back what the batch holds, and tell observers; calling it twice is harmless."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self.meter.close()
            self.close()
            if engine is not None:
                engine.release()
                self._tell(engine.fatal)

    def _tell(self, error: BaseException | None) -> None:
        progress = self.meter.progress()
        self.executor.services.operation_finished(
            OperationFinished(
                operation_id=self.operation_id,
                kind=self.kind,  # type: ignore[arg-type]  # one of the words
                name=self.name,
                status="ok" if error is None else "failed",
                executions=progress.done,
                failures=progress.failed,
                usage=progress.usage,
                cost=progress.cost,
                latency=progress.elapsed,
                started_at=self._started,
                error_type=None if error is None else type(error).__name__,
                error=None if error is None else str(error),
                tags=self.tags,
            )
        )

    def say_stopping(self) -> None:
        """Tell whoever has pressed Ctrl-C why the batch does not end at once."""
        if sys.stderr is not None:
            print(  # noqa: T201  # said to a person, who waits
                f"hokusai: {self.name}: finishing the rows under way; press Ctrl-C again to leave them",
                file=sys.stderr,
                flush=True,
            )

    def _hand_over(self, error: BaseException, engine: Engine, kept: _Kept) -> None:
        """Give what ends the batch before its time the rows that are over: they are paid."""
        result = kept.result(engine.under_way)
        error.add_note(self._stopped(result))
        if isinstance(getattr(error, "result", None), (BatchResult, type(None))):  # else it has one of its own
            vars(error)["result"] = result

    def interrupted(self, result: BatchResult | None) -> BatchInterrupted:
        """Return the error after Ctrl-C, with the rows that are over where they were kept."""
        error = BatchInterrupted(self._stopped(result))
        error.result = result
        return error

    def _stopped(self, result: BatchResult | None) -> str:
        where = "" if result is None else ", which are in .result"
        return f"{self.name}: stopped with {self.meter.done} rows over{where}. {self.resume}".rstrip()


class _Kept:
    """Keeps rows and outcomes until the batch is over."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._rows: dict[int, tuple[Any, Outcome, frozenset[str]]] = {}

    def deliver(self, row: Row, outcome: Outcome) -> None:
        self._rows[row.index] = row.inputs, outcome, self._session.work.hidden(row)
        self._session.meter.count(outcome)

    def result(self, left: Mapping[int, Row] = MappingProxyType({})) -> BatchResult:
        """Return the rows that are over, and with them as failed those that are ``left``."""
        rows = {number: self._left(row) for number, row in dict(left).items()} | dict(self._rows)
        kept = [rows[number] for number in sorted(rows)]
        return BatchResult([row[1] for row in kept], [row[0] for row in kept], [row[2] for row in kept])

    def _left(self, row: Row) -> tuple[Any, Outcome, frozenset[str]]:
        error = ExecutionError(f"row {row.index}: the batch was stopped before it was over")
        hidden = self._session.work.hidden(row)
        return row.inputs, failed(row, error, hidden), hidden
