"""Many executions of one signature: a sliding window over any iterable, one outcome a row, whatever fails.

In reading order: ``methods`` (what the executor offers), ``results`` (what comes back), ``rows`` (where rows come
from), ``row_execution`` (one row), ``engines`` (rows on threads, or on an event loop), ``feeding`` (an engine driven by
a blocking thread), ``session`` (a batch from its first row to its result), ``iteration`` (its rows one by one),
``journal`` (what lets a killed batch continue), ``progress``, ``backend``.
"""

from __future__ import annotations

from hokusai_core.batch.progress import BatchProgress
from hokusai_core.batch.results import BatchResult, BatchRow, FailedExecution, Outcome

__all__ = ["BatchProgress", "BatchResult", "BatchRow", "FailedExecution", "Outcome"]
