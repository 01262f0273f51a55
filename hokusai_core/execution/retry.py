"""The retry policy: which failed calls are retried, and how long to wait before each retry."""

from __future__ import annotations

import random

from attrs import frozen

from hokusai_core.errors import ExecutionError

__all__ = ["RetryPolicy"]


@frozen
class RetryPolicy:
    """Exponential backoff with full jitter, as the AWS Architecture Blog describes it.

    Only errors that say of themselves that they are retryable are tried again: transport failures, rate limits,
    server errors and answers that could not be parsed.

    Args:
        retries: tries after the first.
        base: seconds of the first wait at most.
        ceiling: seconds of any wait at most, where the provider does not ask for longer.
    """

    retries: int = 0
    base: float = 0.5
    ceiling: float = 30.0

    def wait(self, attempt: int, error: ExecutionError) -> float | None:
        """Return the seconds to wait before the next try, or None where there is to be none.

        Args:
            attempt: number of the try that failed, from 1.
            error: how it failed.
        """
        if attempt > self.retries or not error.retryable:
            return None
        if error.retry_after is not None:
            return max(0.0, error.retry_after)  # the deadline bounds it: a provider may ask for an hour
        return random.uniform(0.0, min(self.ceiling, self.base * 2 ** (attempt - 1)))  # noqa: S311  # no secret
