"""Rate limits: calls and tokens per minute and model, shared by all executions of an executor.

A limit holds for every stretch of sixty seconds, not only on average: the calls of the last minute are remembered, and
one that would be too many waits until the oldest of them is a minute old. (A token bucket that holds a minute's worth
lets twice as much through in the first minute.) Tokens are taken by estimate before a call, and settled by what it
really used.
"""

from __future__ import annotations

import threading
import time
from collections import deque

from attrs import define, field

from hokusai_core.process import fork_callbacks

__all__ = ["RateLimits"]

_MINUTE = 60.0
#: Seconds after which to ask again while calls are under way that may make room.
_LONGEST_NAP = 1.0


@define(eq=False)
class _Taken:
    """What one call took, and when."""

    at: float
    amount: float


@define(eq=False)
class _Window:
    """What was taken of one allowance within the last minute.

    Args:
        allowance: most that may be taken within ``seconds``.
        seconds: length of the window; longer than a minute where less than one whole is allowed a minute.
    """

    allowance: float
    seconds: float = _MINUTE
    taken: deque[_Taken] = field(factory=deque)
    total: float = 0.0

    @classmethod
    def per_minute(cls, allowance: float) -> _Window:
        return cls(allowance) if allowance >= 1.0 else cls(1.0, _MINUTE / allowance)

    def wait_for(self, amount: float, now: float) -> float:
        """Return the seconds until ``amount`` may be taken; more than the allowance waits for an empty window."""
        taken = self.taken
        while taken and taken[0].at <= now - self.seconds:
            self.total -= taken.popleft().amount
        if not taken:
            self.total = 0.0  # what adding and subtracting has left over
        excess = self.total + amount - self.allowance
        if excess <= 0.0 or not taken:
            return 0.0
        for one in taken:
            excess -= one.amount
            if excess <= 0.0:
                return one.at + self.seconds - now
        return taken[-1].at + self.seconds - now

    def take(self, amount: float, now: float) -> _Taken:
        one = _Taken(now, amount)
        self.taken.append(one)
        self.total += amount
        return one

    def settle(self, one: _Taken, amount: float) -> None:
        if self.taken and one.at >= self.taken[0].at:  # else it has left the window
            self.total += amount - one.amount
            one.amount = amount


@define(eq=False)
class _Model:
    calls: _Window | None
    tokens: _Window | None
    blocked_until: float = 0.0
    estimates: list[_Taken] = field(factory=list)


class RateLimits:
    """The limits of one executor.

    Args:
        requests_per_minute: calls per minute and model, None for no bound.
        tokens_per_minute: tokens per minute and model, None for no bound.
    """

    def __init__(self, requests_per_minute: float | None = None, tokens_per_minute: float | None = None) -> None:
        self._requests, self._tokens = requests_per_minute, tokens_per_minute
        self._models: dict[str, _Model] = {}
        self._lock = threading.Lock()
        fork_callbacks.add(self._after_fork)

    def _after_fork(self) -> None:
        self._models, self._lock = {}, threading.Lock()  # calls under way are the parent's

    def admit(self, model: str, tokens: float) -> float:
        """Take a call of about ``tokens`` tokens and return 0, or return the seconds to wait before asking again."""
        now = time.monotonic()
        with self._lock:
            state = self._of(model)
            if state.blocked_until > now:
                return state.blocked_until - now
            wait = 0.0 if state.tokens is None else state.tokens.wait_for(tokens, now)
            if wait > 0.0 and state.estimates:
                wait = min(wait, _LONGEST_NAP)  # calls under way may turn out to need less than was estimated
            if state.calls is not None:
                wait = max(wait, state.calls.wait_for(1.0, now))
            if wait > 0.0:
                return wait
            if state.calls is not None:
                state.calls.take(1.0, now)
            if state.tokens is not None:
                state.estimates.append(state.tokens.take(tokens, now))
            return 0.0

    def used(self, model: str, tokens: float) -> None:
        """Settle the estimate of a call that is over with the tokens that it really used."""
        with self._lock:
            state = self._of(model)
            if state.tokens is not None and state.estimates:
                # Whose estimate it is does not matter: all that are taken are settled in the end.
                state.tokens.settle(state.estimates.pop(), tokens)

    def block(self, model: str, seconds: float) -> None:
        """Let no call of ``model`` through for ``seconds``: its provider asked to slow down."""
        with self._lock:
            state = self._of(model)
            state.blocked_until = max(state.blocked_until, time.monotonic() + seconds)

    def _of(self, model: str) -> _Model:
        if model not in self._models:
            self._models[model] = _Model(
                None if self._requests is None else _Window.per_minute(self._requests),
                None if self._tokens is None else _Window.per_minute(self._tokens),
            )
        return self._models[model]
