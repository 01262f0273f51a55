"""BatchOperation: one batch from its first row to its result."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from concurrent.futures import wait as wait_for
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from attrs import define, field

from hokusai_core.batch.results import BatchResult, Outcome
from hokusai_core.batch.rows import RowQueue, aiter_rows, is_in_memory, iter_rows
from hokusai_core.batch.scheduler import TaskScheduler, ThreadScheduler
from hokusai_core.errors import BatchInterrupted, ClosedError, ConfigurationError, ExecutionError
from hokusai_core.events import OperationFinished
from hokusai_core.runtime.drivers import blocking
from hokusai_core.runtime.window import ConcurrencyWindow

if TYPE_CHECKING:
    from hokusai_core.batch.progress import ProgressCounter
    from hokusai_core.batch.rows import Row
    from hokusai_core.batch.scheduler import RowExecution
    from hokusai_core.execution.services import ExecutorServices

__all__ = ["BatchOperation", "BlockingRun"]

#: Rows at once from which on an event loop is faster than threads, even where each row only waits. Below, a thread for
#: each row keeps a language model, a validator or a hook that blocks from holding up the others.
_LOOP_FROM = 65


@define(eq=False)
class BatchOperation:
    """One batch.

    Args:
        services: parts of the executor.
        execution: what is done with a row.
        name: what is run, for people.
        width: rows that run at once at most.
        awaitable: whether the language model can be awaited without a thread.
        counter: counts rows and reports progress.
        operation_id: the ``parent_id`` of its executions.
        kind: ``batch`` or ``parallel``.
        close: releases what the batch holds, such as its journal.
        resume: how to continue after an interruption, for people.
        batch_size: rows that are read from the source at once.
        tags: tags of the call.
        on_loop: whether rows must run on an event loop, as those on a backend.
    """

    services: ExecutorServices
    execution: RowExecution
    name: str
    width: int
    awaitable: bool
    counter: ProgressCounter
    operation_id: str
    kind: str = "batch"
    close: Callable[[], None] = lambda: None
    resume: str = ""
    batch_size: int | None = None
    tags: Any = field(factory=dict)
    on_loop: bool = False
    _started: float = field(factory=time.time, init=False)
    _closed: bool = field(default=False, init=False)
    _closing: threading.Lock = field(factory=threading.Lock, init=False)

    def collect(self, source: Iterable[Any]) -> BatchResult:
        """Run every row and return the outcomes in order.

        Raises:
            BatchInterrupted: Ctrl-C was pressed; has the finished rows.
            JournalError: the journal cannot be written.
        """
        kept = _Kept(self)
        run = BlockingRun(self, source, kept.deliver)
        error: BaseException | None = None
        try:
            with blocking():
                run.run()
        except KeyboardInterrupt:
            self.say_stopping()
            run.finish()
            raise self.interrupted(kept.result(run.scheduler.under_way)) from None
        except Exception as raised:
            error = raised
            raise
        finally:
            run.close()
            self._end(error, run.scheduler.error, kept, run.scheduler.under_way)
        if isinstance(run.scheduler.error, KeyboardInterrupt):
            raise self.interrupted(kept.result(run.scheduler.under_way)) from None
        if run.scheduler.error is not None:
            raise run.scheduler.error
        return kept.result()

    async def acollect(self, source: Any) -> BatchResult:
        """Async version of ``collect``; cancelling it cancels every row."""
        kept = _Kept(self)
        scheduler = TaskScheduler(self.execution, ConcurrencyWindow(self.width), kept.deliver)
        cancelled: BaseException | None = None
        try:
            await scheduler.run(iter_rows(source) if is_in_memory(source) else aiter_rows(source, self.batch_size))
        except asyncio.CancelledError as error:  # Ctrl-C arrives as one, too
            cancelled = error
            raise
        finally:
            self._end(cancelled, scheduler.error, kept, scheduler.under_way)
        if scheduler.error is not None:
            raise scheduler.error
        return kept.result()

    # -- parts --------------------------------------------------------------------------------------------------

    def end(self, error: BaseException | None) -> None:
        """Release what the batch holds, and tell observers how it ended; calling it twice is harmless."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self.counter.close()
            self.close()
            self._tell(error)

    def _end(
        self,
        raised: BaseException | None,
        failure: BaseException | None,
        kept: _Kept,
        left: Mapping[int, Row] = MappingProxyType({}),
    ) -> None:
        """End the batch; an error that ends it early carries the finished rows, which are paid.

        Args:
            raised: what interrupts the caller, or None.
            failure: what the batch failed with, or None.
            kept: the finished rows.
            left: rows that were taken and are not finished.
        """
        self.end(failure)
        error = raised or failure
        if error is None:
            return
        result = kept.result(left)
        error.add_note(self._stopped(result))
        if isinstance(getattr(error, "result", None), (BatchResult, type(None))):  # else it has one of its own
            vars(error)["result"] = result

    def _tell(self, error: BaseException | None) -> None:
        progress = self.counter.progress()
        self.services.operation_finished(
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
        """Say on stderr why the batch does not end at once after Ctrl-C."""
        if sys.stderr is not None:
            print(  # noqa: T201  # for the person who waits
                f"hokusai: {self.name}: finishing the rows under way; press Ctrl-C again to leave them",
                file=sys.stderr,
                flush=True,
            )

    def interrupted(self, result: BatchResult | None) -> BatchInterrupted:
        """Return the error after Ctrl-C, with the finished rows where they were kept."""
        error = BatchInterrupted(self._stopped(result))
        error.result = result
        return error

    def _stopped(self, result: BatchResult | None) -> str:
        where = "" if result is None else ", which are in .result"
        return f"{self.name}: stopped with {self.counter.done} rows over{where}. {self.resume}".rstrip()


class BlockingRun:
    """Runs the rows of a batch to their end from a thread that blocks.

    Args:
        operation: the batch.
        source: its rows.
        deliver: receives each finished row with its outcome.
        room: bounds the rows that were taken and not yet handed out; None for no bound.
    """

    def __init__(
        self,
        operation: BatchOperation,
        source: Iterable[Any],
        deliver: Callable[[Row, Outcome], None],
        room: ConcurrencyWindow | None = None,
    ) -> None:
        services, width = operation.services, operation.width
        self._loop = services.loop
        self._rows: Iterator[Row] = iter_rows(source, operation.batch_size)
        self._queue = None if is_in_memory(source) else RowQueue(self._rows, width)
        self._future: Future[None] | None = None
        self._abandoned = False
        window = ConcurrencyWindow(width)
        self.scheduler: ThreadScheduler | TaskScheduler
        wanted = operation.on_loop or (operation.awaitable and width >= _LOOP_FROM)
        on_loop = wanted and not self._loop.inside and self._loop.start()
        if operation.on_loop and not on_loop:
            raise ConfigurationError(
                "a batch on a backend needs the executor's event loop, which waits for this very call; use "
                "aexecute_batch here"
            )
        if on_loop:
            self.scheduler = TaskScheduler(operation.execution, window, deliver, room, self._queue)
        else:
            self.scheduler = ThreadScheduler(
                operation.execution,
                window,
                deliver,
                room,
                self._queue,
                threads=services.threads,
                workers=services.workers,
            )

    def run(self) -> None:
        """Run all rows."""
        queue, self._rows, rows = self._queue, iter(()), self._rows
        if isinstance(self.scheduler, TaskScheduler):
            self._future = self._loop.submit(self.scheduler.run(rows if queue is None else queue.stream()))
            if queue is not None:
                self._future.add_done_callback(lambda _: queue.shut())
        elif not self.scheduler.start(rows if queue is None else queue):
            self.scheduler.work(rows)  # the system has no thread left, so this one does all the work
            return
        if queue is not None:
            queue.feed()
        self._wait()

    def finish(self) -> None:
        """Take no further row and wait for those that run; a second Ctrl-C leaves them."""
        self.stop()
        try:
            if self._future is not None:
                wait_for([self._future])
            elif isinstance(self.scheduler, ThreadScheduler):
                self.scheduler.wait()
        except KeyboardInterrupt:
            self.abandon()

    def close(self) -> None:
        """Release the thread that looks after deadlines."""
        if isinstance(self.scheduler, ThreadScheduler):
            self.scheduler.close()

    def stop(self) -> None:
        """Take no further row."""
        self.scheduler.stop()

    def abandon(self) -> None:
        """Cancel what can be cancelled, and wait for nothing."""
        self.stop()
        self._abandoned = True
        if self._future is not None:
            self._future.cancel()

    def _wait(self) -> None:
        if isinstance(self.scheduler, ThreadScheduler):
            self.scheduler.wait()
        elif self._future is not None:
            try:
                self._future.result()
            except CancelledError:
                if not self._abandoned:
                    raise ClosedError(
                        "the executor was closed while the batch ran; the rows under way were left"
                    ) from None


class _Kept:
    """Keeps rows and outcomes until the batch is over."""

    def __init__(self, operation: BatchOperation) -> None:
        self._operation = operation
        self._rows: dict[int, tuple[Any, Outcome, frozenset[str]]] = {}

    def deliver(self, row: Row, outcome: Outcome) -> None:
        self._rows[row.index] = row.inputs, outcome, self._operation.execution.hidden(row)
        self._operation.counter.count(outcome)

    def result(self, left: Mapping[int, Row] = MappingProxyType({})) -> BatchResult:
        """Return the finished rows, and as failed ones those that are ``left``."""
        rows = {number: self._left(row) for number, row in dict(left).items()} | dict(self._rows)
        kept = [rows[number] for number in sorted(rows)]
        return BatchResult([row[1] for row in kept], [row[0] for row in kept], [row[2] for row in kept])

    def _left(self, row: Row) -> tuple[Any, Outcome, frozenset[str]]:
        error = ExecutionError(f"row {row.index}: the batch was stopped before it was over")
        hidden = self._operation.execution.hidden(row)
        return row.inputs, row.failed(error, hidden), hidden
