"""Rows of a batch on a backend: their attempts are made on a cluster, or by a provider's batch service.

All but the attempts stays here: the pipeline of a row is the one of every execution, and only ``CallPlan.calls`` is
replaced. ``RemoteCalls`` gathers the attempts of many rows into chunks for the session of the backend.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar, Final

from attrs import define, field, frozen

from hokusai_core.batch_job import CallOffer, JobNotes, RowOutcome, RowTask
from hokusai_core.call_records import Admission, CallGuard, CallRecord, OutputsWithExtras, Recorder
from hokusai_core.errors import ConfigurationError, DeadlineExceeded, ExecutionError, OutputError, WorkerLost
from hokusai_core.json_encoding import jsonable
from hokusai_core.loggers import AreaLogger
from hokusai_core.media import with_content
from hokusai_core.option_table import ComponentChoice, Option, component
from hokusai_core.protocols import Backend
from hokusai_core.results import Usage

if TYPE_CHECKING:
    from hokusai_core.batch.journal import Journal
    from hokusai_core.batch_job import BatchJob
    from hokusai_core.execution.call_plan import CallPlan
    from hokusai_core.plugins import PluginManager
    from hokusai_core.protocols import BatchSession

__all__ = ["BackendShelf", "RemoteBatch", "current_key", "is_local"]

#: What the journal finds the row by that this context works on.
current_key: ContextVar[str | None] = ContextVar("hokusai_row_key", default=None)
_LOG: Final = AreaLogger("execution")
_BACKEND: Final = Option(
    "where rows run: 'local', a component's name, {'name': ..., options}, or a Backend",
    component(Backend, optional=False),
    private=True,  # options may hold credentials
)


def is_local(backend: Any) -> bool:
    """Return whether rows run in this process."""
    return isinstance(backend, str) and backend == "local"


class BackendShelf:
    """The backends of one executor that were made by name; each is made once.

    Args:
        plugins: what offers them.
    """

    def __init__(self, plugins: PluginManager) -> None:
        self._plugins = plugins
        self._made: dict[str, Backend] = {}

    def get(self, backend: Any) -> tuple[str, Backend]:
        """Return the name of a backend, and the backend.

        Args:
            backend: a component's name, a mapping of ``name`` and options, or a ``Backend``.

        Raises:
            ComponentNotFoundError: no plugin offers it.
            ConfigurationError: the object is no backend, or its options cannot be used.
        """
        chosen = _BACKEND.read(backend, "backend")
        if isinstance(chosen, str):
            chosen = ComponentChoice(chosen, {})
        if not isinstance(chosen, ComponentChoice):
            return type(chosen).__name__, chosen
        key = repr((chosen.name, sorted(chosen.options.items())))
        if key not in self._made:
            self._made[key] = self._plugins.create("backend", chosen)
        return chosen.name, self._made[key]

    def close(self) -> None:
        """Close them."""
        made, self._made = list(self._made.values()), {}
        errors: list[Exception] = []
        for backend in made:
            try:
                backend.close()
            except Exception as error:  # the others must be closed too
                errors.append(error)
        if errors:
            raise ExceptionGroup("closing backends", errors)


@frozen(eq=False)
class _JournalNotes:
    """The notes of a session in a journal."""

    journal: Journal

    def read(self) -> Sequence[Mapping[str, Any]]:
        return self.journal.notes

    def write(self, note: Mapping[str, Any]) -> None:
        self.journal.note(note)


@define(eq=False)
class _UnderWay:
    """A task that has no outcome yet.

    Args:
        task: the task.
        future: takes its outcome.
        gate: admits its calls; None where nothing bounds them.
        admissions: what the gate has set aside, by number.
        refused: why the gate has refused a call.
    """

    task: RowTask
    future: asyncio.Future[RowOutcome]
    gate: CallGuard | None
    admissions: list[Admission | None] = field(factory=list)
    refused: Exception | None = None


class RemoteBatch:
    """One batch on a backend: the ``RowHost`` of its session, and the ``CallPlacement`` of its executions.

    Args:
        name: name of the backend.
        backend: the backend.
        job: the batch as data.
        journal: where notes are kept, or None.
        width: tasks that are answered here at once, where the session returns them.

    Raises:
        ConfigurationError: the backend needs a journal and there is none, or it cannot run the job.
    """

    def __init__(self, name: str, backend: Backend, job: BatchJob, journal: Journal | None, *, width: int) -> None:
        if getattr(backend, "needs_journal", False) and journal is None:
            raise ConfigurationError(
                f"backend {name}: it needs journal=... (-o FILE of hokusai batch), where it notes what it has "
                "submitted; without one, a batch that is interrupted would be paid twice"
            )
        self.name, self.job = name, job
        self.notes: JobNotes | None = None if journal is None else _JournalNotes(journal)
        self._numbers = count()
        self._under_way: dict[int, _UnderWay] = {}
        self._waiting: list[_UnderWay] = []
        self._timer: asyncio.TimerHandle | None = None
        self._runs: set[asyncio.Task[None]] = set()
        self._closed = False
        self._width = width
        self._here: asyncio.Semaphore | None = None
        self.session: BatchSession = backend.open(job, self)

    def calls(self, plan: CallPlan, number: int) -> _RemoteCalls:
        """Return what makes the attempts of executions with a plan."""
        return _RemoteCalls(self, plan, number)

    @property
    def here(self) -> asyncio.Semaphore:
        """Bounds what is answered in this process: a service may return thousands of tasks at once."""
        if self._here is None:
            self._here = asyncio.Semaphore(self._width)
        return self._here

    # -- the host of the session ------------------------------------------------------------------------------

    def deliver(self, outcome: RowOutcome) -> None:
        """Take the outcome of a task."""
        row = self._under_way.get(outcome.number)
        if row is None:
            return  # it was given up, or has its outcome
        loop = row.future.get_loop()
        if asyncio._get_running_loop() is loop:
            self._settle(outcome)
        else:
            loop.call_soon_threadsafe(self._settle, outcome)

    async def admit(self, number: int, offer: CallOffer, *, rated: bool = True) -> int | None:
        """Let a call through once budget and rate limits have room for it."""
        row = self._under_way.get(number)
        if row is None:
            return None
        admission = None
        if row.gate is not None:
            try:
                estimate = offer.to_estimate()
                admission = await row.gate.abefore(estimate) if rated else row.gate.reserve(estimate)
            except Exception as error:  # raised where the row waits
                row.refused = error
                return None
        if row.future.done():
            if admission is not None:
                admission.refund()
            return None
        row.admissions.append(admission)
        return len(row.admissions) - 1

    def _settle(self, outcome: RowOutcome) -> None:
        row = self._under_way.pop(outcome.number, None)
        if row is not None and not row.future.done():
            row.future.set_result(outcome)

    # -- tasks ------------------------------------------------------------------------------------------------

    async def attempt(
        self, make_task: Callable[[int], RowTask], gate: CallGuard | None
    ) -> tuple[RowOutcome, _UnderWay]:
        """Hand a task over and wait for its outcome."""
        loop = asyncio.get_running_loop()
        number = next(self._numbers)
        row = _UnderWay(make_task(number), loop.create_future(), gate)
        self._under_way[number] = row
        self._waiting.append(row)
        if self._timer is not None:
            self._timer.cancel()
        if len(self._waiting) >= self.session.chunk_size:
            self._flush()
        else:
            self._timer = loop.call_later(self.session.linger, self._flush)
        try:
            return await row.future, row
        finally:
            self._under_way.pop(number, None)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        chunk, self._waiting = [row for row in self._waiting if not row.future.done()], []
        if chunk:
            run = asyncio.ensure_future(self._run(chunk))
            self._runs.add(run)
            run.add_done_callback(self._runs.discard)

    async def _run(self, chunk: Sequence[_UnderWay]) -> None:
        error: Exception | None = None
        try:
            await self.session.run([row.task for row in chunk])
        except Exception as raised:
            _LOG.warning("backend %s failed: %s", self.name, type(raised).__name__)
            error = raised
        for row in chunk:
            if not row.future.done():
                row.future.set_exception(self._without_outcome(error))

    def _without_outcome(self, error: Exception | None) -> ExecutionError:
        if isinstance(error, ExecutionError):
            return error.replica()
        failure = ExecutionError(
            f"backend {self.name} "
            + (
                "ended without an outcome for this row; run the batch again"
                if error is None
                else f"failed ({type(error).__name__}: {error}); see the cause, then run the batch again"
            )
        )
        failure.__cause__ = error
        return failure

    def close(self) -> None:
        """Close the session; calling it twice is harmless."""
        if self._closed:
            return
        self._closed = True
        for run in list(self._runs):
            loop = run.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(run.cancel)
        self.session.close()


@frozen(eq=False)
class _RemoteCalls:
    """Takes the place of ``CallPlan.calls``.

    Args:
        batch: the batch.
        plan: the plan of the execution.
        number: place of its model in the policy.
    """

    batch: RemoteBatch
    plan: CallPlan
    number: int

    def prepare(
        self, inputs: Mapping[str, Any], *, recorder: Recorder, gate: CallGuard | None = None, **options: Any
    ) -> _RemoteAttempt:
        """Return one attempt, to be made later; see ``BridgeCall.prepare``."""
        deadline = options.pop("deadline", None)
        local = partial(self.plan.calls.prepare, inputs, recorder=recorder, gate=gate, **options)
        return _RemoteAttempt(self, inputs, recorder, gate, deadline, options.get("attempt", 1), local)


@frozen(eq=False)
class _RemoteAttempt:
    """One attempt that is made elsewhere.

    Args:
        calls: what has prepared it.
        inputs: bound inputs.
        recorder: receives a record of every call.
        gate: is asked before every call, or None.
        deadline: when it must be over, as ``time.monotonic()`` tells it, or None.
        attempt: number of the try.
        local: prepares the same attempt here, for a task that is returned; takes its ``deadline``.
    """

    calls: _RemoteCalls
    inputs: Mapping[str, Any]
    recorder: Recorder
    gate: CallGuard | None
    deadline: float | None
    attempt: int
    local: Callable[..., Any]

    asynchronous: ClassVar[bool] = True
    keeps_deadline: ClassVar[bool] = False
    stops: ClassVar[bool] = False

    def run(self) -> dict[str, Any]:
        """Refuse: batches on a backend run on an event loop."""
        raise ExecutionError("an attempt on a backend is awaited; use aexecute_batch on this thread")

    async def arun(self) -> dict[str, Any]:
        """Hand the task over, and return the outputs that come back."""
        began = time.perf_counter()
        outcome, row = await self.calls.batch.attempt(self._task(), self.gate)
        self._record(outcome, row, time.perf_counter() - began)
        if row.refused is not None:
            raise row.refused
        if outcome.status == "answered":
            return self._outputs(outcome)
        if outcome.status == "returned":
            return await self._answered_here()
        if outcome.status == "lost":
            why = "" if outcome.error is None else f" ({outcome.error.message})"
            raise WorkerLost(
                f"{self.calls.plan.name}: the worker died while it ran this row{why}; what it had paid for is not "
                "known. Look at the logs of the backend for the reason, such as too little memory"
            )
        error = ExecutionError("the backend says no more") if outcome.error is None else outcome.error.to_error()
        raise error

    def _task(self) -> Callable[[int], RowTask]:
        try:
            plain = jsonable(with_content(dict(self.inputs)))
        except (TypeError, ValueError) as error:
            raise ExecutionError(
                f"{self.calls.plan.name}: the row cannot be sent to backend {self.calls.batch.name}: {error}. Give "
                "plain values, or run it with backend='local'"
            ) from None
        left = None if self.deadline is None else max(0.0, self.deadline - time.monotonic())
        return lambda number: RowTask(
            number=number,
            inputs=plain,
            key=current_key.get(),
            model=self.calls.number,
            attempt=self.attempt,
            timeout=left,
        )

    def _record(self, outcome: RowOutcome, row: _UnderWay, latency: float) -> None:
        """Settle what was set aside, and record the calls."""
        for place, call in enumerate(outcome.calls):
            admitted = outcome.admissions[place] if place < len(outcome.admissions) else None
            admission = None
            if admitted is not None and 0 <= admitted < len(row.admissions):
                admission, row.admissions[admitted] = row.admissions[admitted], None
            if admission is not None:
                admission.settle(call)
            elif self.gate is not None:
                self.gate.charge(call)
            self.recorder.record(call)
        for number in outcome.refunds:
            admission, row.admissions[number] = row.admissions[number], None
            if admission is not None:
                admission.refund()
        if outcome.status == "lost" and (self.gate is None or row.admissions):  # else it had not asked for a call yet
            self.recorder.record(
                CallRecord(self.calls.plan.model_name, "abandoned", latency, Usage(calls=1), bill="unknown")
            )

    def _outputs(self, outcome: RowOutcome) -> dict[str, Any]:
        plan = self.calls.plan
        if outcome.model and outcome.model != plan.model_name:
            raise ExecutionError(
                f"{plan.name}: backend {self.calls.batch.name} asked {outcome.model}, and the batch is for "
                f"{plan.model_name}; give its workers the same models"
            )
        try:
            outputs = plan.spec.codec.decode(outcome.outputs or b"")
        except (TypeError, ValueError) as error:
            told = type(error).__name__ if plan.spec.sensitive else str(error)
            raise OutputError(
                f"{plan.name}: the outputs that backend {self.calls.batch.name} gave cannot be read: {told}"
            ) from None
        return OutputsWithExtras(outputs, outcome.extras) if outcome.extras else outputs

    async def _answered_here(self) -> dict[str, Any]:
        """Make the attempt in this process. Where the session had a time of its own, that of the row begins now."""
        batch = self.calls.batch
        timeout = batch.job.timeout if batch.session.own_time else None
        async with batch.here:
            call = self.local(deadline=self.deadline if timeout is None else time.monotonic() + timeout)
            scope = asyncio.timeout(timeout)
            try:
                async with scope:
                    work = call.arun() if call.asynchronous else asyncio.to_thread(call.run)
                    outputs: dict[str, Any] = await work
                    return outputs
            except TimeoutError:
                if not scope.expired():
                    raise
        raise DeadlineExceeded(
            f"{self.calls.plan.name} took longer than its timeout of {timeout:g} s. Give it more time with timeout=..."
        )
