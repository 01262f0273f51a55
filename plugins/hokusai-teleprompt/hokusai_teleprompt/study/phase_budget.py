"""PhaseBudget limits the language-model calls of a phase of a study; CallCounter counts what calls used.

StudyStop and StudyFailed end a study early. Neither is an ``Exception``, because optimizers of DSPy swallow those and
go on paying.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from attrs import field, frozen
from dspy.utils.exceptions import ContextWindowExceededError

from hokusai_core import Budget, Usage
from hokusai_core.errors import BudgetExceeded
from hokusai_core.plugin_api import CallEstimate, CallRecord, Reservation, translate_error

__all__ = ["CallCounter", "PhaseBudget", "PhaseLimits", "ResourceLimit", "Spent", "StudyFailed", "StudyStop"]


class StudyStop(BaseException):
    """No further call may be made: a budget is spent, or the phase is over.

    Args:
        reason: why, in words.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class StudyFailed(BaseException):
    """The study cannot go on: the metric raised, or the language model is dead.

    Args:
        problem: what failed, in words.
        cause: the first error, with its traceback.
    """

    def __init__(self, problem: str, cause: BaseException) -> None:
        super().__init__(problem)
        self.problem, self.cause = problem, cause


#: Failed calls, with none that succeeded, after which the language model counts as dead.
_DEAD_AFTER = 5
#: Failed calls in a row, at any time, after which it counts as dead.
_GONE_AFTER = 20
#: Calls from which the use of later ones is estimated, and the factor that allows for differences between them.
_SAMPLE, _MARGIN = 10, 1.25


@frozen
class Spent:
    """What calls have used.

    Args:
        calls: calls that were made, failed ones included.
        usage: their tokens.
        cost: US dollars, None where no price is known.
        replayed: calls that were answered from a checkpoint or an equal earlier call; not among ``calls``.
        failed: calls that failed.
    """

    calls: int = 0
    usage: Usage = field(factory=Usage)
    cost: float | None = None
    replayed: int = 0
    failed: int = 0


