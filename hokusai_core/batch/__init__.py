"""Many executions of one signature: a sliding window over any iterable, one outcome a row, whatever fails.

``methods`` is what an executor takes over from here. In reading order: ``outcomes`` (what comes back), ``work`` (one
row), ``engines`` (rows on threads, or on an event loop), ``feeding`` (an engine from a thread that blocks), ``session``
(a batch from its first row to its result), ``iteration`` (its rows one by one), ``journal`` (what makes a killed batch
go on), ``progress``.
"""

from __future__ import annotations

from hokusai_core.batch.outcomes import BatchResult, BatchRow, FailedExecution, Outcome
from hokusai_core.batch.progress import BatchProgress

__all__ = ["BatchProgress", "BatchResult", "BatchRow", "FailedExecution", "Outcome"]
