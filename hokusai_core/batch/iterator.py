"""BatchRows: iterates over the results of a batch as its rows finish."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Self

from hokusai_core.batch.operation import BlockingRun
from hokusai_core.batch.results import BatchRow, Outcome
from hokusai_core.runtime.window import ConcurrencyWindow

if TYPE_CHECKING:
    from hokusai_core.batch.operation import BatchOperation
    from hokusai_core.batch.rows import Row

__all__ = ["BatchRows"]


class BatchRows(Iterator[BatchRow]):
    """The rows of a batch as they finish; the number of rows in memory is bounded, however many there are.

    Leaving it early (``close``, the end of a ``with`` block, or forgetting it) takes no further row. With a journal,
    ``close`` waits for the rows under way, which are paid; without one they are cancelled where that can be done.

    At Ctrl-C no further row is taken; those under way come out, and ``BatchInterrupted`` after them. A second one
    leaves them.
    """

    def __init__(self, operation: BatchOperation, source: Iterable[Any]) -> None:
        self._operation = operation
        self._queue: SimpleQueue[tuple[Row, Outcome] | None] = SimpleQueue()
        self._ended = self._stopping = False
        self._state = state = _Iteration(operation, source, self._queue)
        self._finalizer = weakref.finalize(self, state.abandon)
        self._finalizer.atexit = False
        try:
            operation.services.threads.submit(state.run)
        except BaseException:
            state.abandon()
            state.end()
            raise

    def __next__(self) -> BatchRow:
        if self._ended:
            raise StopIteration
        item = self._wait()
        if item is None:
            self._ended = True
            self._queue.put(None)  # for another thread that may be waiting for a row
            if self._stopping:
                raise self._operation.interrupted(None)
            if self._state.error is not None:
                raise self._state.error
            raise StopIteration
        row, outcome = item
        if row.room is not None:
            row.room.leave()
        return BatchRow(row.index, outcome, row.inputs, self._operation.execution.hidden(row))

    def _wait(self) -> tuple[Row, Outcome] | None:
        """Return the next row that is over; None where there is none left."""
        try:
            return self._queue.get()
        except KeyboardInterrupt:
            if self._stopping:
                self._state.abandon()
                return None
            self._stopping = True
            self._operation.say_stopping()
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
            self._operation.say_stopping()
        self.close()

    def __repr__(self) -> str:
        return f"<BatchRows of {self._operation.name}, {self._operation.counter.done} over>"


class _Iteration:
    """The side of ``BatchRows`` that works; it does not hold the iterator, so that forgetting that one ends it."""

    def __init__(self, operation: BatchOperation, source: Iterable[Any], queue: SimpleQueue[Any]) -> None:
        self._operation, self._queue = operation, queue
        self.error: BaseException | None = None
        self.keeps = bool(operation.resume)
        self._run = BlockingRun(operation, source, self._deliver, ConcurrencyWindow(2 * operation.width))

    def run(self) -> None:
        """Work until the end, on a thread of its own."""
        try:
            self._run.run()
        except BaseException as error:  # raised where the rows are taken
            self.error = error
        finally:
            self.error = self._run.scheduler.error or self.error
            try:
                self.end()
            finally:
                self._queue.put(None)

    def end(self) -> None:
        """Release what the batch holds, and tell observers."""
        self._run.close()
        self._operation.end(self._run.scheduler.error)

    def stop(self) -> None:
        """Take no further row; when those under way are finished, that is the end."""
        self._run.stop()
        self._operation.services.threads.submit(self._end)

    def _end(self) -> None:
        try:
            self.finish()
        finally:
            self._queue.put(None)

    def finish(self) -> None:
        """Take no further row, and wait for those under way; not for the source, which may not give one for long."""
        self._run.finish()
        self.end()

    def abandon(self) -> None:
        """Take no further row, and cancel what can be cancelled."""
        self._run.abandon()

    def _deliver(self, row: Row, outcome: Outcome) -> None:
        self._operation.counter.count(outcome)
        self._queue.put((row, outcome))
