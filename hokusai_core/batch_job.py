"""The batch job: what a backend is given to run rows elsewhere, and what it gives back. All of it is plain data.

A ``BatchJob`` and its ``RowTask`` and ``RowOutcome`` objects hold no live object: they can be pickled, and sent to
another machine. A worker there makes a ``JobWorker`` of the job, which answers tasks with outcomes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, Self

import orjson
from attrs import asdict, field, fields, frozen

from hokusai_core import errors
from hokusai_core.call_records import CallEstimate, CallRecord, CostBound
from hokusai_core.errors import ConfigurationError, ExecutionError, HokusaiError
from hokusai_core.json_encoding import jsonable
from hokusai_core.results import Usage, known_cost

__all__ = ["BatchJob", "CallOffer", "JobNotes", "RowError", "RowHost", "RowOutcome", "RowTask"]


@frozen(kw_only=True)
class BatchJob:
    """A batch as data: everything that a worker needs to answer its rows.

    Args:
        job_id: id of the batch; the ``parent_id`` of its executions.
        name: qualified name of the signature.
        signature: the signature, as ``SignatureSpec.to_dict`` writes it.
        fingerprint: fingerprint of the signature; a worker that makes another one of ``signature`` refuses the job.
        lm: name of the language model, a policy as ``{"models": [...], "move_on": [...], ...}``, or None for the
            embedded model.
        models: tables of models by name, as the setting ``models`` takes them. They name the environment variables of
            credentials, and never hold one.
        strategy: strategy of the batch, as a mapping of ``name`` and ``options``; None for the one that the signature
            declares.
        parameters: parameters of the language model that the batch gives.
        settings: settings of the executor that decide about answers and costs.
        timeout: seconds of each row, retries included; None for no bound.
        deadline: when the budget's time is over, as ``time.time()`` tells it; None for no bound.
        budget: what is left of the budget: ``calls``, ``tokens``, ``cost`` and ``seconds``, each None for no bound.
            None without a budget. It is there to plan with: each call is admitted by ``RowHost.admit``.
        metered: whether each call must be admitted by ``RowHost.admit``, because there is a budget or a rate limit.
        keep_exchanges: whether prompts and raw answers are wanted.
        plugins: distribution -> version of the plugins that are loaded where the batch began.
    """

    job_id: str
    name: str
    signature: Mapping[str, Any]
    fingerprint: str
    lm: Any = None
    models: Mapping[str, Any] = field(factory=dict)
    strategy: Mapping[str, Any] | None = None
    parameters: Mapping[str, Any] = field(factory=dict)
    settings: Mapping[str, Any] = field(factory=dict)
    timeout: float | None = None
    deadline: float | None = None
    budget: Mapping[str, Any] | None = None
    metered: bool = False
    keep_exchanges: bool = False
    plugins: Mapping[str, str] = field(factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the job as JSON-able data."""
        plain: dict[str, Any] = jsonable(asdict(self, recurse=False))
        return plain

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the job that ``to_dict`` wrote.

        Raises:
            ConfigurationError: it is not such a job; names what is wrong.
        """
        known = {item.name for item in fields(cls)}
        unknown = sorted(map(str, data.keys() - known))
        missing = sorted({"job_id", "name", "signature", "fingerprint"} - data.keys())
        if unknown or missing:
            wrong = f"unknown: {', '.join(unknown)}" if unknown else f"missing: {', '.join(missing)}"
            raise ConfigurationError(f"this is not a batch job that this version of Hokusai can run ({wrong})")
        return cls(**data)


@frozen(kw_only=True)
class RowTask:
    """One attempt to answer a row.

    Args:
        number: number of the task, unique within the batch. A row that is tried again is a new task.
        inputs: bound inputs as JSON-able data.
        key: what the journal finds the row by; None without a journal.
        model: place of the model in the policy; 0 without a policy.
        attempt: number of the try, from 1.
        timeout: seconds that are left; None for no bound.
    """

    number: int
    inputs: Mapping[str, Any]
    key: str | None = None
    model: int = 0
    attempt: int = 1
    timeout: float | None = None


@frozen
class RowError:
    """An error as data.

    Args:
        kind: name of a class of ``hokusai_core.errors``.
        message: what failed and what to do next.
        retryable: whether trying the same again can help.
        retry_after: seconds that the provider asked to wait.
    """

    kind: str
    message: str
    retryable: bool = False
    retry_after: float | None = None

    @classmethod
    def of(cls, error: BaseException) -> RowError:
        """Return an error as data. One that is no error of an execution becomes an ``ExecutionError``."""
        if isinstance(error, ExecutionError):
            return cls(type(error).__name__, str(error), error.retryable, error.retry_after)
        if isinstance(error, HokusaiError):
            return cls(type(error).__name__, str(error))
        return cls("ExecutionError", f"{type(error).__name__}: {error}")

    def to_error(self) -> HokusaiError:
        """Return the error as an exception."""
        kind = getattr(errors, self.kind, None) if self.kind in errors.__all__ else None
        if not isinstance(kind, type) or not issubclass(kind, HokusaiError):
            return ExecutionError(f"{self.kind}: {self.message}", retryable=self.retryable)
        if issubclass(kind, ExecutionError):
            return kind(self.message, retryable=self.retryable, retry_after=self.retry_after)
        return kind(self.message)


@frozen(kw_only=True)
class RowOutcome:
    """What became of a task. Use ``answered``, ``failed``, ``lost`` or ``returned`` to make one.

    Args:
        number: number of the task.
        status: ``answered``; ``failed``; ``lost`` where the worker died, and what it had paid for is not known;
            ``returned`` where the task was not worked on, and the executor of the batch answers it itself.
        outputs: outputs as JSON text; None unless answered.
        extras: what a strategy gave beside the outputs.
        calls: every call of a language model.
        admissions: for each of ``calls``, the number that ``RowHost.admit`` returned for it; None for a call that was
            made without asking. Shorter than ``calls`` where nothing was asked.
        refunds: numbers of admissions for which no call was made.
        error: what it failed with, or why it was lost or returned.
        model: name of the model that was asked.
    """

    number: int
    status: Literal["answered", "failed", "lost", "returned"]
    outputs: bytes | None = None
    extras: Mapping[str, Any] = field(factory=dict)
    calls: tuple[CallRecord, ...] = ()
    admissions: tuple[int | None, ...] = ()
    refunds: tuple[int, ...] = ()
    error: RowError | None = None
    model: str = ""

    @classmethod
    def answered(
        cls,
        number: int,
        outputs: Mapping[str, Any],
        *,
        model: str = "",
        usage: Usage | None = None,
        cost: float | None = None,
        latency: float = 0.0,
        admission: int | None = None,
    ) -> RowOutcome:
        """Return the outcome of a task that one call has answered.

        Args:
            number: number of the task.
            outputs: output field -> JSON-able value.
            model: name of the model.
            usage: its tokens; None for a call whose tokens are not known.
            cost: US dollars, None where no price is known.
            latency: seconds of the call.
            admission: what ``RowHost.admit`` returned.
        """
        bill: Literal["known", "unknown"] = "unknown" if usage is None else "known"
        call = CallRecord(model, "ok", latency, usage or Usage(calls=1), cost, bill=bill)
        return cls(
            number=number,
            status="answered",
            outputs=orjson.dumps(jsonable(dict(outputs))),
            calls=(call,),
            admissions=() if admission is None else (admission,),
            model=model,
        )

    @classmethod
    def failed(cls, number: int, error: BaseException, *, calls: Sequence[CallRecord] = ()) -> RowOutcome:
        """Return the outcome of a task that failed."""
        return cls(number=number, status="failed", error=RowError.of(error), calls=tuple(calls))

    @classmethod
    def lost(cls, number: int, why: str) -> RowOutcome:
        """Return the outcome of a task whose worker died. The row is tried again, and the loss is one of its attempts.

        Args:
            number: number of the task.
            why: what is known, as a clause.
        """
        return cls(number=number, status="lost", error=RowError("WorkerLost", why))

    @classmethod
    def returned(cls, number: int, why: str, *, refunds: Sequence[int] = ()) -> RowOutcome:
        """Return the outcome of a task that is to be answered by the executor of the batch itself.

        Args:
            number: number of the task.
            why: the reason, as a clause.
            refunds: what ``RowHost.admit`` returned for calls that were not made.
        """
        return cls(number=number, status="returned", error=RowError("ExecutionError", why), refunds=tuple(refunds))

    @property
    def usage(self) -> Usage:
        """Tokens of all calls."""
        return sum((call.usage for call in self.calls), Usage())

    @property
    def cost(self) -> float | None:
        """Estimated US dollars of all calls, None where no price is known."""
        return known_cost(call.cost for call in self.calls)


@frozen
class CallOffer:
    """What is known of a call before it is made, as data.

    Args:
        model: name of the model.
        input_tokens: rough size of the prompt.
        max_tokens: most tokens that the answer may have, None where the model's own limit holds.
        calls: answers that are asked for at once.
        bound: the most that the call may cost.
    """

    model: str
    input_tokens: int
    max_tokens: int | None = None
    calls: int = 1
    bound: CostBound = field(factory=CostBound)

    @classmethod
    def of(cls, estimate: CallEstimate) -> CallOffer:
        """Return an estimate as data."""
        return cls(estimate.model, estimate.input_tokens, estimate.max_tokens, estimate.calls, estimate.cost_bound())

    def to_estimate(self) -> CallEstimate:
        """Return the estimate that a budget asks for."""
        return CallEstimate(self.model, self.input_tokens, self.max_tokens, lambda: self.bound, self.calls)


class JobNotes(Protocol):
    """Notes of a session that survive the process: lines in the journal of the batch."""

    def read(self) -> Sequence[Mapping[str, Any]]:
        """Return the notes of earlier runs and of this one, the oldest first."""
        ...

    def write(self, note: Mapping[str, Any]) -> None:
        """Write a JSON-able note; it is on the disk when this returns.

        Raises:
            JournalError: it cannot be written.
        """
        ...


class RowHost(Protocol):
    """What a session may ask of the executor that runs the batch.

    Attributes:
        notes: notes in the journal; None where the batch has no journal.
    """

    notes: JobNotes | None

    def deliver(self, outcome: RowOutcome) -> None:
        """Hand out the outcome of a task, from any thread. A second one for the same task is ignored."""
        ...

    async def admit(self, number: int, offer: CallOffer, *, rated: bool = True) -> int | None:
        """Wait until the budget and the rate limits have room for a call of a task.

        It runs on the event loop of the batch.

        Args:
            number: number of the task.
            offer: what is known of the call.
            rated: whether the executor's rate limits concern the call; those of a batch service are its own.

        Returns:
            A number that goes into the outcome of the task; None where the call must not be made. Then the task is
            over: give it up, and deliver ``RowOutcome.failed`` with any error.
        """
        ...
