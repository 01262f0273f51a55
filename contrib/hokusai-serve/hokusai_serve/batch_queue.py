"""BatchQueue: runs batches one after the other, and goes on with them after the server was started again."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from hokusai_core import Executor
from hokusai_core.errors import ConfigurationError, HokusaiError
from hokusai_core.plugin_api import atomic_write, file_lock, private_folder
from hokusai_core.types import BatchRow, ExecutionResult, RegisteredSignature
from hokusai_serve.batch_files import BatchFiles, BatchRecord
from hokusai_serve.catalog import Catalog
from hokusai_serve.gate import Gate
from hokusai_serve.limits import ServeLimits
from hokusai_serve.metrics import ServerMetrics
from hokusai_serve.problems import Problem, problem_of

__all__ = ["BatchQueue"]

_LOG: Final = logging.getLogger("hokusai.serve")


class _Stopped(Exception):
    """The server ends, or the batch was removed."""


class BatchQueue:
    """Takes, runs and keeps batches. Its methods block; call them on a thread.

    Args:
        executor: runs the rows.
        catalog: the signatures that are served.
        folder: where batches are kept; one server at a time uses it.
        limits: how many batches there may be, and for how long their results are kept.
        metrics: counts the executions.
        gate: when it drains, no further row is started.
        sensitive: whether results hold values of sensitive fields.

    Raises:
        ConfigurationError: another server uses the folder.
    """

    def __init__(
        self,
        executor: Executor,
        catalog: Catalog,
        folder: Path,
        limits: ServeLimits,
        metrics: ServerMetrics,
        gate: Gate,
        *,
        sensitive: bool,
    ) -> None:
        self._executor, self._catalog, self._limits, self._metrics = executor, catalog, limits, metrics
        self._gate = gate
        self._sensitive = sensitive
        self._held = ExitStack()
        try:
            self._held.enter_context(file_lock(private_folder(folder) / "server.lock", timeout=0.0))
        except BlockingIOError:
            raise ConfigurationError(
                f"another server keeps its batches in {folder}; give this one a folder of its own (--data-folder)"
            ) from None
        self._files = BatchFiles(folder)
        self._lock = threading.Lock()
        self._batches: dict[str, BatchRecord] = {}
        self._removed: set[str] = set()
        self._pool = ThreadPoolExecutor(limits.running_batches, thread_name_prefix="hokusai-serve-batch")

    def resume(self) -> None:
        """Go on with the batches that an earlier server has left."""
        for record in self._files.read():
            self._batches[record.id] = record
        self._forget_old()
        for record in (*self._batches.values(),):
            if record.over:
                continue
            rows = self._files.read_rows(record)
            if rows is None:
                record.state, record.finished_at = "lost", time.time()
                record.error = "the server has ended, and rows with sensitive fields are not kept; submit them again"
                self._files.write(record)
            else:
                record.done = record.failed = 0
                self._pool.submit(self._run, record, rows)

    def submit(
        self, entry: RegisteredSignature, rows: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
    ) -> BatchRecord:
        """Take a batch; it is kept before this returns.

        Raises:
            Problem: too many batches wait.
        """
        self._forget_old()
        with self._lock:
            if sum(not record.over for record in self._batches.values()) >= self._limits.batches:
                detail = f"{self._limits.batches} batches wait or run already; try again later"
                raise Problem(429, "too-many-batches", detail, headers={"Retry-After": "30"})
            record = BatchRecord(secrets.token_hex(16), entry.qualified_name, len(rows), dict(options))
            self._batches[record.id] = record
        try:
            if not entry.spec.sensitive:
                self._files.write_rows(record, rows)
            self._files.write(record)
            self._pool.submit(self._run, record, rows)
        except BaseException:
            self._batches.pop(record.id, None)
            self._files.remove(record)
            raise
        return record

    def list(self) -> Sequence[BatchRecord]:
        """Return every batch, the latest first."""
        return sorted(self._batches.values(), key=lambda record: -record.created_at)

    def find(self, batch_id: str) -> BatchRecord:
        """Return a batch.

        Raises:
            Problem: there is none of that id.
        """
        record = self._batches.get(batch_id)
        if record is None:
            raise Problem(404, "batch-not-found", "there is no batch of that id; it may have been removed")
        return record

    def results(self, batch_id: str) -> Path:
        """Return the file with the results of a batch.

        Raises:
            Problem: there is no such batch, or it has no results.
        """
        record = self.find(batch_id)
        if record.state == "finished":
            return self._files.results(record)
        if record.over:
            raise Problem(409, f"batch-{record.state}", f"the batch has no results: {record.error}")
        detail = f"{record.done} of {record.rows} rows are over; ask again later"
        raise Problem(409, "batch-not-finished", detail, headers={"Retry-After": "5"})

    def remove(self, batch_id: str) -> None:
        """Remove a batch; one that runs starts no further row.

        Raises:
            Problem: there is none of that id.
        """
        record = self.find(batch_id)
        with self._lock:
            self._removed.add(batch_id)
            self._batches.pop(batch_id, None)
            if record.state == "running":
                return  # its thread removes the files
        self._files.remove(record)

    def close(self) -> None:
        """Wait for the rows under way, and leave the folder to the next server; call it when the gate drains."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._held.close()

    # -- on a thread of the pool --------------------------------------------------------------------------------

    def _run(self, record: BatchRecord, rows: Sequence[Mapping[str, Any]]) -> None:
        with self._lock:
            if record.id in self._removed or self._gate.draining:
                return
            record.state = "running"
        try:
            self._files.write(record)
            self._execute(record, rows)
            record.state = "finished"
        except _Stopped:
            if record.id not in self._removed:
                return  # the next server goes on with it
        except Exception as error:
            _LOG.exception("batch %s failed", record.id)
            record.state, record.error = "failed", problem_of(error).detail
        self._end(record)

    def _end(self, record: BatchRecord) -> None:
        with self._lock:
            if record.id in self._removed:
                self._files.remove(record)
                return
        record.finished_at = time.time()
        try:
            self._files.write(record)
            self._files.forget_work(record)
        except OSError:
            _LOG.exception("the end of batch %s could not be written", record.id)

    def _execute(self, record: BatchRecord, rows: Sequence[Mapping[str, Any]]) -> None:
        try:
            entry = self._catalog.find(record.signature)
        except HokusaiError as error:
            raise Problem(404, "signature-not-found", str(error)) from error
        journal = None if entry.spec.sensitive else self._files.journal(record)
        with self._executor.iter_batch(record.signature, rows, journal=journal, **record.options) as outcomes:
            atomic_write(self._files.results(record), self._lines(record, outcomes), sole_writer=True)

    def _lines(self, record: BatchRecord, outcomes: Iterable[BatchRow]) -> Iterator[bytes]:
        """Yield every row as a line, in the order of the rows."""
        waiting: dict[int, bytes] = {}
        due = 0
        for row in outcomes:
            record.done += 1
            record.failed += not row.ok
            if isinstance(row.outcome, ExecutionResult):
                self._metrics.execution(row.outcome)
            waiting[row.index] = row.to_json(sensitive=self._sensitive) + b"\n"
            while due in waiting:
                yield waiting.pop(due)
                due += 1
            if (self._gate.draining or record.id in self._removed) and record.done < record.rows:
                raise _Stopped

    def _forget_old(self) -> None:
        now = time.time()
        for record in (*self._batches.values(),):
            if record.finished_at is not None and now - record.finished_at > self._limits.keep_batches:
                self._batches.pop(record.id, None)
                self._files.remove(record)
