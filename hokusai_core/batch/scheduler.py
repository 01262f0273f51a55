"""Schedulers of a batch: run rows on threads or as tasks of an event loop.

One row at a time is taken from the source, and only when the window has room for it. A thread that has taken a row
lets another take the next one, and then runs its own; tasks are started by one that takes all rows. What a row gave is
noted before its permit is returned. What is done with a row is a ``RowExecution``.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Protocol

from hokusai_core.errors import ExecutionError
from hokusai_core.runtime.deadline import DeadlineWatch, Superseded
from hokusai_core.runtime.drivers import go_on

if TYPE_CHECKING:
    from hokusai_core.batch.results import FailedExecution, Outcome
    from hokusai_core.batch.rows import Row, RowQueue
    from hokusai_core.runtime.window import ConcurrencyWindow, Permit
    from hokusai_core.runtime.worker_threads import Threads, WorkerThreads

__all__ = ["RowExecution", "Scheduler", "TaskScheduler", "ThreadScheduler"]

Deliver = Callable[["Row", "Outcome"], None]

#: Tasks that are started before the loop's other work has its turn. A turn for each row costs a tenth of the row.
STARTED_TOGETHER = 32


class RowExecution(Protocol):
    """What is done with the rows of a batch.

    Attributes:
        resumable: whether another thread can go on with a row that is stuck in a call.
    """

    resumable: bool

    def prepare(self, row: Row) -> Outcome | None:
        """Return the outcome where it is known already. Called for one row at a time, in order."""
        ...

    def run(self, row: Row, permit: Permit) -> Outcome:
        """Run a row, blocking. What it raises is the failure of this row, unless ``ends_batch`` says otherwise."""
        ...

    async def arun(self, row: Row, permit: Permit) -> Outcome:
        """Async version of ``run``."""
        ...

    def ends_batch(self, error: Exception) -> bool:
        """Return whether no further row can succeed."""
        ...

    def over(self, row: Row, outcome: Outcome) -> None:
        """Note for good that a row is over, before its place goes to the next."""
        ...

    def hidden(self, row: Row) -> frozenset[str]:
        """Return the names of inputs and outputs whose values must not be shown."""
        ...


class Scheduler:
    """What both drivers share.

    Args:
        execution: what is done with a row.
        window: how many rows may run at once.
        deliver: receives each finished row with its outcome; called from any thread.
        room: bounds the rows that were taken and not yet handed out, where rows are handed out one by one.
        queue: what a thread reads the source into; None where the rows are taken from the source itself.

    Attributes:
        error: what ended the batch early, such as an error of the source or a journal that cannot be written.
        under_way: rows that were taken and have no outcome yet, by number.
    """

    def __init__(
        self,
        execution: RowExecution,
        window: ConcurrencyWindow,
        deliver: Deliver,
        room: ConcurrencyWindow | None = None,
        queue: RowQueue | None = None,
    ) -> None:
        self.execution, self.window, self.room, self._deliver = execution, window, room, deliver
        self.error: BaseException | None = None
        self.under_way: dict[int, Row] = {}
        self._stopped = self._exhausted = False
        self._queue = queue
        self._context = contextvars.copy_context()

    def stop(self) -> None:
        """Take no further row; rows that run go on."""
        self._stopped = True
        self.window.shut()
        for part in (self.room, self._queue):
            if part is not None:
                part.shut()

    def end(self, error: BaseException) -> None:
        """Take no further row, because of ``error``."""
        if self.error is None:
            self.error = error
        self.stop()

    def _accept(self, row: Row | None, room: Permit | None) -> bool:
        """Note a row that was taken; return whether it still has to run."""
        if row is None:
            self._exhausted = True
            return False
        row.room = room
        self.under_way[row.index] = row
        known = self.execution.prepare(row)
        if known is None:
            return True
        self._hand_out(row, known)
        return False

    def _finish(self, row: Row, outcome: Outcome | None, permit: Permit) -> None:
        """Note what a row gave, None where it ended the batch, and return its permit."""
        try:
            if outcome is not None:
                try:
                    self.execution.over(row, outcome)
                except Exception as error:  # going on would pay for rows that are not kept
                    self.end(error)
                self._hand_out(row, outcome)
        except BaseException as error:
            self.end(error)
        finally:
            permit.leave()

    def _hand_out(self, row: Row, outcome: Outcome) -> None:
        self._deliver(row, outcome)
        self.under_way.pop(row.index, None)

    def _failure(self, row: Row, error: BaseException) -> FailedExecution | None:
        """Return the outcome of a row that raised ``error``; None where that ends the batch."""
        if isinstance(error, asyncio.CancelledError):  # of something that the language model awaited
            error = ExecutionError(f"row {row.index}: its language model cancelled it")
        if not isinstance(error, Exception) or self.execution.ends_batch(error):
            self.end(error)  # it is raised where the batch is waited for
            return None
        return row.failed(error, self.execution.hidden(row))


class ThreadScheduler(Scheduler):
    """Runs each row on a thread: for language models that block, and for all that is kept per thread.

    Args:
        threads: where deadlines are watched, and where rows go on whose thread is stuck.
        workers: where rows run; left out, there too.
    """

    def __init__(
        self,
        execution: RowExecution,
        window: ConcurrencyWindow,
        deliver: Deliver,
        room: ConcurrencyWindow | None = None,
        queue: RowQueue | None = None,
        *,
        threads: WorkerThreads,
        workers: Threads | None = None,
    ) -> None:
        super().__init__(execution, window, deliver, room, queue)
        self._threads = workers or threads
        self._watch = DeadlineWatch(threads) if execution.resumable else None
        self._rows: Iterator[Row] = iter(())
        self._taking = threading.Lock()
        self._workers = 0
        self._more_threads = True
        self._changed = threading.Condition()

    def start(self, rows: Iterator[Row]) -> bool:
        """Begin to work on ``rows``; return whether the system had a thread for it."""
        self._context = contextvars.copy_context()
        self._rows = rows
        return self._add_worker()

    def work(self, rows: Iterator[Row]) -> None:
        """Work on ``rows`` on this thread alone, where the system has no other left."""
        self._context = contextvars.copy_context()
        self._rows, self._more_threads = rows, False
        self._workers += 1
        self._work()

    def wait(self) -> None:
        """Wait until the rows that were taken are finished."""
        with self._changed:
            while self._workers:
                self._changed.wait()

    def close(self) -> None:
        """Release the thread that looks after deadlines."""
        if self._watch is not None:
            self._watch.close()

    def _add_worker(self) -> bool:
        if not self._more_threads or self._workers >= self.window.width:
            return False
        with self._changed:
            self._workers += 1
        try:
            self._threads.submit(self._work)
        except RuntimeError:  # the system has no thread left: those that there are do the work
            self._more_threads = False
            self._retire()
            return False
        return True

    def _work(self) -> None:
        """Run rows until there are none left."""
        while (taken := self._take()) is not None:
            self._add_worker()
            if not self._context.copy().run(self._run, *taken):
                return  # another thread has gone on with the row, and counts instead of this one
        self._retire()

    def _take(self) -> tuple[Row, Permit] | None:
        """Wait for a row that is to run and for room in the window; None where there are none left."""
        with self._taking:
            while not (self._stopped or self._exhausted):
                room = None if self.room is None else self.room.enter()
                permit = self.window.enter()
                if permit is None:
                    return None
                runs = False
                try:
                    row = next(self._rows, None)
                    runs = self._accept(row, room)
                    if runs and row is not None:
                        return row, permit
                except BaseException as error:  # of the source; what runs is finished first
                    self.end(error)
                finally:
                    if not runs:
                        permit.leave()
        return None

    def _run(self, row: Row, permit: Permit) -> bool:
        """Run a row; False where another thread has taken it over."""
        if self._watch is not None:
            permit.watch, permit.take_over = self._watch, lambda: self._resume(row, permit)
        return self._conclude(row, permit, lambda: self.execution.run(row, permit))

    def _resume(self, row: Row, permit: Permit) -> None:
        """Go on with a row whose own thread is stuck in a call, and then with others in that thread's place."""
        self._conclude(row, permit, lambda: go_on(permit.path))
        self._work()

    def _conclude(self, row: Row, permit: Permit, run: Callable[[], Outcome]) -> bool:
        outcome: Outcome | None
        try:
            outcome = run()
        except Superseded:
            return False
        except BaseException as error:
            outcome = self._failure(row, error)
        self._finish(row, outcome, permit)
        return True

    def _retire(self) -> None:
        with self._changed:
            self._workers -= 1
            if not self._workers:
                self._changed.notify_all()


