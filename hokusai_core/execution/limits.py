"""Rate limits: calls and tokens per minute and model, shared by all executions of an executor.

Each model has two token buckets (Turner 1986), one for calls and one for tokens, that hold a minute's allowance at
most and refill evenly. Tokens are taken by estimate before a call and settled by what it really used.
"""

from __future__ import annotations

import threading
import time

from attrs import define, field

__all__ = ["RateLimits"]

#: Waits are cut into pieces of at most this many seconds, so that a bucket that refills early is noticed.
_LONGEST_NAP = 1.0


@define
class _Bucket:
    per_minute: float
    level: float = field()
    at: float = field(factory=time.monotonic)

    @level.default
    def _full(self) -> float:
        return self.per_minute

    def refill(self, now: float) -> None:
        self.level = min(self.per_minute, self.level + (now - self.at) * self.per_minute / 60.0)
        self.at = now

    def wait_for(self, amount: float) -> float:
        # More than the bucket can ever hold is let through once it is full, else such a call would wait for ever.
        needed = min(amount, self.per_minute)
        return max(0.0, (needed - self.level) * 60.0 / self.per_minute)


@define
class _Model:
    calls: _Bucket | None
    tokens: _Bucket | None
    blocked_until: float = 0.0
    estimates: list[float] = field(factory=list)


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

    def admit(self, model: str, tokens: float) -> float:
        """Take a call of about ``tokens`` tokens and return 0, or return the seconds to wait before asking again."""
        with self._lock:
            state = self._of(model)
            now = time.monotonic()  # not before: a bucket is never asked about a time before it was made
            wait = max(0.0, state.blocked_until - now)
            for bucket, amount in ((state.calls, 1.0), (state.tokens, tokens)):
                if bucket is not None:
                    bucket.refill(now)
                    wait = max(wait, bucket.wait_for(amount))
            if wait > 0:
                return min(wait, _LONGEST_NAP) if state.blocked_until <= now else wait
            if state.calls is not None:
                state.calls.level -= 1.0
            if state.tokens is not None:
                state.tokens.level -= tokens
                state.estimates.append(tokens)
            return 0.0

    def used(self, model: str, tokens: float) -> None:
        """Settle the estimate of a call that is over with the tokens that it really used."""
        with self._lock:
            state = self._of(model)
            if state.tokens is not None:
                estimate = state.estimates.pop() if state.estimates else 0.0
                state.tokens.level += estimate - tokens

    def block(self, model: str, seconds: float) -> None:
        """Let no call of ``model`` through for ``seconds``: its provider asked to slow down."""
        with self._lock:
            state = self._of(model)
            state.blocked_until = max(state.blocked_until, time.monotonic() + seconds)

    def _of(self, model: str) -> _Model:
        if model not in self._models:
            self._models[model] = _Model(
                None if self._requests is None else _Bucket(self._requests),
                None if self._tokens is None else _Bucket(self._tokens),
            )
        return self._models[model]
