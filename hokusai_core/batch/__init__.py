"""Batches: many executions of one signature over any iterable. Each row has its own outcome.

In reading order: ``runner`` (what an executor runs batches with), ``rows`` (where rows come from), ``scheduler``
(which row runs next, on a thread or as a task), ``operation`` (a batch from its first row to its result),
``iterator`` (its rows one by one), ``results``, ``journal`` (what lets a killed batch continue), ``progress``. Batches
that run elsewhere: ``job`` (the batch as data), ``backend`` (hands tasks over), ``worker`` (answers them there).
"""

from __future__ import annotations

from hokusai_core.batch.progress import BatchProgress
from hokusai_core.batch.results import BatchResult, BatchRow, FailedExecution, Outcome

__all__ = ["BatchProgress", "BatchResult", "BatchRow", "FailedExecution", "Outcome"]