class TaskScheduler(Scheduler):
    """Runs each row as a task of an event loop: for language models that can be awaited, hundreds at once."""

    _rows: AsyncIterator[Row] | Iterator[Row]

    async def run(self, rows: AsyncIterator[Row] | Iterator[Row]) -> None:
        """Run ``rows`` until there are none left or the scheduler is stopped; cancelling it cancels every row.

        Args:
            rows: the rows; an ordinary iterator must not block.
        """
        self._context = contextvars.copy_context()
        self._rows = rows
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._start_rows(tasks)
        except asyncio.CancelledError:
            self.stop()
            raise
        for row in list(self.under_way.values()):
            if self.error is None:
                lost = ExecutionError(f"row {row.index}: its task was cancelled from outside")
                self._hand_out(row, row.failed(lost, self.execution.hidden(row)))

    async def _start_rows(self, tasks: asyncio.TaskGroup) -> None:
        """Start a task for each row, as soon as there is room for it."""
        started = 0
        while (taken := await self._take()) is not None:
            row, permit = taken
            task = tasks.create_task(self._run(row, permit), context=self._context.copy())
            # A task that is cancelled before its first step never returns its permit.
            task.add_done_callback(permit.end_task)
            started += 1
            if started % STARTED_TOGETHER == 0:
                await asyncio.sleep(0)

    async def _take(self) -> tuple[Row, Permit] | None:
        """Wait for a row that is to run and for room in the window; None where there are none left."""
        while not (self._stopped or self._exhausted):
            room = None if self.room is None else await self.room.aenter()
            permit = await self.window.aenter()
            if permit is None:
                return None
            runs = False
            try:
                row = next(self._rows, None) if isinstance(self._rows, Iterator) else await anext(self._rows, None)
                runs = not self._stopped and self._accept(row, room)
                if runs and row is not None:
                    return row, permit
            except Exception as error:  # of the source; what was taken is finished first
                self.error, self._exhausted = self.error or error, True
            finally:
                if not runs:
                    permit.leave()
            await asyncio.sleep(0)  # a journal that knows thousands of rows must not keep the loop from others
        return None

    async def _run(self, row: Row, permit: Permit) -> None:
        if self._stopped:  # after the row was taken, so it counts as not taken
            self.under_way.pop(row.index, None)
            return
        outcome: Outcome | None
        try:
            outcome = await self.execution.arun(row, permit)
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            outcome = self._failure(row, error)
        self._finish(row, outcome, permit)
