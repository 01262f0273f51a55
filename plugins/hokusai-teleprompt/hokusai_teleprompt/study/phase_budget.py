"""The ledger of a study: every call that was made, what it cost, and whether another one may be made."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from attrs import field, frozen
from dspy.utils.exceptions import ContextWindowExceededError

from hokusai_core import Budget
from hokusai_core.errors import BudgetExceeded
from hokusai_core.plugin_api import CallEstimate, CallRecord, Usage, translate_error
from hokusai_teleprompt.study.stop_signals import StudyFailed, StudyStop

__all__ = ["CallCounter", "PhaseBudget", "PhaseLimits", "Spent"]

#: So many failed calls and none that succeeded: the language model is dead, not merely unlucky.
_DEAD_AFTER = 5
#: So many failed calls in a row, at any time.
_GONE_AFTER = 20
#: So many calls say what one takes, and by how much the later ones may differ.
_TELLING, _MARGIN = 10, 1.25


@frozen
class Spent:
    """What calls have used.

    Args:
        calls: calls that were made, failed ones included.
        usage: their tokens.
        cost: US dollars, None where no price is known.
        replayed: calls that a checkpoint or an equal earlier call answered; they are not among ``calls``.
        failed: calls that failed.
    """

    calls: int = 0
    usage: Usage = field(factory=Usage)
    cost: float | None = None
    replayed: int = 0
    failed: int = 0


class CallCounter:
    """Counts calls. As a recorder it is told of each, by any thread.

    Args:
        budget: what the calls are charged to, or None.
        sensitive: whether prompts hold sensitive values, which errors of a provider may quote.
    """

    keep_exchanges = False

    def __init__(self, budget: Budget | None, *, sensitive: bool = False) -> None:
        self.budget, self._sensitive = budget, sensitive
        self._lock = threading.Lock()
        self._calls = self._replayed = self._failed = self._in_a_row = 0
        self._usage = Usage()
        self._cost: float | None = None
        self.first_error: BaseException | None = None
        self.since = time.monotonic()
        #: Called after each call.
        self.on_call: Callable[[], None] = lambda: None

    def record(self, call: CallRecord) -> None:
        """Accept the record of one call."""
        with self._lock:
            self._calls += max(1, call.usage.calls)
            self._usage += call.usage
            if call.cost is not None:
                self._cost = (self._cost or 0.0) + call.cost
            if call.outcome == "ok" or isinstance(call.error, ContextWindowExceededError):
                self._in_a_row = 0  # a prompt that is too long is the candidate's fault
            else:
                self._failed += 1
                self._in_a_row += 1
                if self.first_error is None and isinstance(call.error, Exception):
                    self.first_error = call.error
        if self.budget is not None:
            self.budget.charge(call.usage, call.cost)
        self.on_call()

    def replay(self) -> None:
        """Count a call that need not be made."""
        with self._lock:
            self._replayed += 1

    @property
    def spent(self) -> Spent:
        """What was used so far."""
        with self._lock:
            return Spent(self._calls, self._usage, self._cost, self._replayed, self._failed)

    def check_alive(self) -> None:
        """Raise where the language model does nothing but fail.

        Raises:
            StudyFailed: with its first error.
        """
        with self._lock:
            dead = self._failed >= _DEAD_AFTER and self._failed == self._calls
            gone = self._in_a_row >= _GONE_AFTER
            cause, failed = self.first_error, self._failed
        if (dead or gone) and cause is not None:
            first = translate_error(cause, sensitive=self._sensitive)
            how = f"failed {failed} times and never answered" if dead else f"failed {_GONE_AFTER} times in a row"
            raise StudyFailed(f"the language model {how}; the first error: {first}", first)


@frozen
class ResourceLimit:
    """A ceiling on tokens, cost or time, of which a phase leaves something for what comes after it.

    Args:
        total: what may be used in all.
        begun: what was used when the phase began.
        kept: what is kept of it at least; half of what there was when the phase began at most.
    """

    total: float
    begun: float
    kept: float

    def reached(self, used: float, calls: int, later: int) -> bool:
        """Return whether the phase has to end.

        Args:
            used: what is used by now.
            calls: calls of the phase so far, by which its prompts are known.
            later: calls that have to be made after it.
        """
        room = self.total - self.begun
        kept = max(self.kept, room / 10)
        if calls >= _TELLING:
            kept = max(kept, _MARGIN * later * (used - self.begun) / calls)
        return used >= self.total - min(kept, room / 2)


@frozen
class PhaseLimits:
    """How much of a budget a phase of the study may use, None for as much as there is.

    Args:
        calls: calls of the whole study after which the phase ends.
        tokens: tokens of the whole study.
        cost: US dollars of the whole study.
        seconds: seconds since the beginning of the study.
        begun: calls that were made when the phase began.
        later: calls that have to be made after it.
    """

    calls: int | None = None
    tokens: ResourceLimit | None = None
    cost: ResourceLimit | None = None
    seconds: ResourceLimit | None = None
    begun: int = 0
    later: int = 0

    def spent(self, spent: Spent, seconds: float) -> str | None:
        """Return in words what is used up, None where there is room."""
        calls, cost = spent.calls - self.begun, spent.cost or 0.0
        if self.calls is not None and spent.calls >= self.calls:
            used = f"{spent.calls} calls are made"
        elif self.tokens is not None and self.tokens.reached(spent.usage.total_tokens, calls, self.later):
            used = f"{spent.usage.total_tokens} tokens are used"
        elif self.cost is not None and self.cost.reached(cost, calls, self.later):
            used = f"${cost:.4f} is spent"
        elif self.seconds is not None and self.seconds.reached(seconds, calls, self.later):
            used = f"{seconds:.0f} seconds have passed"
        else:
            return None
        return f"{used}, the rest is kept for the comparison"


class PhaseBudget:
    """Lets the calls of one phase through, until its allowance or the budget is used up or it is closed.

    Threads that an optimizer has left behind find it closed, and pay nothing any more.

    Args:
        ledger: the ledger of the study.
        allowance: how much the phase may use.
    """

    def __init__(self, ledger: CallCounter, allowance: PhaseLimits | None = None) -> None:
        self._ledger, self._allowance = ledger, allowance or PhaseLimits()
        self.reason: str | None = None

    def close(self, reason: str) -> None:
        """Let nothing through any more."""
        self.reason = self.reason or reason

    def before(self, estimate: CallEstimate) -> None:
        """Return where the call may be made.

        Raises:
            StudyStop: it may not.
            StudyFailed: there is no use in it.
        """
        self._ledger.check_alive()
        if self.reason is None:
            self.reason = self._allowance.spent(self._ledger.spent, time.monotonic() - self._ledger.since)
        if self.reason is None and self._ledger.budget is not None:
            try:
                self._ledger.budget.reserve()
            except BudgetExceeded as error:
                self.reason = str(error)
        if self.reason is not None:
            raise StudyStop(self.reason)

    async def abefore(self, estimate: CallEstimate) -> None:
        """Do as ``before``; there is nothing to wait for."""
        self.before(estimate)
