"""Interruption: tells work to stop when a deadline has passed or the caller has given up."""

from __future__ import annotations

import threading
import time

from attrs import define, field

__all__ = ["Interruption"]


@define
class Interruption:
    """What can end a generation before its natural end.

    Args:
        deadline: value of ``time.monotonic()`` after which the caller does not wait any longer; None for never.
        cancelled: set by another thread when the caller has given up.
    """

    deadline: float | None = None
    cancelled: threading.Event = field(factory=threading.Event)

    @property
    def reason(self) -> str | None:
        """Why work has to stop, as a phrase for a message; None while it may go on."""
        if self.cancelled.is_set():
            return "the call was cancelled"
        if self.deadline is not None and time.monotonic() >= self.deadline:
            return "the deadline passed"
        return None

    def acquire(self, semaphore: threading.Semaphore) -> bool:
        """Wait for ``semaphore`` while the caller waits for the answer; return whether it was acquired."""
        while self.reason is None:
            # A cancellation cannot wake a waiting thread, so wake up now and then to look.
            wait = 0.05 if self.deadline is None else max(0.0, min(0.05, self.deadline - time.monotonic()))
            if semaphore.acquire(timeout=wait):
                return True
        return False
