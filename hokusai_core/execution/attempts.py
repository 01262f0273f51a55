"""Attempts: call the language model until an answer fits the signature or no retry is allowed."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from hokusai_core.call_records import Meter, OutputsWithExtras
from hokusai_core.errors import DeadlineExceeded, ExecutionError, OutputError, RateLimitedError, WorkerLost
from hokusai_core.execution.budget import BudgetFull, naps
from hokusai_core.execution.call_limits import CallLimiter
from hokusai_core.execution.event_builders import withheld
from hokusai_core.loggers import AreaLogger
from hokusai_core.results import Attempt, ModelExchange, Problem
from hokusai_core.runtime.deadline import UNBOUNDED
from hokusai_core.runtime.drivers import Abandoned, Call, Operation, Pause, Standby

if TYPE_CHECKING:
    from hokusai_core.cassettes import Cassette
    from hokusai_core.execution.budget import Reservation
    from hokusai_core.execution.rate_limits import RateLimits
    from hokusai_core.execution.state import ExecutionState
    from hokusai_core.execution.validation import ValidationStage
    from hokusai_core.price_table import PriceTable
    from hokusai_core.runtime.worker_threads import WorkerThreads

__all__ = ["Attempts", "Steps", "does_not_fit", "too_late", "under_way"]

Steps = Generator[Operation, Any, dict[str, Any]]

_LOG: Final = AreaLogger("execution")
#: Seconds after which a row looks whether the rate limit has room by now.
_LONGEST_NAP = 1.0
#: Workers that may die with a row before it is given up: it may be what kills them.
_MOST_LOSSES = 3


class Attempts:
    """Makes the calls of one executor's executions.

    Args:
        validation: checks answers.
        threads: where calls run that a deadline bounds.
        limits: rate limits that calls keep to, or None.
        prices: prices that go before those of DSPy, or None.
        cassette: records the calls or answers them, or None.
    """

    def __init__(
        self,
        validation: ValidationStage,
        threads: WorkerThreads,
        limits: RateLimits | None,
        prices: PriceTable | None = None,
        cassette: Cassette | None = None,
    ) -> None:
        self._validation, self._threads, self._limits, self._prices = validation, threads, limits, prices
        self._cassette = cassette

    def call(self, state: ExecutionState, *, keep_exchanges: bool) -> Steps:
        """Call the language model until there is an answer that fits, or no reason to try again."""
        number = pushed_back = losses = 0
        before = state.attempts[-1].number if state.attempts else 0  # of other models
        held: Reservation | None = None
        full: BudgetFull | None = None
        while True:
            if full is not None:
                held = yield from _wait_for_room(state, full)
            number += 1
            began = time.monotonic()
            reserved, held, full = held, None, None
            try:
                outputs = yield from self._attempt(
                    state, number, before + number, reserved, keep_exchanges=keep_exchanges
                )
            except ExecutionError as error:
                if isinstance(error, BudgetFull) and state.permit is not None and not state.attempts[-1].usage.calls:
                    number, full = number - 1, error
                    state.drop_attempt()
                    continue
                losses += isinstance(error, WorkerLost)
                again = self._stand_by(state, error, began)
                if isinstance(error, WorkerLost) and losses < _MOST_LOSSES:
                    again = Pause(0.0, state.deadline)
                if again is not None:
                    pushed_back += 1  # the provider wants it later, or the worker died; that is no try of its own
                else:
                    wait = state.options.retry.wait(number - pushed_back, error)
                    if wait is None:
                        raise
                    again = Pause(wait, state.deadline)
                failure = error
                _LOG.info(
                    "%s is tried again after try %d: %s",
                    state.plan.name,
                    number,
                    type(error).__name__,
                    execution_id=state.execution_id,
                )
            else:
                if state.permit is not None:
                    state.permit.window.succeeded()
                return outputs
            try:
                yield again
            except Abandoned:
                failure.shared = False  # others may have more time
            else:
                continue
            raise failure  # the deadline leaves no room for another try: this is why it failed

    def _stand_by(self, state: ExecutionState, error: ExecutionError, began: float) -> Operation | None:
        """Return what a row of a batch waits for that a rate limit stopped; None for any other failure."""
        permit = state.permit
        if not isinstance(error, RateLimitedError):
            return None
        if self._limits is not None and error.retryable and error.retry_after is not None and state.plan.model:
            self._limits.block(state.plan.model.lm.model, error.retry_after)  # for all who use this model
        if permit is None or (state.choice is not None and state.can_move_on and state.choice.moves_on(error)):
            return None
        if error.retryable:
            return Standby(permit, permit.window.slow_down(error, began), state.deadline)
        if state.usage.calls or error.retry_after is None:
            return None
        # The executor's own limit let no call through so far: the time of this row begins when it does.
        state.drop_attempt()
        nap = min(error.retry_after, _LONGEST_NAP)
        state.start_clock(elapsed=-nap)
        return Pause(nap, UNBOUNDED)

    def _attempt(
        self, state: ExecutionState, try_: int, number: int, held: Reservation | None, *, keep_exchanges: bool
    ) -> Steps:
        plan, budget = state.plan, state.options.budget
        gate: CallLimiter | None = None
        meter = Meter(keep_exchanges)
        if budget is not None or self._limits is not None:
            # A row of a batch waits outside its own deadline.
            waits = not state.can_move_on and (state.permit is None or bool(state.usage.calls))
            aside = state.permit is not None
            reserved = [] if held is None else [held]
            gate = CallLimiter(state.deadline, budget, self._limits, waits, aside, held=reserved, open=[])
        since = time.perf_counter()
        call = state.calls.prepare(
            state.inputs,
            recorder=meter,
            gate=gate,
            prices=self._prices,
            cassette=self._cassette,
            config=plan.parameters,
            deadline=state.deadline.at,
            attempt=try_,
            listener=None if state.emitter is None else state.emitter.attempt(),
            at_once=state.permit is None,
        )
        outcome: Literal["ok", "failed", "cancelled", "abandoned"] = "failed"
        answered = False
        error: BaseException | None = None
        try:
            awaited = call.arun if call.asynchronous else None
            outputs = yield Call(call.run, awaited, state.deadline, self._threads, call.keeps_deadline, state.permit)
            now = state.stage("language_model", since)
            answered = True
            extras = outputs.extras if isinstance(outputs, OutputsWithExtras) else {}
            outputs, problems = self._validation.settle(plan, state.inputs, outputs)
            state.stage("validate_outputs", now)
            if state.deadline.passed:  # reading and checking an answer take time, too
                raise too_late(state, "its answer was not ready by then, and is not used")
            if problems:
                raise does_not_fit(plan.name, problems)
            outcome = "ok"
            state.extras = extras
            return outputs
        except Abandoned as abandoned:
            stopped = abandoned.stopped or call.stops
            outcome = "cancelled" if stopped else "abandoned"
            error = too_late(state, under_way(stopped=stopped))
            raise error from None
        except ExecutionError as failure:
            error = failure
            if isinstance(failure, WorkerLost):
                outcome = "abandoned"
            if answered or not isinstance(failure, DeadlineExceeded) or not state.deadline.passed:
                raise
            outcome, error = "cancelled", too_late(state, under_way(stopped=True))  # the call kept to it by itself
            raise error from failure.__cause__
        except BaseException as interruption:
            outcome, error = "failed" if isinstance(interruption, Exception) else "cancelled", interruption
            raise
        finally:
            if gate is not None:
                gate.close()
            if not answered:
                state.stage("language_model", since)
            if state.emitter is not None and error is not None:
                state.emitter.retract(str(error))
            attempt = Attempt(
                number=number,
                outcome=outcome,
                latency=time.perf_counter() - since,
                model=plan.model_name,
                usage=meter.usage,
                cost=meter.cost,
                error=None if error is None else f"{type(error).__name__}: {error}",
                finish_reason=meter.finish_reason,
                price_source=meter.price_source,
            )
            state.attempts += (attempt,)
            for exchange in meter.exchanges:
                kept = ModelExchange(
                    exchange.messages, exchange.completions, exchange.finish_reason, exchange.latency, number
                )
                state.exchanges += (withheld(kept) if plan.spec.sensitive else kept,)


def _wait_for_room(state: ExecutionState, error: BudgetFull) -> Generator[Operation, Any, Reservation | None]:
    """Wait until calls under way leave room for a row of a batch, and reserve it; that is no time of the row's own."""
    budget, reserved = state.options.budget, None
    for nap in naps():
        state.extend_clock(nap)
        yield Pause(nap, UNBOUNDED)
        reserved = None if budget is None else budget.try_reserve(error.estimate)
        if reserved is not None or budget is None:
            break
    return reserved


def does_not_fit(name: str, problems: Sequence[Problem]) -> OutputError:
    """Return the error for an answer with problems."""
    return OutputError(f"the answer does not fit {name}: " + "; ".join(map(str, problems)))


def under_way(*, stopped: bool) -> str:
    """Return what became of a call that the deadline has interrupted."""
    return "what was under way " + ("was cancelled" if stopped else "was abandoned and runs on in its thread")


def too_late(state: ExecutionState, outcome: str) -> DeadlineExceeded:
    """Return the error of an execution whose time is over.

    Args:
        state: the execution.
        outcome: what became of the call, as a clause.
    """
    timeout = state.deadline.timeout or 0.0
    seconds = round(timeout, 2) or timeout  # in a chain it is what was left of 0.6, which is 0.599706
    return DeadlineExceeded(
        f"{state.plan.name} took longer than its timeout of {seconds:g} s; {outcome}. "
        "Give it more time with timeout=..., or a faster model with lm=..."
    )
