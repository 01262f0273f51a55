"""Deadline: the point in time at which an execution must end."""

from __future__ import annotations

import threading
import time

from attrs import frozen

__all__ = ["Deadline"]


@frozen
class Deadline:
    """The time by which an execution must be over.

    Args:
        timeout: seconds that were asked for, None for no bound.
        at: the point in time as ``time.monotonic()`` tells it, None for no bound.
    """

    timeout: float | None = None
    at: float | None = None

    @classmethod
    def after(cls, timeout: float | None, *, elapsed: float = 0.0) -> Deadline:
        """Return the deadline ``timeout`` seconds from now, or from ``elapsed`` seconds ago."""
        return cls(timeout, None if timeout is None else time.monotonic() + timeout - elapsed)

    def remaining(self) -> float | None:
        """Return the seconds that are left, never below zero; None for no bound."""
        return None if self.at is None else min(max(0.0, self.at - time.monotonic()), threading.TIMEOUT_MAX)

    @property
    def passed(self) -> bool:
        """Whether the time is up."""
        return self.at is not None and time.monotonic() >= self.at
