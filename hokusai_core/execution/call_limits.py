"""The gate before every call of a language model: it checks budgets and rate limits."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from attrs import define, field

from hokusai_core.call_records import CallEstimate, CallRecord, Meter
from hokusai_core.errors import BudgetExceeded, RateLimitedError

if TYPE_CHECKING:
    from hokusai_core.execution.budget import Budget
    from hokusai_core.execution.rate_limits import RateLimits
    from hokusai_core.runtime.deadline import Deadline

__all__ = ["CallLimiter", "ChargingMeter"]

#: Seconds after which a call that waits looks whether there is room by now.
_LONGEST_NAP = 1.0


@define(eq=False)
class ChargingMeter(Meter):
    """A meter that charges what calls use to a budget and counts it towards rate limits.

    Args:
        budget: what is charged, or None.
        limits: rate limits of the executor, or None.
    """

    budget: Budget | None = None
    limits: RateLimits | None = None

    def record(self, call: CallRecord) -> None:
        """Keep the record and charge it."""
        self.calls.append(call)
        if self.budget is not None:
            self.budget.charge(call.usage, call.cost, call.model)
        if self.limits is not None:
            self.limits.used(call.model, call.usage.total_tokens)


@define(eq=False)
class CallLimiter:
    """Lets one execution's calls through, once the budget has room and the rate limits allow it.

    Args:
        deadline: of the execution: waiting for a rate limit beyond it would be in vain.
        budget: what calls are taken out of, or None.
        limits: rate limits of the executor, or None.
        waits: whether a call for which there is no room yet waits here; else it is refused at once, if it is the first
            one. Those after it always wait here, since the first one is paid.
    """

    deadline: Deadline
    budget: Budget | None = None
    limits: RateLimits | None = None
    waits: bool = True
    _admitted: bool = field(default=False, init=False)

    def before(self, estimate: CallEstimate) -> None:
        """Return once the call may be made.

        Raises:
            BudgetExceeded: the budget is spent.
            RateLimitedError: the rate limits would let the call through only after the deadline.
        """
        while (wait := self._admit(estimate)) > 0:
            time.sleep(min(wait, _LONGEST_NAP))

    async def abefore(self, estimate: CallEstimate) -> None:
        """Async version of ``before``."""
        while (wait := self._admit(estimate)) > 0:  # noqa: ASYNC110  # room comes with time, not by an event
            await asyncio.sleep(min(wait, _LONGEST_NAP))

    def reserve(self, estimate: CallEstimate) -> None:
        """Take a call out of the budget that no rate limit of the executor concerns.

        Raises:
            BudgetExceeded: the budget is spent.
        """
        if self.budget is not None:
            self.budget.reserve(estimate)

    def _admit(self, estimate: CallEstimate) -> float:
        """Take the call out of budget and limits and return 0, or return the seconds to wait before asking again."""
        if self.limits is not None:
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
        try:
            self.reserve(estimate)
        except BudgetExceeded:
            if self.limits is not None:
                self.limits.used(estimate.model, 0.0)
            raise
        self._admitted = True
        return 0.0
