"""BatchRunner: runs batches of one signature."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import Any, Final, Literal

from attrs import define, evolve, field, frozen

from hokusai_core.batch.backend import BackendShelf, RemoteBatch, current_key, is_local
from hokusai_core.batch.iterator import BatchRows
from hokusai_core.batch.job import make_job
from hokusai_core.batch.journal import Journal
from hokusai_core.batch.operation import BatchOperation
from hokusai_core.batch.progress import BatchProgress, ProgressCounter, make_reporter
from hokusai_core.batch.results import BatchResult, Outcome
from hokusai_core.batch.rows import Row, check_rows, row_count
from hokusai_core.batch_job import BatchJob
from hokusai_core.errors import BatchError, ClosedError, CompositionError, ConfigurationError, HokusaiError
from hokusai_core.execution.call_plan import CallPlan
from hokusai_core.execution.model_policy import ModelPolicy
from hokusai_core.execution.options import ExecutionOptions
from hokusai_core.execution.services import ExecutorServices
from hokusai_core.execution.state import Options
from hokusai_core.protocols import Backend
from hokusai_core.results import ExecutionResult
from hokusai_core.runtime.window import Permit
from hokusai_core.settings import UNSET, parse_setting
from hokusai_core.signatures import SignatureSpec

__all__ = ["BatchOptions", "BatchRunner", "OnError", "checked_result"]

OnError = Literal["return", "raise"]
Rows = Iterable[Mapping[str, Any]]


@frozen(kw_only=True)
class BatchOptions:
    """How a batch is run; see ``Executor.execute_batch`` for each."""

    parallel: bool = True
    batch_size: int | None = None
    on_error: OnError = "return"
    journal: str | os.PathLike[str] | None = None
    progress: bool | Callable[[BatchProgress], object] | None = None
    backend: Any = "local"
    max_workers: int | None = None

    def check(self) -> None:
        """Raise ``ConfigurationError`` if a value cannot be used."""
        check_on_error(self.on_error)
        if not isinstance(self.parallel, bool):
            raise ConfigurationError(f"parallel={self.parallel!r}: expected True or False")
        size = self.batch_size
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
            raise ConfigurationError(f"batch_size={size!r}: expected a whole number of at least 1, or None")
        if self.journal is not None and not isinstance(self.journal, (str, os.PathLike)):
            raise ConfigurationError(f"journal={self.journal!r}: expected the path of a file, or None")


class BatchRunner:
    """Runs batches for one executor.

    Args:
        services: parts of the executor.
    """

    def __init__(self, services: ExecutorServices) -> None:
        self._services = services
        self._backends = BackendShelf(services.plugins)

    def close(self) -> None:
        """Close the backends that were made by name; calling it twice is harmless."""
        self._backends.close()

    def _start(self, signature: Any, batch: BatchOptions, options: ExecutionOptions) -> _Start:
        return _Start(self._services, self._backends, signature, batch, options)

    def execute(self, signature: Any, rows: Rows, batch: BatchOptions, options: ExecutionOptions) -> BatchResult:
        """Run every row and wait for all of them; see ``Executor.execute_batch``."""
        operation = self._start(signature, batch, options).operation(rows)
        with self._services.anchored(operation.operation_id, operation.kind, operation.name):
            result = operation.collect(rows)
        return checked_result(result, batch.on_error)

    async def aexecute(
        self,
        signature: Any,
        rows: Rows | AsyncIterable[Mapping[str, Any]],
        batch: BatchOptions,
        options: ExecutionOptions,
    ) -> BatchResult:
        """Async version of ``execute``."""
        await self._services.load_dspy()
        start = self._start(signature, batch, options)
        check_rows(rows, asynchronous=True)
        await asyncio.to_thread(start.open)  # reading a long journal takes a while, and so does starting a cluster
        try:
            operation = start.operation(rows, asynchronous=True)
        except BaseException:
            start.close()
            raise
        with self._services.anchored(operation.operation_id, operation.kind, operation.name):
            result = await operation.acollect(rows)
        return checked_result(result, batch.on_error)

    def iterate(self, signature: Any, rows: Rows, batch: BatchOptions, options: ExecutionOptions) -> BatchRows:
        """Run the rows and hand out each as it finishes; see ``Executor.iter_batch``."""
        operation = self._start(signature, batch, options).operation(rows)
        with self._services.anchored(operation.operation_id, operation.kind, operation.name):
            return BatchRows(operation, rows)

    def submit(self, signature: Any, inputs: Mapping[str, Any], options: ExecutionOptions) -> Future[ExecutionResult]:
        """Begin one execution; see ``Executor.execute_async``."""
        services = self._services
        services.check_open()
        chosen, lm = services.options.read(**options), options.get("lm")
        with services.anchored():
            return services.tasks.submit(lambda: services.execute(signature, inputs, lm, chosen))


class _Start:
    """Everything that is decided before the first row is taken."""

    plan: Final[CallPlan]

    def __init__(
        self,
        services: ExecutorServices,
        backends: BackendShelf,
        signature: Any,
        batch: BatchOptions,
        options: ExecutionOptions,
    ) -> None:
        services.check_open()
        batch.check()
        if not isinstance(signature, (str, type, os.PathLike)):
            raise CompositionError(
                f"a batch runs one signature, not a {type(signature).__name__}; rows of a chain or pipeline are tasks: "
                "ParallelExecutor(executor).execute_all([(it, row) for row in rows])"
            )
        self._services, self._signature, self._batch = services, signature, batch
        self._lm = options.get("lm")
        self._operation_id = secrets.token_hex(16)
        self._options: Options = services.options.read(
            **options,
            parent_id=self._operation_id,
            parent_kind="batch",
            fresh_since=time.time() if options.get("cache") == "refresh" else None,
        )
        self.plan = services.plan(signature, self._lm, self._options)
        self._journal: Journal | None = None
        self._remote: RemoteBatch | None = None
        #: Name, backend and job of a batch that runs elsewhere. Testing mode answers here, from samples.
        self._wanted: tuple[str, Backend, BatchJob] | None = None
        if not is_local(batch.backend):
            name, backend = backends.get(batch.backend)
            if not services.testing:
                job = make_job(services, self.plan, self._lm, self._options, backend=name, job_id=self._operation_id)
                self._wanted = name, backend, job

    def open(self) -> None:
        """Open the journal and the session of the backend, where there are to be any."""
        self._open_journal()
        if self._wanted is not None and self._remote is None:
            name, backend, job = self._wanted
            try:
                width = self._services.settings.value("max_workers")
                self._remote = RemoteBatch(name, backend, job, self._journal, width=width)
            except BaseException:
                self.close()
                raise

    def _open_journal(self) -> None:
        path, plan = self._batch.journal, self.plan
        if path is not None and self._journal is None:
            testing = self._services.testing
            asked = self._options.strategy is not None and plan.strategy is not None
            self._journal = Journal(
                path,
                plan.spec,
                plan.name,
                models=self._model_names(),
                testing=testing,
                strategy=plan.strategy.choice.identity if asked and plan.strategy else None,
                parameters=plan.given_parameters,
            )

    def _model_names(self) -> list[str]:
        """Return the names of the language models that may answer a row."""
        services, options = self._services, self._options
        chosen = None if services.testing else services.models.choose(self._lm)
        if not isinstance(chosen, ModelPolicy):
            return [self.plan.model_name]
        names = []
        for model in chosen.models:
            try:
                plan = services.plans.plan(self._signature, model, options.strategy, options.parameters)
            except HokusaiError:  # the next one is asked in its place
                continue
            names.append(plan.model_name)
        return names

    def close(self) -> None:
        """Close the session and the journal."""
        try:
            if self._remote is not None:
                self._remote.close()
        finally:
            if self._journal is not None:
                self._journal.close()

    def operation(self, rows: Any, *, asynchronous: bool = False) -> BatchOperation:
        """Return the batch, ready to begin."""
        check_rows(rows, asynchronous=asynchronous)
        services, batch, plan, total = self._services, self._batch, self.plan, row_count(rows)
        self._width()
        reporter = make_reporter(batch.progress, total)
        self.open()
        journal, remote, options = self._journal, self._remote, self._options
        if remote is not None:
            options = evolve(options, placement=remote)
            if remote.session.own_time:
                options = evolve(options, timeout=None)
        shares = self._options.cache != "off" and services.cache is not None and plan.keys is not None
        execution = _SignatureExecution(
            services,
            self._signature,
            plan.spec,
            self._lm,
            options,
            journal,
            None if journal is None or shares else Counter(),
        )
        return BatchOperation(
            services,
            execution,
            plan.name,
            self._width(),
            awaitable=plan.calls is not None and plan.calls.asynchronous,
            counter=ProgressCounter(plan.registered.name, total, reporter),
            operation_id=self._operation_id,
            close=self.close,
            resume="" if journal is None else f"Run it again with journal={str(journal.path)!r} to go on with the rest",
            batch_size=batch.batch_size,
            tags=self._options.tags,
            on_loop=remote is not None,
        )

    def _width(self) -> int:
        given: Any = self._batch.max_workers
        asked: int | None = None if given is None or given is UNSET else parse_setting("max_workers", given)
        width: int
        if self._remote is not None:  # the executor's own number is for its threads
            room = self._remote.session.capacity
            width = room if asked is None else min(asked, room)
        else:
            width = self._services.settings.value("max_workers") if asked is None else asked
        return width if self._batch.parallel else 1


@define(eq=False)
class _SignatureExecution:
    """Runs one signature on every row.

    Args:
        services: parts of the executor.
        signature: its name or class.
        spec: the signature.
        lm: language model of this batch, in place of the executor's.
        options: what the caller asked for.
        journal: keeps what is over, or None.
        occurrences: counts equal rows, where each is to have an answer of its own; None where they share one.
    """

    services: ExecutorServices
    signature: Any
    spec: SignatureSpec
    lm: Any
    options: Options
    journal: Journal | None = None
    occurrences: Counter[str] | None = None
    resumable: bool = True
    secrets: frozenset[str] = field(init=False)

    @secrets.default
    def _secrets(self) -> frozenset[str]:
        return hidden_fields(self.spec)

    def prepare(self, row: Row) -> Outcome | None:
        """Return what the journal holds of the row, if anything."""
        journal = self.journal
        if journal is None:
            return None
        try:
            inputs = self.spec.binder.bind(row.inputs, self.services.media)
        except Exception:  # it fails on its way, with every problem told
            return None
        row.key = key = journal.key(inputs)
        if key is not None and self.occurrences is not None:
            before = self.occurrences[key]
            self.occurrences[key] += 1
            if before:
                row.key = key = journal.key(inputs, before)
        return None if key is None else journal.find(key, inputs)

    def run(self, row: Row, permit: Permit) -> Outcome:
        """Run a row, blocking."""
        return self.services.execute(self.signature, row.inputs, self.lm, self.options, permit)

    async def arun(self, row: Row, permit: Permit) -> Outcome:
        """Async version of ``run``."""
        current_key.set(row.key)  # each row runs in a context of its own
        return await self.services.aexecute(self.signature, row.inputs, self.lm, self.options, permit)

    def ends_batch(self, error: Exception) -> bool:
        """Return whether the executor was closed."""
        return isinstance(error, ClosedError) and self.services.state.closed

    def over(self, row: Row, outcome: Outcome) -> None:
        """Write the row to the journal."""
        if self.journal is not None and row.key is not None:
            self.journal.record(row.key, row.index, outcome)

    def hidden(self, _row: Row) -> frozenset[str]:
        """Return the names of the signature's sensitive fields, and their aliases."""
        return self.secrets


def hidden_fields(spec: SignatureSpec) -> frozenset[str]:
    """Return the names, aliases included, under which a row may hold sensitive values."""
    if not spec.sensitive:
        return frozenset()
    return frozenset(name for item in spec.fields if item.sensitive for name in (item.name, *item.aliases))


def check_on_error(on_error: Any) -> None:
    """Raise ``ConfigurationError`` if ``on_error`` is not one of its two values."""
    if on_error not in ("return", "raise"):
        raise ConfigurationError(f"on_error={on_error!r}: expected 'return' or 'raise'")


def checked_result(result: BatchResult, on_error: str) -> BatchResult:
    """Return ``result``; raise ``BatchError`` if rows failed and the caller asked for that."""
    if on_error == "raise" and result.failed:
        raise BatchError.of(result)
    return result
