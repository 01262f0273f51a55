"""Gate: counts the requests in flight, bounds them, and closes when the server ends."""

from __future__ import annotations

from hokusai_serve.limits import ServeLimits
from hokusai_serve.problems import Problem

__all__ = ["Gate"]


class Gate:
    """Lets requests in; belongs to one event loop.

    Args:
        limits: how many executions may run at once.

    Attributes:
        active: requests in flight.
        executing: those of them that execute a signature.
        draining: whether new requests are refused, because the server ends.
    """

    def __init__(self, limits: ServeLimits) -> None:
        self._limits = limits
        self.active = self.executing = 0
        self.draining = False

    def drain(self) -> None:
        """Let no further request in."""
        self.draining = True

    def refusal(self, *, executes: bool) -> Problem | None:
        """Return why a request is not let in, or None."""
        if self.draining:
            headers = {"Retry-After": "5", "Connection": "close"}
            return Problem(503, "draining", "the server is about to end; try again in a moment", headers=headers)
        if executes and self.executing >= self._limits.concurrency:
            detail = f"{self._limits.concurrency} executions run already; try again in a moment"
            return Problem(429, "too-many-requests", detail, headers={"Retry-After": "1"})
        return None

    def enter(self, *, executes: bool) -> None:
        """Count a request in."""
        self.active += 1
        self.executing += executes

    def leave(self, *, executes: bool) -> None:
        """Count a request out."""
        self.active -= 1
        self.executing -= executes
