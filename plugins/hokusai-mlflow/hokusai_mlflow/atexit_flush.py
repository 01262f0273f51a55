"""Flush the trackers of all executors at the end of the process, in one common wait."""

from __future__ import annotations

import atexit
import contextlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from hokusai_mlflow.delivery_wait import DeliveryWait

__all__ = ["AT_EXIT", "wait_for_all"]


class Closing(Protocol):
    """A tracker that may have something to deliver when the process ends."""

    def begin_closing(self) -> DeliveryWait | None:
        """End the tracker's run, and return what the exit of the process must wait for."""

    def end_closing(self, wait: DeliveryWait | None) -> None:
        """Release everything."""


class _AtExit:
    """Closes trackers when the process ends.

    The interpreter runs exit handlers one by one, so the waits of several trackers for a server that is down would add
    up. This is the only state of the plugin that belongs to the process.
    """

    def __init__(self) -> None:
        # No lock, which a fork could copy while it is held: each access is a single step of a dict.
        self._open: dict[int, Closing] = {}
        atexit.register(self._run)

    def add(self, tracker: Closing) -> None:
        """Have ``tracker`` closed when the process ends."""
        self._open[id(tracker)] = tracker

    def discard(self, tracker: Closing) -> None:
        """Remove a closed ``tracker``."""
        self._open.pop(id(tracker), None)

    def _run(self) -> None:
        waits = []
        while self._open:
            _, tracker = self._open.popitem()
            waits.append((tracker, tracker.begin_closing()))
        with contextlib.suppress(KeyboardInterrupt):  # the user does not want to wait; the writer goes on
            wait_for_all([wait for _, wait in waits if wait is not None])
        for tracker, wait in waits:
            tracker.end_closing(wait)


def wait_for_all(waits: Sequence[DeliveryWait]) -> None:
    """Wait for several deliveries at once."""
    steps = [iter(wait) for wait in waits]
    while steps:
        pauses = [next(step, None) for step in steps]
        steps = [step for step, pause in zip(steps, pauses, strict=True) if pause is not None]
        time.sleep(min((pause for pause in pauses if pause is not None), default=0.0))


#: That of this process.
AT_EXIT: Final = _AtExit()
