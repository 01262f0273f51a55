"""RowWorker: the actor that answers rows, in a process of the cluster."""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from attrs import define, field

from hokusai_core.plugin_api import BatchJob, CallOffer, JobWorker, RowOutcome, RowTask

__all__ = ["Message", "RowWorker"]

#: An outcome; or the number of a task, that of its question, and the offer of a call.
Message = RowOutcome | tuple[int, int, CallOffer]

#: Seconds in which finished rows are gathered before they are sent.
_GATHER: Final = 0.002


@define(eq=False)
class _Job:
    """A batch that this worker has a part in.

    Args:
        worker: answers its rows.
        metered: whether each of its calls must be admitted.
        room: bounds the rows that run at once; the others wait here, so that none has to be sent for first.
    """

    worker: JobWorker
    metered: bool
    room: asyncio.Semaphore
    messages: list[Message] = field(factory=list)
    questions: dict[int, asyncio.Future[int | None]] = field(factory=dict)
    numbers: Iterator[int] = field(factory=itertools.count)
    running: set[asyncio.Task[None]] = field(factory=set)
    news: asyncio.Event = field(factory=asyncio.Event)

    def tell(self, message: Message) -> None:
        """Let the batch know something."""
        self.messages.append(message)
        self.news.set()

    def begin(self, task: RowTask) -> None:
        """Begin a task."""
        running = asyncio.get_running_loop().create_task(self._run(task))
        self.running.add(running)
        running.add_done_callback(self.running.discard)

    async def _run(self, task: RowTask) -> None:
        async with self.room:
            outcome = await self.worker.run(task, self._ask if self.metered else None)
        self.tell(outcome)

    async def _ask(self, task: int, offer: CallOffer) -> int | None:
        question = next(self.numbers)
        waiting: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self.questions[question] = waiting
        self.tell((task, question, offer))
        return await waiting

    def end(self) -> None:
        """Stop what runs."""
        for running in list(self.running):
            running.cancel()
        self.worker.close()


class RowWorker:
    """Answers rows of batches, many at once. The backend makes a Ray actor of it.

    ``open`` begins a batch, ``start`` gives it tasks, and ``grant`` answers its questions whether a call may be made.
    ``collect`` is called again and again for what is new. So one message carries many rows.

    Args:
        environment: environment variables to set.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        os.environ.update(environment)
        #: Tells this process from one that takes its place.
        self._identity = secrets.token_hex(8)
        self._jobs: dict[str, _Job] = {}

    async def open(self, job: BatchJob, concurrency: int) -> tuple[str, str]:
        """Take part in a batch.

        Args:
            job: the batch.
            concurrency: rows that run at once.

        Returns:
            What this process is known by, and why it cannot run the job; "" where it can.
        """
        if job.job_id not in self._jobs:
            try:
                self._jobs[job.job_id] = _Job(JobWorker(job), job.metered, asyncio.Semaphore(concurrency))
            except Exception as error:  # raised here, it would be an error of Ray
                return self._identity, str(error)
        return self._identity, ""

    async def start(self, identity: str, job_id: str, tasks: Sequence[RowTask]) -> bool:
        """Begin tasks; False where they are not for this process, and nothing was begun."""
        job = self._jobs.get(job_id)
        if identity != self._identity or job is None:
            return False
        for task in tasks:
            job.begin(task)
        return True

    async def grant(self, job_id: str, answers: Sequence[tuple[int, int | None]]) -> None:
        """Answer questions whether a call may be made."""
        job = self._jobs.get(job_id)
        for question, number in answers:
            waiting = None if job is None else job.questions.pop(question, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(number)

    async def collect(self, job_id: str, seconds: float) -> tuple[str, list[Message]]:
        """Wait for news of a batch, and return it; nothing for a batch that this process has no part in.

        Args:
            job_id: the batch.
            seconds: how long to wait at most.
        """
        job = self._jobs.get(job_id)
        if job is None:
            return self._identity, []
        if not job.messages:
            try:
                async with asyncio.timeout(seconds):
                    await job.news.wait()
            except TimeoutError:
                return self._identity, []
            await asyncio.sleep(_GATHER)
        job.news.clear()
        messages, job.messages = job.messages, []
        return self._identity, messages

    async def end(self, job_id: str) -> None:
        """Leave a batch."""
        job = self._jobs.pop(job_id, None)
        if job is not None:
            job.end()
