"""Budget: a ceiling on calls, tokens and cost, including retries, judges and optimizers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from hokusai_core.errors import BudgetExceeded, ConfigurationError
from hokusai_core.execution.account import Account, Ceilings
from hokusai_core.execution.budget_ledger import BudgetFileError, BudgetLedger, MemoryLedger
from hokusai_core.loggers import AreaLogger
from hokusai_core.money import dollars, picodollars, shown_dollars
from hokusai_core.process import fork_callbacks
from hokusai_core.results import Usage

if TYPE_CHECKING:
    from hokusai_core.call_records import CallEstimate, CallRecord

__all__ = ["Budget", "BudgetFull", "Reservation", "naps"]

_LOG: Final = AreaLogger("execution")
#: Seconds of the first and the longest wait before a call asks again for room.
_FIRST_NAP, _LONGEST_NAP = 0.002, 0.1
#: Seconds for which an account is not read again that had no room.
_FULL_FOR: Final = 0.02
#: Seconds between looks for processes that have died.
_BURY_EVERY: Final = 0.5

_FULL: Final = "calls under way have reserved what is left of the budget; run fewer at once, or raise it"


class BudgetFull(BudgetExceeded):
    """There is no room until calls under way are over; a row of a batch waits for it and does not fail.

    Args:
        estimate: what is known of the call.
    """

    def __init__(self, estimate: CallEstimate) -> None:
        super().__init__(_FULL)
        self.estimate = estimate


class Budget:
    """A ceiling on calls, tokens, cost and time.

    Calls and cost are reserved before a call and settled after it, so neither is ever exceeded, however many calls run
    at once. What is reserved is the most that the call may cost: a token for each byte of the prompt, unless the model
    counts its tokens itself, and ``max_tokens`` of the answer, which must be given. Where calls under way have reserved
    all that is left, others wait until these are over. A call whose bill is not known, because it was cancelled or the
    connection broke, counts as the most that it may have cost. Tokens are known only afterwards: a call that is under
    way when they run out is still made.

    Give one budget to several executions, batches or optimizations to bound them together. Processes share a budget
    through a file. What a process had reserved that has died counts as spent; ``hokusai budget release`` gives it back.

    Args:
        calls: language-model calls.
        tokens: tokens of prompts and answers together.
        cost: US dollars.
        seconds: seconds from the first call.
        unpriced: what a ceiling on cost does with calls whose price is not known: ``"refuse"`` makes no such call,
            ``"allow"`` makes it and counts it as free. The embedded model and answers from a cache cost nothing.
        file: path of a file with what was spent, which all budgets with this file share; made where it is missing.
            None for a budget of this process alone. The ceilings are each budget's own.

    Raises:
        ConfigurationError: a ceiling that is not above zero, another word for ``unpriced``, or a file that cannot be
            used.

    Example:
        >>> budget = Budget(calls=1)
        >>> budget.reserve().charge(Usage(10, 5, 1), 0.001)
        >>> budget.spent.total_tokens, budget.reason()
        (15, 'all 1 calls are made')
    """

    def __init__(
        self,
        *,
        calls: int | None = None,
        tokens: int | None = None,
        cost: float | Decimal | None = None,
        seconds: float | None = None,
        unpriced: Literal["refuse", "allow"] = "refuse",
        file: str | os.PathLike[str] | None = None,
    ) -> None:
        if unpriced not in ("refuse", "allow"):
            raise ConfigurationError(f"Budget(unpriced={unpriced!r}): expected 'refuse' or 'allow'")
        for name, value in {"calls": calls, "tokens": tokens, "cost": cost, "seconds": seconds}.items():
            number = isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)
            if value is not None and not (number and value > 0):
                raise ConfigurationError(f"Budget({name}={value!r}): expected a number above zero, or None")
        self.calls, self.tokens, self.seconds = calls, tokens, seconds
        self.cost = None if cost is None else float(cost)
        self.unpriced = unpriced
        self.file = file
        bounded = cost is not None and cost < float("inf")
        self._ceilings = Ceilings(calls, tokens, picodollars(cost or 0) if bounded else None, seconds)
        told = {"calls": calls, "tokens": tokens, "cost": self.cost, "seconds": seconds}
        self._ledger: BudgetLedger
        if file is None:
            self._ledger = MemoryLedger(told)
        else:
            from hokusai_core.execution.budget_file import BudgetFile  # help of commands does without

            try:
                self._ledger = BudgetFile(file, told)
            except BudgetFileError as error:
                raise ConfigurationError(f"Budget(file=...): {error}") from error
        #: Why the file cannot be used any more.
        self._broken = ""
        #: What found no room, how often something was settled by then, and when that was.
        self._full: tuple[int, int, float] | None = None
        self._settled = 0
        self._buried = 0.0

    def __reduce__(self) -> Any:
        if self.file is None:
            raise TypeError("a budget of one process cannot be given to another; share it by a file: Budget(file=...)")
        return partial(
            Budget,
            calls=self.calls,
            tokens=self.tokens,
            cost=self.cost,
            seconds=self.seconds,
            unpriced=self.unpriced,
            file=os.path.abspath(self.file),
        ), ()

    # -- before and after calls ---------------------------------------------------------------------------------

    def reserve(self, estimate: CallEstimate | None = None, *, timeout: float | None = None) -> Reservation:
        """Reserve a call, before it is made; wait while calls under way have reserved all that is left.

        Args:
            estimate: what is known of the call.
            timeout: seconds to wait at most; None for no bound.

        Raises:
            BudgetExceeded: something is spent, what is left is less than the call may cost, or the most that it may
                cost is not known; says which.
        """
        end = None if timeout is None else time.monotonic() + timeout
        for nap in naps():
            found = self.try_reserve(estimate)
            if found is not None:
                return found
            if end is not None and time.monotonic() >= end:
                raise BudgetExceeded(_FULL) if estimate is None else BudgetFull(estimate)
            time.sleep(nap)
        raise AssertionError  # there is always another nap

    def reserve_in_callback(self, estimate: CallEstimate, *, timeout: float | None = None) -> Reservation:
        """Reserve a call from a callback of DSPy, which cannot be awaited: on an event loop it does not wait.

        Args:
            estimate: what is known of the call.
            timeout: seconds to wait at most; None for no bound.

        Raises:
            BudgetExceeded: as for ``reserve``.
        """
        import asyncio  # an executor has loaded it; help of commands does without

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self.reserve(estimate, timeout=timeout)
        return self.reserve(estimate, timeout=0.0)

    async def areserve(self, estimate: CallEstimate | None = None) -> Reservation:
        """Async version of ``reserve``."""
        import asyncio  # an executor has loaded it; help of commands does without

        for nap in naps():
            found = self.try_reserve(estimate)
            if found is not None:
                return found
            await asyncio.sleep(nap)
        raise AssertionError  # there is always another nap

    def try_reserve(self, estimate: CallEstimate | None = None) -> Reservation | None:
        """Reserve a call, or return None if there is no room until calls under way are over.

        Raises:
            BudgetExceeded: as for ``reserve``.
        """
        if self._broken:
            raise BudgetExceeded(f"no call is made, as what is spent could not be noted: {self._broken}")
        calls, cost = (1, 0) if estimate is None else (estimate.calls, self.most_cost(estimate))
        if self._is_full(cost):
            return None
        taken = self._take(calls, cost)
        if taken is None and time.monotonic() - self._buried >= _BURY_EVERY:
            self._buried = time.monotonic()
            if self._call(self._ledger.bury_dead):
                taken = self._take(calls, cost)
        if taken is None:
            self._full = cost, self._settled, time.monotonic()
        return taken

    def charge(self, usage: Usage, cost: float | None, model: str = "a model that was called") -> None:
        """Charge a call that nothing was reserved for.

        Args:
            usage: its tokens.
            cost: US dollars, None where no price is known.
            model: name of the model.
        """
        Reservation(self, "", 0, 0).charge(usage, cost, model)

    def _is_full(self, cost: int) -> bool:
        full = self._full
        if full is None or cost < full[0] or full[1] != self._settled:
            return False
        return time.monotonic() - full[2] < _FULL_FOR

    def most_cost(self, estimate: CallEstimate) -> int:
        """Return what is reserved for a call, in picodollars; 0 without a ceiling on cost.

        Raises:
            BudgetExceeded: nothing bounds what it may cost; says why.
        """
        if self._ceilings.cost is None:
            return 0
        bound = estimate.cost_bound()
        if bound.amount is not None:
            return bound.amount
        if bound.unpriced and self.unpriced == "allow":
            return 0
        raise BudgetExceeded(_without_price(estimate.model) if bound.unpriced else bound.problem)

    def _take(self, calls: int, cost: int) -> Reservation | None:
        ledger, ceilings = self._ledger, self._ceilings
        closes = ceilings.cost is not None and self.unpriced == "refuse"

        def take(account: Account) -> str | None:
            if closes and account.unpriced:
                return _without_price(account.unpriced)
            now = ledger.now()
            reason = ceilings.reached(account, now)
            if reason is not None:
                return f"the budget is spent: {reason}. Raise it, or go on with what is done"
            reason = ceilings.refusal(account, calls, cost)
            if reason:
                return f"the budget has no room: {reason}. Raise it, lower max_tokens, or go on with what is done"
            if reason is None:
                if account.since is None:
                    account.since = now
                account.reserve(ledger.process, calls, cost, time.time())
            return reason

        refused = self._call(lambda: ledger.change(take))
        if refused:
            raise BudgetExceeded(refused)
        return None if refused is not None else Reservation(self, ledger.process, calls, cost)

    def _call(self, act: Any) -> Any:
        try:
            return act()
        except BudgetFileError as error:
            raise BudgetExceeded(f"no call is made: {error}") from error

    def note(self, change: Callable[[Account], None]) -> None:
        """Note in the account what became of a call; if that cannot be done, no further call is made.

        Args:
            change: changes the account.
        """
        try:
            self._ledger.change(change)
        except BudgetFileError as error:  # the answer is paid for, and its caller shall have it
            self._broken = str(error)
            _LOG.warning("what a call has cost could not be noted: %s; no further call is made", error)
        self._settled += 1

    # -- what is spent ------------------------------------------------------------------------------------------

    def _read(self, look: Any) -> Any:
        try:
            return self._ledger.read(look)
        except BudgetFileError as error:
            raise ConfigurationError(str(error)) from error

    @property
    def spent(self) -> Usage:
        """Calls and tokens charged so far."""
        usage: Usage = self._read(lambda account: account.usage)
        return usage

    @property
    def spent_cost(self) -> float:
        """US dollars that are spent: what was charged, and what processes had reserved that have died."""
        return dollars(self._read(lambda account: account.spent))

    def reason(self) -> str | None:
        """Return in words which ceiling is reached, or None if another call is allowed."""
        reason: str | None = self._read(lambda account: self._ceilings.reached(account, self._ledger.now()))
        return reason

    def left(self) -> dict[str, float | None]:
        """Return what is left of each ceiling: ``calls``, ``tokens``, ``cost`` and ``seconds``; None for no bound.

        What calls under way have reserved is not left.
        """

        def describe(account: Account) -> dict[str, float | None]:
            ceilings, now = self._ceilings, self._ledger.now()
            under_way = sum(item.calls for item in account.reserved.values())
            since = now if account.since is None else account.since
            cost = None if ceilings.cost is None else ceilings.cost - account.spent - account.under_way
            left: dict[str, float | None] = {
                "calls": None if ceilings.calls is None else ceilings.calls - account.calls - under_way,
                "tokens": None if ceilings.tokens is None else ceilings.tokens - account.usage.total_tokens,
                "cost": None if cost is None else dollars(max(0, cost)),
                "seconds": None if ceilings.seconds is None else since + ceilings.seconds - now,
            }
            return {name: None if amount is None else max(0, amount) for name, amount in left.items()}

        described: dict[str, float | None] = self._read(describe)
        return described

    def to_dict(self) -> dict[str, Any]:
        """Return ceilings, what is spent and what calls under way have reserved, as a JSON-able dict."""

        def describe(account: Account) -> dict[str, Any]:
            return {
                "ceilings": {"calls": self.calls, "tokens": self.tokens, "cost": self.cost, "seconds": self.seconds},
                "spent": {
                    **account.usage.to_dict(),
                    "cost": dollars(account.spent),
                    "uncertain": dollars(account.uncertain + account.dead.cost),
                },
                "reserved": {
                    "calls": sum(item.calls for item in account.reserved.values()),
                    "cost": dollars(account.under_way),
                },
            }

        described: dict[str, Any] = self._read(describe)
        return described


class Reservation:
    """What a budget has reserved for a call. It is settled once, with what the call has used.

    Args:
        budget: the budget.
        process: the name of this process in its account.
        calls: calls that are reserved.
        cost: picodollars that are reserved.
    """

    __slots__ = ("_budget", "_generation", "_state", "calls", "cost", "process")

    def __init__(self, budget: Budget, process: str, calls: int, cost: int) -> None:
        self._budget, self.process, self.calls, self.cost = budget, process, calls, cost
        self._generation = fork_callbacks.generation
        self._state: Literal["open", "presumed", "settled"] = "open"

    def covers(self, estimate: CallEstimate) -> bool:
        """Return whether it is enough for a call."""
        return self.calls >= estimate.calls and self.cost >= self._budget.most_cost(estimate)

    def settle(self, call: CallRecord) -> None:
        """Charge a call that is over: what it cost, or the most that it may have cost where that is not known."""
        if call.bill == "unknown":
            self._charge(call.usage, self.cost, uncertain=True)
        elif call.bill == "nothing":
            self._charge(call.usage, 0)
        else:
            self.charge(call.usage, call.cost, call.model)

    def charge(self, usage: Usage, cost: float | None, model: str = "a model that was called") -> None:
        """Charge what the call has used.

        Args:
            usage: its tokens.
            cost: US dollars, None where no price is known.
            model: name of the model.
        """
        if cost is not None and 0 <= cost < float("inf"):  # a NaN would never reach the ceiling
            amount = picodollars(cost)
            if self.cost and amount > self.cost:
                _LOG.warning("a call of %s cost more (%s) than it may cost", model, shown_dollars(amount))
            self._charge(usage, amount)
        elif cost is not None or usage.total_tokens:
            self._charge(usage, self.cost, uncertain=True, unpriced=model)
        else:
            self._charge(usage, 0)

    def presume(self) -> None:
        """Charge a call that was given up at the most that it may cost; ``settle`` corrects it if the call ends."""

        def presume(account: Account) -> None:
            if self._state == "open":
                self._state = "presumed"
                account.presume(self.process, self.calls, self.cost)

        if self._state == "open":
            self._note(presume)

    def refund(self) -> None:
        """Give everything back: no call was made."""
        self._charge(Usage(), 0)

    def _note(self, change: Callable[[Account], None]) -> None:
        if self._generation == fork_callbacks.generation:  # else it is the parent's
            self._budget.note(change)

    def _charge(self, usage: Usage, cost: int, *, uncertain: bool = False, unpriced: str = "") -> None:
        def settle(account: Account) -> None:
            state, self._state = self._state, "settled"
            if state == "settled":
                return
            if state == "presumed":
                account.retract(self.calls, self.cost)
            elif self.process:
                account.give_back(self.process, self.calls, self.cost)
            account.charge(usage, cost, uncertain=uncertain and cost > 0)
            account.unpriced = account.unpriced or unpriced

        self._note(settle)


def naps() -> Iterator[float]:
    """Yield the seconds to wait before asking again for room, each time a little more."""
    nap = _FIRST_NAP
    while True:
        yield nap
        nap = min(_LONGEST_NAP, nap * 1.5)


def _without_price(model: str) -> str:
    return (
        f"no price of {model} is known, so a ceiling on cost cannot be kept: give its price (prices=...), bound calls "
        "or tokens instead (Budget(calls=..., tokens=...)), or count such calls as free with "
        "Budget(cost=..., unpriced='allow')"
    )
