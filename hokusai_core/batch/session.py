"""A batch from its first row to its result, for callers that wait, that take rows one by one, and that await."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from concurrent.futures import wait as wait_for
from queue import SimpleQueue
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from attrs import define, field

from hokusai_core.batch.backends import run_on_backend
from hokusai_core.batch.engines import Engine, LoopEngine, ThreadEngine
from hokusai_core.batch.outcomes import BatchResult, BatchRow, Outcome
from hokusai_core.batch.sources import Handoff, are_held, arows, rows
from hokusai_core.batch.work import failed
from hokusai_core.errors import BatchInterrupted, ClosedError, ExecutionError
from hokusai_core.events import OperationFinished
from hokusai_core.execution.pace import Pace

if TYPE_CHECKING:
    from hokusai_core.batch.progress import Meter
    from hokusai_core.batch.work import Row, Work
    from hokusai_core.execution.plan import Plan
    from hokusai_core.executor import Executor

__all__ = ["BatchRows", "Session"]

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
    meter: Meter
    operation_id: str
    kind: str = "batch"
    close: Callable[[], None] = lambda: None
    resume: str = ""
    batch_size: int | None = None
    tags: Any = field(factory=dict)
    _started: float = field(factory=time.time, init=False)
    _closed: bool = field(default=False, init=False)
    _closing: threading.Lock = field(factory=threading.Lock, init=False)

    # -- waiting for all ----------------------------------------------------------------------------------------

    def collect(self, source: Iterable[Any]) -> BatchResult:
        """Run every row and return the outcomes in order.

        Raises:
            BatchInterrupted: Ctrl-C was pressed; has what is over.
            JournalError: the journal cannot be written.
        """
        kept = _Kept(self)
        engine = self._engine(kept.deliver)
        work = _Feeding(engine, self.executor, source, self.batch_size, self.width)
        try:
            work.run()
        except KeyboardInterrupt:
            self._say_stopping()
            work.finish()
            raise self._interrupted(kept.result(engine.under_way)) from None
        except Exception as error:
            self._hand_over(error, engine, kept)
            raise
        finally:
            self.end(engine)
        if engine.fatal is not None:
            self._hand_over(engine.fatal, engine, kept)
            raise engine.fatal
        return kept.result()

    def collect_on(self, backend: Any, source: Iterable[Any], plan: Plan, options: Mapping[str, Any]) -> BatchResult:
        """Run every row on a backend and return the outcomes in order."""
        kept = _Kept(self)
        engine = Engine(self.work, Pace(self.width), kept.deliver)  # takes nothing; what ends the batch is kept there
        try:
            run_on_backend(backend, source, self.work, plan.spec, plan.name, options, kept.deliver)
        except KeyboardInterrupt:
            raise self._interrupted(kept.result()) from None
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
        engine = LoopEngine(self.work, Pace(self.width), kept.deliver)
        try:
            await engine.run(rows(source) if are_held(source) else arows(source, self.batch_size))
        except (Exception, asyncio.CancelledError) as error:  # which Ctrl-C is turned into, too
            self._hand_over(error, engine, kept)
            raise
        finally:
            self.end(engine)
        if engine.fatal is not None:
            self._hand_over(engine.fatal, engine, kept)
            raise engine.fatal
        return kept.result()

    # -- one by one ---------------------------------------------------------------------------------------------

    def iterate(self, source: Iterable[Any]) -> BatchRows:
        """Begin the batch and return its rows as they finish."""
        return BatchRows(self, source)

    # -- inside -------------------------------------------------------------------------------------------------

    def _engine(self, deliver: Callable[[Row, Outcome], None], room: Pace | None = None) -> Engine:
        pace = Pace(self.width)
        if self.awaitable and self.width >= _LOOP_FROM and not self.executor._loop.inside:
            return LoopEngine(self.work, pace, deliver, room)
        return ThreadEngine(self.work, pace, deliver, room, threads=self.executor._threads)

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
        self.executor._operation_over(
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

    def _say_stopping(self) -> None:
        if sys.stderr is not None:
            print(  # noqa: T201  # said to whoever has just pressed the keys, and waits
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

    def _interrupted(self, result: BatchResult | None) -> BatchInterrupted:
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


class _Feeding:
    """Runs an engine to its end from a thread that blocks."""

    def __init__(
        self, engine: Engine, executor: Executor, source: Iterable[Any], batch_size: int | None, width: int
    ) -> None:
        self._engine, self._executor = engine, executor
        self._source: Iterable[Any] = source
        self._batch_size = batch_size
        self._handoff = Handoff(width) if isinstance(engine, LoopEngine) and not are_held(source) else None
        self._future: Any = None
        self._abandoned = False

    def run(self) -> None:
        """Feed the engine and wait for its end; raises what the source raises."""
        engine = self._engine
        # Kept by nobody afterwards: a generator that holds a file open ends with the batch, not with its iterator.
        source, self._source = self._source, ()
        if isinstance(engine, ThreadEngine):
            try:
                engine.feed(rows(source, self._batch_size), shared=are_held(source))
            except Exception:  # of the source: what was taken is finished first
                engine.wait()
                raise
            engine.wait()
        elif isinstance(engine, LoopEngine):
            self._future = self._executor._loop.submit(engine.run(self._handoff or rows(source)))
            if self._handoff is not None:
                self._future.add_done_callback(lambda _: self._handoff.shut())
                self._handoff.feed(rows(source, self._batch_size))
            self._wait()

    def _wait(self) -> None:
        try:
            self._future.result()
        except CancelledError:
            if not self._abandoned:
                raise ClosedError("the executor was closed while the batch ran; the rows under way were left") from None

    def finish(self) -> None:
        """Take no further row and wait for those under way; a second Ctrl-C leaves them."""
        self.stop()
        try:
            if isinstance(self._engine, ThreadEngine):
                self._engine.wait()
            elif self._future is not None:
                wait_for([self._future])
        except KeyboardInterrupt:
            self.abandon()

    def stop(self) -> None:
        """Take no further row."""
        self._engine.stop()
        if self._handoff is not None:
            self._handoff.shut()

    def abandon(self) -> None:
        """Cancel what can be cancelled, and wait for nothing."""
        self.stop()
        self._abandoned = True
        if self._future is not None:
            self._future.cancel()


class BatchRows(Iterator[BatchRow]):
    """The rows of a batch as they finish; the number of rows in memory is bounded, however many there are.

    Leaving it early (``close``, the end of a ``with`` block, or forgetting it) takes no further row. With a journal,
    ``close`` waits for the rows under way, which are paid; without one they are cancelled where that can be done.

    At Ctrl-C no further row is taken; those under way come out, and ``BatchInterrupted`` after them. A second one
    leaves them.
    """

    def __init__(self, session: Session, source: Iterable[Any]) -> None:
        self._session = session
        self._queue: SimpleQueue[tuple[Row, Outcome] | None] = SimpleQueue()
        self._ended = self._stopping = False
        self._state = state = _Iteration(session, source, self._queue)
        self._finalizer = weakref.finalize(self, state.abandon)
        self._finalizer.atexit = False
        session.executor._threads.submit(state.run)

    def __next__(self) -> BatchRow:
        if self._ended:
            raise StopIteration
        item = self._wait()
        if item is None:
            self._ended = True
            if self._stopping:
                raise self._session._interrupted(None)
            if self._state.error is not None:
                raise self._state.error
            raise StopIteration
        row, outcome = item
        if row.room is not None:
            row.room.leave()
        return BatchRow(row.index, outcome, row.inputs, self._session.work.hidden(row))

    def _wait(self) -> tuple[Row, Outcome] | None:
        """Return the next row that is over; None where there is none left."""
        try:
            return self._queue.get()
        except KeyboardInterrupt:
            if self._stopping:
                self._state.abandon()
                return None
            self._stopping = True
            self._session._say_stopping()
            self._state.stop()
            return self._wait()

    def close(self) -> None:
        """Take no further row."""
        self._ended = True
        if self._state.keeps:
            self._state.finish()
        else:
            self._state.abandon()
        self._queue.put(None)  # for another thread that may be waiting for a row

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exception: object) -> None:
        if self._state.keeps and not self._ended and kind is not None and issubclass(kind, KeyboardInterrupt):
            self._session._say_stopping()
        self.close()

    def __repr__(self) -> str:
        return f"<BatchRows of {self._session.name}, {self._session.meter.done} over>"


class _Iteration:
    """The side of ``BatchRows`` that works; it does not hold the iterator, so that forgetting that one ends it."""

    def __init__(self, session: Session, source: Iterable[Any], queue: SimpleQueue[Any]) -> None:
        self._session, self._queue = session, queue
        self.error: BaseException | None = None
        self.engine = session._engine(self._deliver, Pace(2 * session.width))
        self.feeding = _Feeding(self.engine, session.executor, source, session.batch_size, session.width)
        self.keeps = bool(session.resume)

    def run(self) -> None:
        """Work until the end, on a thread of its own."""
        try:
            self.feeding.run()
        except BaseException as error:  # raised where the rows are taken
            self.error = error
        finally:
            self.error = self.engine.fatal or self.error
            try:
                self._session.end(self.engine)
            finally:
                self._queue.put(None)

    def stop(self) -> None:
        """Take no further row; when those under way are over, that is the end."""
        self.feeding.stop()
        self._session.executor._threads.submit(self._end)

    def _end(self) -> None:
        try:
            self.finish()
        finally:
            self._queue.put(None)

    def finish(self) -> None:
        """Take no further row, and wait for those under way; not for the source, which may not give one for long."""
        self.feeding.finish()
        self._session.end(self.engine)

    def abandon(self) -> None:
        """Take no further row, and cancel what can be cancelled."""
        self.feeding.abandon()

    def _deliver(self, row: Row, outcome: Outcome) -> None:
        self._session.meter.count(outcome)
        self._queue.put((row, outcome))
