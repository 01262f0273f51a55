"""Circuit: keeps executions from a language model that failed several times in a row, for a while."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from hokusai_core.process import fork_callbacks

__all__ = ["Circuit"]


class Circuit:
    """Opens after several failures in a row. After a time one call probes whether the model works again.

    Args:
        failures: failures in a row that open it; None for a circuit that never opens.
        reset_after: seconds for which it stays open.
        clock: returns seconds of a clock that never goes back.
    """

    def __init__(self, failures: int | None, reset_after: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._reset_after, self._clock = failures, reset_after, clock
        self._failures = 0
        #: When the next call may be made; it is pushed on while a probe is under way. Zero while the circuit is closed.
        self._open_until = 0.0
        self._lock = threading.Lock()
        fork_callbacks.add(self._after_fork)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()

    @property
    def seconds_left(self) -> float:
        """Seconds until a call may be made; zero if one may be made now."""
        return max(0.0, self._open_until - self._clock()) if self._open_until else 0.0

    def admit(self) -> bool:
        """Return whether a call may be made now. Say how it ended with ``succeeded``, ``failed`` or ``released``."""
        if not self._open_until:
            return True
        with self._lock:
            now = self._clock()
            if now < self._open_until:
                return False
            self._open_until = now + self._reset_after  # others wait for the probe; one that never ends is given up
            return True

    def succeeded(self) -> None:
        """Note that a call succeeded: the circuit is closed."""
        if self._failures or self._open_until:
            with self._lock:
                self._failures, self._open_until = 0, 0.0

    def failed(self) -> None:
        """Note that a call failed."""
        with self._lock:
            self._failures += 1
            if self._failures >= (math.inf if self._limit is None else self._limit):
                self._open_until = self._clock() + self._reset_after

    def released(self) -> None:
        """Note that a call ended without saying anything about the model, such as one that was cancelled."""
        with self._lock:
            if self._open_until:
                self._open_until = self._clock()  # the next call may probe at once
