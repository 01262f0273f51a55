"""RaySession: one batch on its workers. It knows which worker has which row, so that none is lost with a worker."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from attrs import define, field

from hokusai_core.errors import ExecutionError
from hokusai_core.plugin_api import BatchJob, CallOffer, RowHost, RowOutcome, RowTask

__all__ = ["RaySession"]

#: Seconds that a worker waits for news before it says that there is none.
_POLL: Final = 10.0
#: Seconds before a worker that died is greeted again.
_NAP: Final = 0.2


@define(eq=False)
class _Row:
    """A task that has no outcome yet."""

    task: RowTask
    done: asyncio.Future[None]
    worker: _Worker | None = None


@define(eq=False)
class _Worker:
    """A worker, and the rows that it has.

    Args:
        actor: handle of the actor.
        identity: what its process is known by.
        alive: whether it takes rows.
        rows: the rows that it was sent, by number.
        answers: answers to its questions that were not sent yet.
    """

    actor: Any
    identity: str
    alive: bool = True
    rows: dict[int, _Row] = field(factory=dict)
    answers: list[tuple[int, int | None]] = field(factory=list)


class RaySession:
    """One batch on its workers.

    Args:
        ray: the module.
        job: the batch.
        host: takes outcomes and admits calls.
        workers: actors, each with what its process is known by.
        concurrency: rows that a worker runs at once.
        prefetch: rows that a worker has beside those, and begins as soon as there is room.
        chunk_size: rows that are sent at once at most.
        patience: seconds without a living worker after which rows fail.
    """

    own_time = False
    linger = 0.002

    def __init__(
        self,
        ray: Any,
        job: BatchJob,
        host: RowHost,
        workers: Sequence[tuple[Any, str]],
        *,
        concurrency: int,
        prefetch: int,
        chunk_size: int,
        patience: float,
    ) -> None:
        self._ray, self._job, self._host = ray, job, host
        self._patience, self._concurrency, self._most = patience, concurrency, concurrency + prefetch
        self._workers = [_Worker(actor, identity) for actor, identity in workers]
        self.capacity, self.chunk_size = self._most * len(workers), chunk_size
        self._queue: deque[_Row] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._begun = self._closed = False
        self._giving_up: asyncio.TimerHandle | None = None

    async def run(self, tasks: Sequence[RowTask]) -> None:
        """Answer tasks."""
        loop = asyncio.get_running_loop()
        if not self._begun:
            self._begun = True
            for worker in self._workers:
                self._go(self._listen(worker))
        rows = [_Row(task, loop.create_future()) for task in tasks]
        self._queue.extend(rows)
        self._dispatch()
        await asyncio.gather(*(row.done for row in rows))

    def close(self) -> None:
        """Let the workers leave the batch; calling it twice is harmless."""
        if self._closed:
            return
        self._closed = True
        for task in list(self._tasks):
            loop = task.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(task.cancel)
        if self._ray.is_initialized():
            for worker in self._workers:
                worker.actor.end.remote(self._job.job_id)

    # -- to the workers ---------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Send rows to the workers that have the fewest, as long as there is room."""
        sent: dict[int, list[_Row]] = {}
        while self._queue:
            free = [worker for worker in self._workers if worker.alive and len(worker.rows) < self._most]
            if not free:
                break
            worker = min(free, key=lambda one: len(one.rows))
            row = self._queue.popleft()
            row.worker = worker
            worker.rows[row.task.number] = row
            sent.setdefault(self._workers.index(worker), []).append(row)
        for index, rows in sent.items():
            for begin in range(0, len(rows), self.chunk_size):
                self._go(self._send(self._workers[index], rows[begin : begin + self.chunk_size]))
        if self._queue and not any(worker.alive for worker in self._workers) and self._giving_up is None:
            self._giving_up = asyncio.get_running_loop().call_later(self._patience, self._give_up)

    async def _send(self, worker: _Worker, rows: Sequence[_Row]) -> None:
        identity = worker.identity
        try:
            begun = await worker.actor.start.remote(identity, self._job.job_id, [row.task for row in rows])
        except self._ray.exceptions.RayError as error:
            if identity == worker.identity:
                # It has the fewest rows now, and would get the same ones again before `_listen` knows that it is dead.
                worker.alive = False
            self._lost(worker, rows, _told(error))
            return
        if not begun:  # another process has taken the place of the one that they were for
            for row in rows:
                if row.worker is worker and worker.rows.pop(row.task.number, None) is not None:
                    row.worker = None
                    self._queue.appendleft(row)
            self._dispatch()

    async def _admit(self, worker: _Worker, number: int, question: int, offer: CallOffer) -> None:
        identity, admitted = worker.identity, await self._host.admit(number, offer)
        if identity != worker.identity:
            return  # the process that asked is gone
        worker.answers.append((question, admitted))
        if len(worker.answers) == 1:
            await asyncio.sleep(0)
            answers, worker.answers = worker.answers, []
            await self._told_or_gone(worker.actor.grant.remote(self._job.job_id, answers))

    async def _told_or_gone(self, ref: Any) -> None:
        try:
            await ref
        except self._ray.exceptions.RayError:
            return  # the worker is gone; who listens to it sees that, too

    # -- from the workers -------------------------------------------------------------------------------------

    async def _listen(self, worker: _Worker) -> None:
        """Take the news of a worker until the batch is over."""
        while not self._closed:
            try:
                identity, messages = await worker.actor.collect.remote(self._job.job_id, _POLL)
            except self._ray.exceptions.RayError as error:
                worker.alive = False
                self._lost(worker, list(worker.rows.values()), _told(error))
                if not await self._back(worker):
                    return
                continue
            if identity != worker.identity:
                worker.alive = False
                self._lost(worker, list(worker.rows.values()), "it was started again")
                if not await self._back(worker):
                    return
            elif not worker.alive:  # only the message to it was lost
                self._revive(worker)
            for message in messages:
                if isinstance(message, RowOutcome):
                    self._over(worker, message)
                else:
                    self._go(self._admit(worker, *message))
            self._dispatch()

    def _over(self, worker: _Worker, outcome: RowOutcome) -> None:
        row = worker.rows.pop(outcome.number, None)
        if row is not None:
            self._host.deliver(outcome)
            if not row.done.done():
                row.done.set_result(None)

    def _lost(self, worker: _Worker, rows: Sequence[_Row], why: str) -> None:
        for row in rows:
            if row.worker is worker and row.task.number in worker.rows:
                self._over(worker, RowOutcome.lost(row.task.number, why))

    async def _back(self, worker: _Worker) -> bool:
        """Wait until a worker that died was started again; False where it never will be."""
        while not self._closed:
            await asyncio.sleep(_NAP)
            try:
                worker.identity, problem = await worker.actor.open.remote(self._job, self._concurrency)
            except self._ray.exceptions.ActorUnavailableError:
                continue
            except self._ray.exceptions.RayError as error:
                problem = _told(error)
            if problem:
                self._workers.remove(worker)
                if not self._workers:
                    self._give_up()
                return False
            self._revive(worker)
            return True
        return False

    def _revive(self, worker: _Worker) -> None:
        worker.alive = True
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None
        self._dispatch()

    def _give_up(self) -> None:
        """Let the rows fail that no worker takes."""
        self._giving_up = None
        if any(worker.alive for worker in self._workers):
            return
        while self._queue:
            row = self._queue.popleft()
            error = ExecutionError(
                f"Ray: no worker has been alive for {self._patience:g} s; look at the cluster (ray status), then run "
                "the batch again"
            )
            self._host.deliver(RowOutcome.failed(row.task.number, error))
            if not row.done.done():
                row.done.set_result(None)

    def _go(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _told(error: BaseException) -> str:
    """Return what Ray says of a worker that died, in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}"