class CallCounter:
    """Counts the calls of a study; safe to use from many threads.

    Args:
        budget: what calls are reserved of, and settled with, or None.
        sensitive: whether prompts hold sensitive values, which errors of a provider may quote.

    Attributes:
        first_error: the first error of a call.
        since: when the study began, in seconds of ``time.monotonic``.
        on_call: called after each call.
    """

    keep_exchanges = False

    def __init__(self, budget: Budget | None, *, sensitive: bool = False) -> None:
        self.budget, self._sensitive = budget, sensitive
        self._lock = threading.Lock()
        self._calls = self._replayed = self._failed = self._in_a_row = 0
        self._usage = Usage()
        self._cost: float | None = None
        self._open = self._largest_tokens = 0
        self._largest_cost = 0.0
        #: Held while a call is admitted, so that calls of other threads are not admitted by the same figures.
        self.admission = threading.Lock()
        self.first_error: BaseException | None = None
        self.since = time.monotonic()
        self.on_call: Callable[[], None] = lambda: None

    def begin(self) -> None:
        """Count a call that is under way from now until its record."""
        with self._lock:
            self._open += 1

    def abandon(self) -> None:
        """Take back ``begin``, because the call is not made."""
        with self._lock:
            self._open = max(0, self._open - 1)

    def record(self, call: CallRecord) -> None:
        """Count one call."""
        with self._lock:
            self._open = max(0, self._open - 1)
            self._calls += max(1, call.usage.calls)
            self._usage += call.usage
            self._largest_tokens = max(self._largest_tokens, call.usage.total_tokens)
            if call.cost is not None:
                self._cost = (self._cost or 0.0) + call.cost
                self._largest_cost = max(self._largest_cost, call.cost)
            if call.outcome == "ok" or isinstance(call.error, ContextWindowExceededError):
                self._in_a_row = 0  # a prompt that is too long is the candidate's fault
            else:
                self._failed += 1
                self._in_a_row += 1
                if self.first_error is None and isinstance(call.error, Exception):
                    self.first_error = call.error
        self.on_call()

    def replay(self) -> None:
        """Count a call that did not have to be made."""
        with self._lock:
            self._replayed += 1

    @property
    def spent(self) -> Spent:
        """What was used so far."""
        with self._lock:
            return Spent(self._calls, self._usage, self._cost, self._replayed, self._failed)

    @property
    def expected(self) -> Spent:
        """What will be used when the calls that are under way have ended, if each is as large as the largest so far."""
        with self._lock:
            tokens = Usage(input_tokens=self._open * self._largest_tokens)
            cost = None if self._cost is None else self._cost + self._open * self._largest_cost
            return Spent(self._calls + self._open, self._usage + tokens, cost, self._replayed, self._failed)

    @property
    def seconds(self) -> float:
        """Seconds since the study began."""
        return time.monotonic() - self.since

    def check_alive(self) -> None:
        """Raise where the language model only fails.

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
    """A limit on tokens, cost or time, of which a phase keeps a part for the phases after it.

    Args:
        total: what may be used in all.
        begun: what was used when the phase began.
        kept: the least that is kept.
        most: the largest share of what was left when the phase began that is kept.
    """

    total: float
    begun: float
    kept: float
    most: float = 0.5

    def reached(self, used: float, calls: int, later: int) -> bool:
        """Return whether the phase has to end.

        Args:
            used: what is used by now.
            calls: calls of the phase so far, from which the use of one call is estimated.
            later: calls that have to be made after the phase.
        """
        left = self.total - self.begun
        kept = max(self.kept, left / 10) if later else self.kept
        if calls >= _SAMPLE:
            kept = max(kept, _MARGIN * later * (used - self.begun) / calls)
        return used >= self.total - min(kept, left * self.most)


@frozen
class PhaseLimits:
    """How much of a budget a phase may use; None for no limit.

    Args:
        calls: calls of the whole study after which the phase ends.
        tokens: tokens of the whole study.
        cost: US dollars of the whole study.
        seconds: seconds since the beginning of the study.
        begun: calls that were made when the phase began.
        later: calls that have to be made after the phase; 0 for the last phase.
    """

    calls: int | None = None
    tokens: ResourceLimit | None = None
    cost: ResourceLimit | None = None
    seconds: ResourceLimit | None = None
    begun: int = 0
    later: int = 0

    def reached(self, spent: Spent, seconds: float) -> str | None:
        """Return which limit is reached, in words; None for none."""
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
        return f"{used}, the rest is kept for the comparison" if self.later else f"the budget is spent: {used}"

    def seconds_left(self, seconds: float) -> float:
        """Return how many seconds are left after ``seconds`` of the study, as far as a ceiling on time says."""
        return math.inf if self.seconds is None else self.seconds.total - seconds


class PhaseBudget:
    """Refuses the calls of a phase when its limits or the budget are reached, or when it was closed.

    Threads that an optimizer leaves behind find it closed and pay for nothing more.

    Args:
        counter: counts the calls of the study.
        limits: how much the phase may use.

    Attributes:
        reason: why calls are refused, None while they are not.
    """

    def __init__(self, counter: CallCounter, limits: PhaseLimits | None = None) -> None:
        self._counter, self._limits = counter, limits or PhaseLimits()
        self.reason: str | None = None

    def close(self, reason: str) -> None:
        """Refuse every further call."""
        self.reason = self.reason or reason

    def before(self, estimate: CallEstimate) -> Reservation | None:
        """Return what is reserved of the budget once a call may be made.

        Raises:
            StudyStop: it may not.
            StudyFailed: the language model is dead.
        """
        self._admit()
        budget = self._counter.budget
        with self._refusals(begun=True):
            return None if budget is None else budget.reserve(estimate)

    async def abefore(self, estimate: CallEstimate) -> Reservation | None:
        """Async version of ``before``."""
        self._admit()
        budget = self._counter.budget
        with self._refusals(begun=True):
            return None if budget is None else await budget.areserve(estimate)

    def reserve(self, estimate: CallEstimate) -> Reservation | None:
        """Do the same as ``before``; on an event loop, without waiting for calls under way.

        Raises:
            StudyStop: as for ``before``.
        """
        with self._counter.admission:
            self._check()
        budget = self._counter.budget
        with self._refusals():
            return None if budget is None else budget.reserve_in_callback(estimate)

    def charge(self, call: CallRecord) -> None:
        """Charge a call that was made without asking."""
        if self._counter.budget is not None:
            self._counter.budget.charge(call.usage, call.cost, call.model)

    def wait(self, seconds: float) -> None:
        """Sleep, unless the budget would be spent before the end of it.

        Raises:
            StudyStop: it would.
        """
        if seconds >= self._limits.seconds_left(self._counter.seconds):
            self.close(f"the language model asked to wait for {seconds:.0f} s, which is longer than the budget lasts")
            raise StudyStop(self.reason or "")
        time.sleep(seconds)

    def _admit(self) -> None:
        """Count a call as under way, if the limits of the phase allow for it."""
        with self._counter.admission:
            self._check()
            self._counter.begin()

    def _check(self) -> None:
        self._counter.check_alive()
        if self.reason is None:
            self.reason = self._limits.reached(self._counter.expected, self._counter.seconds)
        if self.reason is not None:
            raise StudyStop(self.reason)

    @contextmanager
    def _refusals(self, *, begun: bool = False) -> Iterator[None]:
        """End the phase where the budget refuses a call, and take back that the call has begun."""
        try:
            yield
        except BaseException as error:
            if begun:
                self._counter.abandon()
            if not isinstance(error, BudgetExceeded):
                raise
            self.reason = self.reason or str(error)
            raise StudyStop(self.reason) from None
