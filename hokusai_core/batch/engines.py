"""The two ways of running rows: each on a thread, or each as a task of an event loop.

Both take a row only when the window has a place for it, note what is over before the place goes to the next, and are
done when every row that was taken is over.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING

from hokusai_core.batch.row_execution import failed
from hokusai_core.errors import ExecutionError
from hokusai_core.runtime.deadline_watch import DeadlineWatch, Superseded
from hokusai_core.runtime.window import Permit

if TYPE_CHECKING:
    from hokusai_core.batch.results import FailedExecution, Outcome
    from hokusai_core.batch.row_execution import Row, Work
    from hokusai_core.runtime.window import ConcurrencyWindow
    from hokusai_core.runtime.worker_threads import WorkerThreads

__all__ = ["LoopEngine", "ThreadEngine"]

Deliver = Callable[["Row", "Outcome"], None]


class Engine:
    """What both engines have in common.

    Args:
        work: what is done with a row.
        pace: the window.
        deliver: is given each row that is over, with its outcome; called from any thread.
        room: rows that may be taken and not yet handed out, where somebody takes them one by one; None for no bound.

    Attributes:
        fatal: what ended the batch before its time, such as a journal that cannot be written; None for nothing.
        taken: rows that were taken.
        under_way: those of them that are not over, by number.
    """

    def __init__(
        self, work: Work, pace: ConcurrencyWindow, deliver: Deliver, room: ConcurrencyWindow | None = None
    ) -> None:
        self.work, self.pace, self.room, self._deliver = work, pace, room, deliver
        self.fatal: BaseException | None = None
        self.taken = 0
        self.under_way: dict[int, Row] = {}
        self._stopped = False

    def stop(self) -> None:
        """Take no further row."""
        self._stopped = True
        self.pace.shut()
        if self.room is not None:
            self.room.shut()

    def end(self, error: BaseException) -> None:
        """Take no further row, because of ``error``."""
        if self.fatal is None:
            self.fatal = error
        self.stop()

    def release(self) -> None:
        """Give back what the engine holds, once nobody waits for it any more."""

    def finish(self, row: Row, outcome: Outcome) -> None:
        """Note that a row is over, and hand its outcome on."""
        try:
            self.work.over(row, outcome)
        except Exception as error:  # going on would pay for rows that nothing keeps
            self.end(error)
        self.hand_out(row, outcome)

    def hand_out(self, row: Row, outcome: Outcome) -> None:
        """Hand on the outcome of a row that is over."""
        self._deliver(row, outcome)
        self.under_way.pop(row.index, None)

    def _failed(self, row: Row, cause: str) -> FailedExecution:
        return failed(row, ExecutionError(f"row {row.index}: {cause}"), self.work.hidden(row))

    def known(self, row: Row, room: Permit | bool) -> Outcome | None:
        """Count a row that was taken and return its outcome where that is known already."""
        if isinstance(room, Permit):
            row.room = room
        self.under_way[row.index] = row
        outcome = self.work.prepare(row)
        self.taken += 1
        return outcome


class ThreadEngine(Engine):
    """Runs every row on a thread: for language models that block, and for all that a thread keeps apart.

    Args:
        threads: where rows run.
    """

    def __init__(
        self,
        work: Work,
        pace: ConcurrencyWindow,
        deliver: Deliver,
        room: ConcurrencyWindow | None = None,
        *,
        threads: WorkerThreads,
    ) -> None:
        super().__init__(work, pace, deliver, room)
        self._threads = threads
        self._watch = DeadlineWatch(threads) if work.resumable else None
        self._over = self._working = 0
        self._changed = threading.Condition()
        self._taking = threading.Lock()
        self._shared: Iterator[Row] | None = None
        self._context = contextvars.copy_context()

    def feed(self, rows: Iterator[Row], *, shared: bool = False) -> None:
        """Take rows until there are none left or the engine is stopped; raises what ``rows`` raises.

        Args:
            rows: the rows.
            shared: whether any thread may take one, so that a thread that is done with a row goes on with the next
                instead of waking this one up; else only this thread takes rows.
        """
        self._context = contextvars.copy_context()
        self._shared = rows if shared else None
        while (room := _enter(self.room)) and (place := self.pace.enter()):
            started = False
            try:
                row, known = self._take(rows, room)
                if row is None:
                    return
                if known is None:
                    self._start(row, place)
                    started = True
                else:
                    self._recall(row, known)
            finally:
                if not started:
                    place.leave()

    def wait(self) -> None:
        """Wait until the rows that were taken are over; after ``stop`` those that have begun."""
        with self._changed:
            # A Ctrl-C may have come between taking a row and beginning it, so that it is never over.
            while self._working if self._stopped else self._over < self.taken:
                self._changed.wait()

    def stop(self) -> None:
        """Take no further row, and begin none."""
        super().stop()
        with self._changed:
            self._changed.notify_all()

    def release(self) -> None:
        """Give back what the engine holds, once nobody waits for it any more."""
        if self._watch is not None:
            self._watch.close()

    def _take(self, rows: Iterator[Row], room: Permit | bool) -> tuple[Row | None, Outcome | None]:
        """Return the next row, and its outcome where that is known."""
        with self._taking:
            row = next(rows, None)
            return row, None if row is None else self.known(row, room)

    def _start(self, row: Row, place: Permit) -> None:
        try:
            self._threads.submit(lambda: self._work_on(row, place))
        except RuntimeError as error:  # the system has no thread left for it
            self._close(row, self._failed(row, f"{error}; use fewer workers"))
            place.leave()

    def _work_on(self, row: Row, place: Permit) -> None:
        """Run a row, and then others for as long as the window has this place for them."""
        with self._changed:
            if self._stopped:
                return
            self._working += 1
        following: tuple[Row, Permit] | None = (row, place)
        while following is not None and not self._stopped:
            row, place = following
            if not self._context.copy().run(self._begin, row, place):
                return  # the thread that goes on with the row counts in this one's stead
            following = self._following(place)
        self._rest()

    def _begin(self, row: Row, place: Permit) -> bool:
        if self._watch is not None:
            place.watch, place.take_over = self._watch, lambda: self._go_on(row, place)
        ended = self._conclude(row, place, self.work.run)
        if ended:
            place.forget()
        return ended

    def _go_on(self, row: Row, place: Permit) -> None:
        self._conclude(row, place, self.work.go_on)
        place.forget()
        place.leave()
        self._rest()

    def _rest(self) -> None:
        with self._changed:
            self._working -= 1
            if self._stopped:
                self._changed.notify_all()

    def _following(self, place: Permit) -> tuple[Row, Permit] | None:
        """Return the next row with the place that is free now, or give the place back."""
        kept = place.hand_on() if self._shared is not None else None
        if kept is None or self._shared is None:
            place.leave()
            return None
        try:
            while room := _try_enter(self.room):
                row, known = self._take(self._shared, room)
                if row is None:
                    break
                if known is None:
                    return row, kept
                self._recall(row, known)
        except BaseException as error:
            self.end(error)
        kept.leave()
        return None

    def _conclude(self, row: Row, place: Permit, run: Callable[[Row, Permit], Outcome]) -> bool:
        """Run a row to its end; False where another thread does that."""
        outcome: Outcome | None = None
        try:
            outcome = run(row, place)
        except Superseded:
            return False
        except asyncio.CancelledError:  # of something that the language model awaited
            outcome = self._failed(row, "its language model cancelled it")
        except BaseException as error:  # says that everything is to end, and does so in the caller's thread
            self.end(error)
        self._close(row, outcome)
        return True

    def _close(self, row: Row, outcome: Outcome | None) -> None:
        try:
            if outcome is not None:
                self.finish(row, outcome)
        except BaseException as error:
            self.end(error)
        finally:
            self._count()

    def _recall(self, row: Row, known: Outcome) -> None:
        try:
            self.hand_out(row, known)
        finally:
            self._count()

    def _count(self) -> None:
        """Count a row as over; one that was taken is, before ``wait`` lets anybody go."""
        with self._changed:
            self._over += 1
            if self._over >= self.taken:
                self._changed.notify_all()


class LoopEngine(Engine):
    """Runs every row as a task of an event loop: for language models that can be awaited, hundreds at once."""

    def __init__(
        self, work: Work, pace: ConcurrencyWindow, deliver: Deliver, room: ConcurrencyWindow | None = None
    ) -> None:
        super().__init__(work, pace, deliver, room)
        self._tasks: set[asyncio.Task[None]] = set()
        self._cancelled = False
        self._shared: Iterator[Row] | None = None
        self._context = contextvars.copy_context()

    async def run(self, rows: AsyncIterator[Row] | Iterator[Row]) -> None:
        """Take rows until there are none left or the engine is stopped, and wait until they are over.

        Cancelling it cancels what is under way.

        Args:
            rows: the rows; of an ordinary iterator, which must not block, a task that is over takes the next itself,
                several turns of the event loop earlier.
        """
        self._context = contextvars.copy_context()
        self._shared = rows if isinstance(rows, Iterator) else None
        error: Exception | None = None
        try:
            try:
                await self._feed(rows)
            except Exception as failure:  # of the source: what was taken is finished first
                error = failure
            await self._drain()
        except asyncio.CancelledError:
            self._cancelled = True
            self.stop()
            for task in self._tasks:
                task.cancel()
            await self._drain()
            raise
        if error is not None:
            raise error

    async def _drain(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _feed(self, rows: AsyncIterator[Row] | Iterator[Row]) -> None:
        while (room := await _aenter(self.room)) and (place := await self.pace.aenter()):
            started = False
            try:
                row = next(rows, None) if isinstance(rows, Iterator) else await anext(rows, None)
                if row is None or self._stopped:
                    return
                started = self._begin(row, room, place)
                if not started:
                    await asyncio.sleep(0)  # a journal that knows thousands of rows must not keep the loop from others
            finally:
                if not started:
                    place.leave()

    def _begin(self, row: Row, room: Permit | bool, place: Permit) -> bool:
        """Begin a row that was taken; False where it is known and so over."""
        known = self.known(row, room)
        if known is not None:
            self.hand_out(row, known)
            return False
        work = self._one(row, place)
        task = asyncio.get_running_loop().create_task(work, context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    def _follow(self, place: Permit) -> None:
        """Begin the next row with the place that is free now, or give the place back."""
        kept = place.hand_on() if self._shared is not None else None
        if kept is None or self._shared is None:
            place.leave()
            return
        started = False
        try:
            room = _try_enter(self.room)
            row = next(self._shared, None) if room else None
            started = row is not None and self._begin(row, room, kept)
        except BaseException as error:
            self.end(error)
        finally:
            if not started:
                kept.leave()

    async def _one(self, row: Row, place: Permit) -> None:
        try:
            outcome = await self.work.arun(row, place)
            self.finish(row, outcome)
        except asyncio.CancelledError:
            if self._cancelled:
                raise
            self.finish(row, self._failed(row, "its executor was closed, or its language model cancelled it"))
        except BaseException as error:
            self.end(error)
        finally:
            self._follow(place)


def _enter(room: ConcurrencyWindow | None) -> Permit | bool:
    return True if room is None else room.enter() or False


def _try_enter(room: ConcurrencyWindow | None) -> Permit | bool:
    return True if room is None else room.try_enter() or False


async def _aenter(room: ConcurrencyWindow | None) -> Permit | bool:
    return True if room is None else await room.aenter() or False
