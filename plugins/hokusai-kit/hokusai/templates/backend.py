"""AcmeSample: runs the rows of batches on coroutines, which stand for workers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hokusai_core.errors import ConfigurationError
from hokusai_core.plugin_api import BatchJob, JobWorker, RowHost, RowTask

__all__ = ["AcmeSample", "Session"]


class AcmeSample:
    """Opens a session for each batch.

    Args:
        workers: rows that are answered at once.
    """

    fork_safe = True  # it keeps nothing open between batches

    def __init__(self, workers: int = 8) -> None:
        if workers < 1:
            raise ConfigurationError(f"workers={workers!r}: expected at least 1")
        self._workers = workers

    def open(self, job: BatchJob, host: RowHost) -> Session:
        """Return the session of a batch.

        Raises:
            ConfigurationError: The job cannot be run here. No row was taken.
        """
        return Session(job, host, self._workers)

    def close(self) -> None:
        """Release what is open: nothing."""


class Session:
    """One batch.

    Args:
        job: the batch as data; send ``job.to_dict()`` to workers on other machines, which make a ``JobWorker`` of it.
        host: takes outcomes, and admits calls where the batch has a budget or rate limits.
        workers: rows that are answered at once.
    """

    chunk_size = 16
    linger = 0.0
    own_time = False

    def __init__(self, job: BatchJob, host: RowHost, workers: int) -> None:
        self.capacity = workers
        self._host, self._worker = host, JobWorker(job)

    async def run(self, tasks: Sequence[RowTask]) -> None:
        """Answer tasks, and deliver each outcome as soon as it is known."""
        await asyncio.gather(*map(self._answer, tasks))

    async def _answer(self, task: RowTask) -> None:
        self._host.deliver(await self._worker.run(task, self._host.admit))

    def close(self) -> None:
        """Release the worker."""
        self._worker.close()
