"""Budget: a ceiling on calls, tokens and cost, including retries and optimizers."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Any, Literal

from hokusai_core.errors import BudgetExceeded, ConfigurationError
from hokusai_core.process import fork_callbacks
from hokusai_core.results import Usage

if TYPE_CHECKING:
    from hokusai_core.call_records import CallEstimate

__all__ = ["Budget"]


class Budget:
    """A ceiling on calls, tokens, cost and time.

    Calls are reserved before they are made, so that calls are never exceeded, however many run at once. Tokens and
    cost are known only afterwards: a call that is under way when they run out is still paid. Give one budget to
    several executions, batches or optimizations to bound them together.

    Args:
        calls: language-model calls.
        tokens: tokens of prompts and answers together.
        cost: US dollars.
        seconds: seconds from the first charge.
        unpriced: what a ceiling on cost does with calls whose price is not known: ``"refuse"`` makes no such call,
            ``"allow"`` makes it and counts it as free. The embedded model and answers from a cache cost nothing.

    Raises:
        ConfigurationError: a ceiling that is not above zero, or another word for ``unpriced``.

    Example:
        >>> budget = Budget(calls=1)
        >>> budget.reserve(); budget.charge(Usage(10, 5, 1), 0.001)
        >>> budget.spent.total_tokens, budget.reason()
        (15, 'all 1 calls are made')
    """

    def __init__(
        self,
        *,
        calls: int | None = None,
        tokens: int | None = None,
        cost: float | None = None,
        seconds: float | None = None,
        unpriced: Literal["refuse", "allow"] = "refuse",
    ) -> None:
        if unpriced not in ("refuse", "allow"):
            raise ConfigurationError(f"Budget(unpriced={unpriced!r}): expected 'refuse' or 'allow'")
        for name, value in {"calls": calls, "tokens": tokens, "cost": cost, "seconds": seconds}.items():
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if value is not None and not (number and value > 0):
                raise ConfigurationError(f"Budget({name}={value!r}): expected a number above zero, or None")
        self.calls, self.tokens, self.cost, self.seconds = calls, tokens, cost, seconds
        self.unpriced = unpriced
        #: A model whose calls were charged without a price.
        self._unpriced_model = ""
        self._reserved = 0
        self._usage = Usage()
        self._cost = 0.0
        self._since: float | None = None
        self._lock = threading.Lock()
        fork_callbacks.add(self._after_fork)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()

    def reserve(self, estimate: CallEstimate | None = None) -> None:
        """Take one call out of the budget, before it is made.

        Args:
            estimate: what is known of the call.

        Raises:
            BudgetExceeded: something is spent, or the cost of the call would not be known; names it.
        """
        if self.cost is not None and self.unpriced == "refuse":
            unknown = self._unpriced_model
            if not unknown and estimate is not None and not estimate.is_priced():
                unknown = estimate.model
            if unknown:
                raise BudgetExceeded(
                    f"no price of {unknown} is known, so a ceiling on cost cannot be kept: bound calls or tokens "
                    "instead (Budget(calls=..., tokens=...)), or count such calls as free with "
                    "Budget(cost=..., unpriced='allow')"
                )
        with self._lock:
            if self._since is None:
                self._since = time.monotonic()
            reason = self._reason()
            if reason:
                raise BudgetExceeded(f"the budget is spent: {reason}. Raise it, or go on with what is done")
            self._reserved += 1

    def charge(self, usage: Usage, cost: float | None, model: str = "a model that was called") -> None:
        """Charge what a call has used.

        Args:
            usage: its tokens.
            cost: US dollars, None where no price is known.
            model: name of the model.
        """
        with self._lock:
            known = cost is not None and 0 <= cost < math.inf  # a NaN would never reach the ceiling
            if not known and (cost is not None or usage.total_tokens):
                self._unpriced_model = model
            self._usage += usage
            self._cost += cost if cost is not None and known else 0.0

    @property
    def spent(self) -> Usage:
        """Calls and tokens charged so far."""
        with self._lock:
            return self._usage

    @property
    def spent_cost(self) -> float:
        """US dollars charged so far, as far as prices are known."""
        with self._lock:
            return self._cost

    def reason(self) -> str | None:
        """Return in words which ceiling is reached, or None if another call is allowed."""
        with self._lock:
            return self._reason()

    def to_dict(self) -> dict[str, Any]:
        """Return ceilings and what is spent as a JSON-able dict."""
        with self._lock:
            return {
                "ceilings": {
                    "calls": self.calls, "tokens": self.tokens, "cost": self.cost, "seconds": self.seconds
                },
                "spent": {**self._usage.to_dict(), "cost": self._cost},
            }  # fmt: skip

    def _reason(self) -> str | None:
        if self.calls is not None and self._reserved >= self.calls:
            return f"all {self.calls} calls are made"
        if self.tokens is not None and self._usage.total_tokens >= self.tokens:
            return f"{self._usage.total_tokens} of {self.tokens} tokens are used"
        if self.cost is not None and self._cost >= self.cost:
            return f"${self._cost:.4f} of ${self.cost:.4f} is spent"
        if self.seconds is not None and self._since is not None and time.monotonic() - self._since >= self.seconds:
            return f"{self.seconds:g} seconds have passed"
        return None
