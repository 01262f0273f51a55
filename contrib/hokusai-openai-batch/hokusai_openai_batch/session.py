"""BatchServiceSession: one batch of Hokusai on the batch service: submit, poll, collect."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

from attrs import define, evolve, field, frozen
from dspy.lm15 import BatchRequest

from hokusai_core.errors import (
    DeadlineExceeded,
    ExecutionError,
    HokusaiError,
    LanguageModelError,
    LanguageModelRefused,
    LanguageModelUnavailable,
    RateLimitedError,
)
from hokusai_core.plugin_api import CallOffer, JobWorker, PreparedRequest, RowHost, RowOutcome, RowTask, translate_error
from hokusai_openai_batch.tickets import Ticket, Tickets

__all__ = ["BatchServiceSession", "ServiceOptions"]

T = TypeVar("T")

#: Bytes of one file of requests at most; the service takes 200 million.
_MOST_BYTES: Final = 150_000_000
#: Rows that are worked on at once on a thread, so that others get their turn.
_SLICE: Final = 200
#: Batches that the service is asked to list.
_LISTED: Final = 100
#: Waits in seconds before a submission is tried again that the service was too busy for.
_WAITS: Final = (2.0, 5.0, 10.0, 30.0, 60.0)
#: Looks at a batch that may fail in a row before its rows fail.
_MOST_FAILURES: Final = 20
#: Errors of single requests that say nothing of the request itself.
_PASSING: Final = frozenset({"rate_limit", "server", "timeout", "transport", "provider", "overloaded"})


@frozen(kw_only=True)
class ServiceOptions:
    """How the service is used; see ``OpenAIBatchBackend``."""

    price: float
    completion_window: str
    poll: float
    chunk_size: int
    capacity: int
    linger: float
    max_wait: float | None
    finish_online: bool
    certain_after: float


@define(eq=False)
class _Row:
    """A task that waits for the service.

    Args:
        task: the task.
        done: is set when it has its outcome.
        admission: what was set aside for it.
    """

    task: RowTask
    done: asyncio.Future[None]
    admission: int | None = None


@define(eq=False)
class _Batch:
    """A batch of the service under way.

    Args:
        ticket: its ticket.
        waiting: rows by their key.
        entries: what the service gave, by place; None while it is at work.
        given: keys of rows that have had their outcome.
        failure: why nothing can be had of it.
    """

    ticket: Ticket
    waiting: dict[str, _Row] = field(factory=dict)
    entries: Sequence[Any] | None = None
    given: set[str] = field(factory=set)
    failure: HokusaiError | None = None
    watcher: asyncio.Task[None] | None = None


class BatchServiceSession:
    """One batch of Hokusai on the batch service.

    Args:
        worker: writes the requests and reads the answers.
        host: takes outcomes, and admits calls.
        tickets: what was submitted.
        options: how the service is used.
    """

    own_time = True

    def __init__(self, worker: JobWorker, host: RowHost, tickets: Tickets, options: ServiceOptions) -> None:
        self._worker, self._host, self._tickets, self._options = worker, host, tickets, options
        self.capacity, self.chunk_size, self.linger = options.capacity, options.chunk_size, options.linger
        self._batches = {ticket.token: _Batch(ticket) for ticket in tickets.open}
        self._by_key = {key: batch for batch in self._batches.values() for key in batch.ticket.keys}
        self._asked = asyncio.Lock()
        self._client: Any = None
        self._watchers: set[asyncio.Task[None]] = set()
        self._closed = False

    async def run(self, tasks: Sequence[RowTask]) -> None:
        """Answer tasks by batches that were submitted before, and submit the rest."""
        loop = asyncio.get_running_loop()
        rows = [_Row(task, loop.create_future()) for task in tasks]
        fresh: list[_Row] = []
        for row in rows:
            why = self._not_for_service(row.task)
            if why:
                self._hand_back(row, why)
            else:
                fresh.append(row)
        if fresh:
            await self._find_lost(fresh[0].task)
            fresh = [row for row in fresh if not self._attach(row)]
            await asyncio.gather(*[self._submit(part) for part in [part async for part in self._parts(fresh)]])
        await asyncio.gather(*(row.done for row in rows))

    def close(self) -> None:
        """Stop looking, and note which batches are done with; calling it twice is harmless."""
        if self._closed:
            return
        self._closed = True
        for watcher in list(self._watchers):
            loop = watcher.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(watcher.cancel)
        for batch in self._batches.values():
            if batch.entries is not None and not batch.waiting:
                self._tickets.collected(batch.ticket)
        self._worker.close()

    # -- which rows -------------------------------------------------------------------------------------------

    def _not_for_service(self, task: RowTask) -> str:
        """Return why a row is answered online; "" for a row that the service is to answer."""
        if task.key is None:
            return "its inputs have no JSON form, so that the journal could not tell it from others"
        if task.attempt > 1 and self._options.finish_online:
            return "it is tried again"
        return ""

    def _attach(self, row: _Row) -> bool:
        """Let a row wait for the batch that it was submitted in before; False if there is none."""
        key = row.task.key or ""
        batch = self._by_key.get(key)
        if batch is None or key in batch.given or key in batch.waiting:
            return False
        batch.waiting[key] = row
        self._watch(batch)
        return True

    async def _find_lost(self, task: RowTask) -> None:
        """Find out what became of batches that were being submitted when their process ended."""
        async with self._asked:
            for batch in [one for one in self._batches.values() if not one.ticket.batch_id]:
                await self._connect(task)
                if not await self._adopt(batch.ticket):
                    self._forget(batch)

    def _forget(self, batch: _Batch) -> None:
        self._tickets.drop(batch.ticket)
        self._batches.pop(batch.ticket.token, None)
        for key in batch.ticket.keys:
            if self._by_key.get(key) is batch:
                del self._by_key[key]

    async def _connect(self, task: RowTask) -> Any:
        if self._client is None:
            self._client = (await asyncio.to_thread(self._worker.prepare, task)).client
        return self._client

    async def _adopt(self, ticket: Ticket) -> bool:
        """Return whether the service has the batch of a ticket whose id is not known; note the id if so.

        Raises:
            ExecutionError: the service cannot say.
        """
        wait = ticket.at + self._options.certain_after - time.time()
        if wait > 0:
            await asyncio.sleep(min(wait, self._options.certain_after))
        listed = await self._call(lambda: self._client.batch_list(_LISTED))
        found = next((one for one in listed if one.label == ticket.token), None)
        if found is not None:
            self._tickets.submitted(ticket, found.id)
            return True
        if len(listed) < _LISTED:
            return False
        raise ExecutionError(
            f"backend openai-batch: a batch with the label {ticket.token} may have been submitted, and is not among "
            f"the {_LISTED} latest of this account. Look for it there. If it is missing, give another journal; nothing "
            "was submitted again"
        )

    # -- submitting -------------------------------------------------------------------------------------------

    async def _parts(self, rows: Sequence[_Row]) -> Any:
        """Yield rows with their requests, as many as one batch takes, each of one model."""
        parts: dict[str, list[tuple[_Row, PreparedRequest]]] = {}
        sizes: dict[str, int] = {}
        for slice_ in _slices(rows):
            for row, prepared in await asyncio.to_thread(self._prepared, slice_):
                model, size = prepared.request.model, 4 * prepared.offer.input_tokens + 1_000
                if not await self._admitted(row, prepared):
                    continue
                part = parts.setdefault(model, [])
                if part and sizes[model] + size > _MOST_BYTES:
                    yield part
                    part = parts[model] = []
                    sizes[model] = 0
                part.append((row, prepared))
                sizes[model] = sizes.get(model, 0) + size
        for part in parts.values():
            if part:
                yield part

    def _prepared(self, rows: Sequence[_Row]) -> list[tuple[_Row, PreparedRequest]]:
        """Write the requests of rows; a row whose request cannot be written fails."""
        prepared = []
        for row in rows:
            try:
                prepared.append((row, self._worker.prepare(row.task)))
            except Exception as error:
                self._over(row, RowOutcome.failed(row.task.number, error))
        return prepared

    async def _admitted(self, row: _Row, prepared: PreparedRequest) -> bool:
        """Return whether the budget has room for a row; else it is over."""
        if not self._worker.job.metered:
            return True
        row.admission = await self._host.admit(row.task.number, self._cheaper(prepared.offer), rated=False)
        if row.admission is None:
            self._over(row, RowOutcome.failed(row.task.number, ExecutionError("the budget has no room")))
        return row.admission is not None

    def _cheaper(self, offer: CallOffer) -> CallOffer:
        amount = offer.bound.amount
        if amount is None:
            return offer
        return evolve(offer, bound=evolve(offer.bound, amount=-int(-amount * self._options.price // 1)))

    async def _submit(self, part: Sequence[tuple[_Row, PreparedRequest]]) -> None:
        rows = [row for row, _ in part]
        self._client = self._client or part[0][1].client
        ticket = self._tickets.begin([row.task.key or "" for row in rows])
        batch = self._batches[ticket.token] = _Batch(ticket, {row.task.key or "": row for row in rows})
        self._by_key |= dict.fromkeys(ticket.keys, batch)
        request = BatchRequest(
            requests=tuple(prepared.request for _, prepared in part),
            label=ticket.token,
            extensions={"completion_window": self._options.completion_window},
        )
        try:
            await self._submit_once(ticket, request)
        except HokusaiError as error:
            if not ticket.batch_id and _is_refusal(error):
                self._forget(batch)
            self._fail(batch, error)
            return
        self._watch(batch)

    async def _submit_once(self, ticket: Ticket, request: BatchRequest) -> None:
        """Submit a batch. Where it is not certain that the service has none, look before it is submitted again."""
        for wait in (*_WAITS, None):
            try:
                info = await self._call(lambda: self._client.batch_submit(request))
            except RateLimitedError as error:
                if wait is None:
                    raise
                await asyncio.sleep(error.retry_after or wait)
            except HokusaiError as error:
                if _is_refusal(error) or wait is None:
                    raise
                if await self._adopt(ticket):
                    return
            else:
                self._tickets.submitted(ticket, info.id)
                return

    # -- collecting -------------------------------------------------------------------------------------------

    def _watch(self, batch: _Batch) -> None:
        if batch.watcher is None or batch.watcher.done():
            batch.watcher = asyncio.get_running_loop().create_task(self._collect(batch))
            self._watchers.add(batch.watcher)
            batch.watcher.add_done_callback(self._watchers.discard)

    async def _collect(self, batch: _Batch) -> None:
        """Wait for a batch, and hand out its answers."""
        try:
            if batch.entries is None:
                task = next(iter(batch.waiting.values())).task
                await self._connect(task)
                batch.entries = await self._entries(batch)
            while batch.waiting:
                rows = list(batch.waiting.items())
                for slice_ in _slices(rows):
                    for key, row, outcome in await asyncio.to_thread(self._outcomes, batch, slice_):
                        batch.waiting.pop(key, None)
                        batch.given.add(key)
                        self._over(row, outcome)
        except HokusaiError as error:
            self._fail(batch, error)

    async def _entries(self, batch: _Batch) -> Sequence[Any]:
        """Wait until the service has ended a batch, and return what became of its requests.

        Raises:
            HokusaiError: it has failed as a whole, or cannot be asked about.
        """
        ticket, options, cancelled = batch.ticket, self._options, False
        while True:
            info = await self._patiently(lambda: self._client.batch_status(ticket.batch_id))
            if info.done:
                break
            if not cancelled and options.max_wait is not None and time.time() > ticket.at + options.max_wait:
                cancelled = True
                await self._patiently(lambda: self._client.batch_cancel(ticket.batch_id))
                continue
            await asyncio.sleep(options.poll)
        if info.status == "failed":
            batch.entries = ()  # so that the ticket is done with
            raise LanguageModelError(
                f"batch {info.id} was refused by the service: {_reason(info.provider_data)}", retryable=False
            )
        entries: Sequence[Any] = await self._patiently(lambda: self._client.batch_results(ticket.batch_id))
        return entries

    def _outcomes(self, batch: _Batch, rows: Sequence[tuple[str, _Row]]) -> list[tuple[str, _Row, RowOutcome]]:
        """Read the answers of rows."""
        entries, latency = batch.entries or (), time.time() - batch.ticket.at
        found = []
        for key, row in rows:
            place = batch.ticket.places[key]
            entry = entries[place] if place < len(entries) else None
            found.append((key, row, self._outcome(row, entry, batch.ticket.batch_id, latency)))
        return found

    def _outcome(self, row: _Row, entry: Any, batch_id: str, latency: float) -> RowOutcome:
        outcome = "missing" if entry is None else entry.outcome
        if outcome == "succeeded":
            return self._worker.read(
                row.task, entry.response, price=self._options.price, latency=latency, admission=row.admission
            )
        refunds = () if row.admission is None else (row.admission,)
        error = getattr(entry, "error", None)
        if outcome == "errored" and error is not None and error.code not in _PASSING:
            kind = LanguageModelRefused if error.code in ("auth", "billing") else LanguageModelError
            failure = kind(f"batch {batch_id}: the service refused this row: {error.message}", retryable=False)
            return evolve(RowOutcome.failed(row.task.number, failure), refunds=refunds)
        why = f"batch {batch_id} ended without an answer to it ({outcome})"
        if self._options.finish_online:
            return RowOutcome.returned(row.task.number, why, refunds=refunds)
        late = DeadlineExceeded(f"{why}; run the batch again with the same journal to submit it again")
        return evolve(RowOutcome.failed(row.task.number, late), refunds=refunds)

    # -- parts ------------------------------------------------------------------------------------------------

    async def _patiently(self, ask: Callable[[], T]) -> T:
        """Ask the service what costs nothing, again and again while it cannot be reached."""
        failures = 0
        while True:
            try:
                return await self._call(ask)
            except ExecutionError as error:
                failures += 1
                if _is_refusal(error) or failures >= _MOST_FAILURES:
                    raise
                await asyncio.sleep(max(error.retry_after or 0.0, self._options.poll))

    async def _call(self, ask: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(ask)
        except Exception as error:
            raise translate_error(error, model=self._model) from None

    @property
    def _model(self) -> str:
        lm = self._worker.job.lm
        return lm if isinstance(lm, str) else "the batch service"

    def _hand_back(self, row: _Row, why: str) -> None:
        self._over(row, RowOutcome.returned(row.task.number, why))

    def _fail(self, batch: _Batch, error: HokusaiError) -> None:
        rows, batch.waiting = list(batch.waiting.values()), {}
        for row in rows:
            refunds = () if row.admission is None or not _is_refusal(error) else (row.admission,)
            self._over(row, evolve(RowOutcome.failed(row.task.number, error), refunds=refunds))

    def _over(self, row: _Row, outcome: RowOutcome) -> None:
        self._host.deliver(outcome)
        loop = row.done.get_loop()
        loop.call_soon_threadsafe(_set, row.done)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _slices(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for begin in range(0, len(items), _SLICE):
        yield items[begin : begin + _SLICE]


def _is_refusal(error: HokusaiError) -> bool:
    """Return whether the service has certainly not taken what it was asked for."""
    return isinstance(error, (LanguageModelRefused, LanguageModelUnavailable)) or not getattr(error, "retryable", False)


def _reason(data: Any) -> str:
    """Return why the service has refused a batch."""
    errors = data.get("errors") if isinstance(data, dict) else None
    listed = errors.get("data") if isinstance(errors, dict) else None
    texts = [str(one.get("message")) for one in listed or () if isinstance(one, dict) and one.get("message")]
    return "; ".join(texts[:3]) or "it does not say why"
