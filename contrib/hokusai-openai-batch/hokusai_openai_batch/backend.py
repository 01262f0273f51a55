"""OpenAIBatchBackend: runs batches through a provider's batch service, at half the price and within a day."""

from __future__ import annotations

from typing import Final

from hokusai_core.errors import ConfigurationError, HokusaiError
from hokusai_core.plugin_api import BatchJob, JobWorker, RowHost
from hokusai_openai_batch.session import BatchServiceSession, ServiceOptions
from hokusai_openai_batch.tickets import Tickets

__all__ = ["OpenAIBatchBackend"]

#: Requests that the service takes in one file at most.
_MOST_REQUESTS: Final = 50_000


class OpenAIBatchBackend:
    """Runs batches through the batch service of OpenAI, or of a server with the same interface.

    Rows are submitted as one file, and their answers are collected when the service has them. What was submitted is
    noted in the journal of the batch, so a batch that is killed at any point goes on where it stopped, in another
    process too, and submits nothing twice. Rows that the service gives no answer to are answered online, by ordinary
    calls, under the same budget.

    Args:
        price: part of the usual price that the service takes.
        completion_window: time within which the service promises to answer.
        poll: seconds between two looks at a batch.
        chunk_size: requests of one batch at most.
        capacity: rows that are submitted and have no answer yet, at most. The executor keeps them in memory.
        linger: seconds without a further row after which those that there are are submitted.
        max_wait: seconds after which a batch is cancelled, so that the rest is answered online; None to wait for the
            service to end it.
        finish_online: whether rows without an answer are answered online; else they fail, and the next run with the
            same journal submits them again.
        certain_after: seconds after which a batch that was submitted is certainly listed by the service. A process
            that was killed while it submitted is asked about only then.

    Raises:
        ConfigurationError: a value cannot be used.
    """

    #: Notes of what was submitted are what keeps it from being submitted twice.
    needs_journal = True
    fork_safe = True

    def __init__(
        self,
        *,
        price: float = 0.5,
        completion_window: str = "24h",
        poll: float = 30.0,
        chunk_size: int = _MOST_REQUESTS,
        capacity: int = _MOST_REQUESTS,
        linger: float = 1.0,
        max_wait: float | None = None,
        finish_online: bool = True,
        certain_after: float = 30.0,
    ) -> None:
        for name, number in {"chunk_size": chunk_size, "capacity": capacity}.items():
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise ConfigurationError(f"OpenAIBatchBackend({name}={number!r}): expected a whole number above zero")
        if not 0 <= price <= 1:
            raise ConfigurationError(f"OpenAIBatchBackend(price={price!r}): expected a number from 0 to 1")
        if poll <= 0:
            raise ConfigurationError(f"OpenAIBatchBackend(poll={poll!r}): expected seconds above zero")
        self._options = ServiceOptions(
            price=price,
            completion_window=completion_window,
            poll=poll,
            chunk_size=min(chunk_size, _MOST_REQUESTS),
            capacity=capacity,
            linger=linger,
            max_wait=max_wait,
            finish_online=finish_online,
            certain_after=certain_after,
        )

    def open(self, job: BatchJob, host: RowHost) -> BatchServiceSession:
        """Return the session of a batch.

        Raises:
            ConfigurationError: the signature takes several requests, or the journal has a batch under way for another
                model.
        """
        if host.notes is None:
            raise ConfigurationError("backend openai-batch needs journal=...")
        worker = JobWorker(job)
        try:
            worker.check_one_request()
            tickets = Tickets(host.notes, job.lm)
        except ConfigurationError:
            worker.close()
            raise
        except HokusaiError as error:
            worker.close()
            raise ConfigurationError(f"backend openai-batch: {error}") from error
        return BatchServiceSession(worker, host, tickets, self._options)

    def close(self) -> None:
        """Do nothing: sessions are closed with their batches."""

    def __repr__(self) -> str:
        return f"<OpenAIBatchBackend price={self._options.price:g}>"
