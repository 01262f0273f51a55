"""The gate before every call of a language model: it checks budgets and rate limits."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from hokusai_core.call_records import CallEstimate, CallRecord
from hokusai_core.errors import DeadlineExceeded, RateLimitedError
from hokusai_core.execution.budget import BudgetFull, naps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hokusai_core.execution.budget import Budget, Reservation
    from hokusai_core.execution.rate_limits import RateLimits
    from hokusai_core.runtime.deadline import Deadline

__all__ = ["CallLimiter"]

#: Seconds after which a call that waits looks whether there is room by now.
_LONGEST_NAP = 1.0


@frozen(eq=False)
class AdmittedCall:
    """What a call has taken out of a budget and of rate limits.

    Args:
        model: name of the model.
        reservation: what is reserved of the budget, or None.
        limits: rate limits that the call counts towards, or None.
    """

    model: str
    reservation: Reservation | None = None
    limits: RateLimits | None = None

    @property
    def cost(self) -> int:
        """Picodollars that are reserved."""
        return 0 if self.reservation is None else self.reservation.cost

    def settle(self, call: CallRecord) -> None:
        """Charge what the call has used."""
        if self.reservation is not None:
            self.reservation.settle(call)
        if self.limits is not None:
            self.limits.used(self.model, call.usage.total_tokens)

    def refund(self) -> None:
        """Give everything back, as no call was made."""
        if self.reservation is not None:
            self.reservation.refund()
        if self.limits is not None:
            self.limits.used(self.model, 0.0)


@define(eq=False)
class CallLimiter:
    """Lets one execution's calls through, once the budget has room and the rate limits allow it.

    Args:
        deadline: of the execution: waiting beyond it would be in vain.
        budget: what calls are taken out of, or None.
        limits: rate limits of the executor, or None.
        waits: whether a call for which rate limits have no room yet waits here; else it is refused at once, if it is
            the first one. Those after it always wait here, since the first one is paid.
        steps_aside: whether the first call for which the budget has no room yet is refused at once, since its caller
            waits.
        held: what is reserved for the first call already, one thing or nothing.
        open: takes every call that was let through, so that ``close`` finds those that were given up; None for none.
    """

    deadline: Deadline
    budget: Budget | None = None
    limits: RateLimits | None = None
    waits: bool = True
    steps_aside: bool = False
    held: list[Reservation] = field(factory=list)
    open: list[AdmittedCall] | None = None
    _admitted: bool = field(default=False, init=False)

    def before(self, estimate: CallEstimate) -> AdmittedCall:
        """Return once the call may be made.

        Raises:
            BudgetExceeded: the budget is spent.
            RateLimitedError: the rate limits would let the call through only after the deadline.
            DeadlineExceeded: the deadline passed while calls under way had reserved what is left of the budget.
        """
        waits = naps()
        while not isinstance(found := self._admit(estimate, waits), AdmittedCall):
            time.sleep(min(found, _LONGEST_NAP))
        return found

    async def abefore(self, estimate: CallEstimate) -> AdmittedCall:
        """Async version of ``before``."""
        waits = naps()
        # Asked again and again: what gives room is other threads and other processes, for which there is no event.
        while True:
            found = self._admit(estimate, waits)
            if isinstance(found, AdmittedCall):
                return found
            await asyncio.sleep(min(found, _LONGEST_NAP))

    def reserve(self, estimate: CallEstimate) -> AdmittedCall:
        """Return once a call may be made that no rate limit of the executor concerns.

        On an event loop it cannot wait for calls under way that have reserved what is left of the budget.

        Raises:
            BudgetExceeded: the budget is spent, or calls under way have reserved what is left of it.
        """
        reservation = self._held(estimate)
        if reservation is None and self.budget is not None:
            reservation = self.budget.reserve_in_callback(estimate, timeout=self.deadline.remaining())
        return self._through(AdmittedCall(estimate.model, reservation))

    def close(self) -> None:
        """Give back what was reserved for a call that was not made, and charge those that were given up.

        What a call has cost that is given up is not known until it ends, if it ever does.
        """
        while self.held:
            self.held.pop().refund()
        for call in self.open or ():
            if call.reservation is not None:
                call.reservation.presume()

    def charge(self, call: CallRecord) -> None:
        """Charge a call that was made without asking."""
        if self.budget is not None:
            self.budget.charge(call.usage, call.cost, call.model)

    def _admit(self, estimate: CallEstimate, waits: Iterator[float]) -> AdmittedCall | float:
        """Take the call out of budget and limits, or return the seconds to wait before asking again."""
        reservation = None
        if self.budget is not None:
            reservation = self._reserve(estimate)
            if reservation is None:
                return self._nap(estimate, next(waits))
        try:
            wait = self._wait_for_limits(estimate)
        except BaseException:
            if reservation is not None:
                reservation.refund()
            raise
        if wait > 0:
            if reservation is not None:
                reservation.refund()
            return wait
        return self._through(AdmittedCall(estimate.model, reservation, self.limits))

    def _through(self, call: AdmittedCall) -> AdmittedCall:
        self._admitted = True
        if self.open is not None:
            self.open.append(call)
        return call

    def _reserve(self, estimate: CallEstimate) -> Reservation | None:
        """Take the call out of the budget; None where calls under way have reserved what is left of it."""
        if self.budget is None:
            return None
        reservation = self._held(estimate) or self.budget.try_reserve(estimate)
        if reservation is None and self.steps_aside and not self._admitted:
            raise BudgetFull(estimate)
        return reservation

    def _held(self, estimate: CallEstimate) -> Reservation | None:
        """Return what is reserved for the call already; None if that is nothing, or not enough."""
        try:
            held = self.held.pop()  # in one step, as a program may make calls on several threads
        except IndexError:
            return None
        if held.covers(estimate):
            return held
        held.refund()
        return None

    def _nap(self, estimate: CallEstimate, seconds: float) -> float:
        """Return the seconds to wait for calls under way; raise if the deadline passes meanwhile."""
        remaining = self.deadline.remaining()
        if remaining is not None and remaining <= seconds:
            raise DeadlineExceeded(
                f"the timeout passed before {estimate.model} could be called: calls under way have reserved what is "
                "left of the budget. Allow more time with timeout=..., run fewer at once, or raise the budget"
            )
        return seconds

    def _wait_for_limits(self, estimate: CallEstimate) -> float:
        """Take the call out of the rate limits and return 0, or return the seconds to wait before asking again."""
        if self.limits is None:
            return 0.0
        wait = self.limits.admit(estimate.model, estimate.input_tokens + (estimate.max_tokens or 0))
        if wait > 0:
            remaining = self.deadline.remaining()
            if not (self.waits or self._admitted) or (remaining is not None and wait >= remaining):
                refusal = RateLimitedError(
                    f"{estimate.model}: the executor's rate limit has no room for {wait:.1f} s, which is past the "
                    "deadline; raise requests_per_minute or tokens_per_minute, or give it more time",
                    retryable=False,
                    retry_after=wait,
                )
                refusal.shared = False  # others may have more time
                raise refusal
        return wait
