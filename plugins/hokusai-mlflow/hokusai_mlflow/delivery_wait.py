"""Wait until MLflow has every record that a tracker accepted, or until a timeout.

At the end of the process, the waits of all its trackers are one.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from hokusai_core.plugin_api import OutboxFolder, open_private_file
from hokusai_mlflow.spool_status import WAITING
from hokusai_mlflow.target_state import read_offsets

if TYPE_CHECKING:
    from hokusai_mlflow.delivery_supervisor import DeliverySupervisor
    from hokusai_mlflow.destination import Destinations

__all__ = ["AT_EXIT", "DeliveryWait", "wait_for_all"]

#: Seconds between looks at whether it is delivered.
_POLL: Final = 0.02
#: Looks between two at how the writer is doing.
_LOOKS: Final = 25
#: Seconds for which a writer that starts is waited for, beyond what MLflow is waited for: on a busy machine the import
#: of mlflow alone takes many.
_START: Final = 30.0


class DeliveryWait:
    """One wait, on whatever thread: iterate, and sleep for as long as each step says.

    Args:
        folder: the spool folder.
        positions: segment -> bytes of it that are waited for.
        timeout: seconds at most, None for as long as it takes.
        supervisor: sees to it that a writer runs.
        destinations: where the executions go.
        patient: whether it goes on while MLflow is known to refuse. If not, ``timeout`` counts from when the writer has
            started.
        until_deleted: whether to wait until the writer has deleted the segments: then their run is over in MLflow, too.
        lost: whether what is waited for was deleted, so that waiting would be in vain.
    """

    def __init__(
        self,
        folder: Path,
        positions: Mapping[str, int],
        timeout: float | None,
        supervisor: DeliverySupervisor,
        destinations: Destinations,
        *,
        patient: bool = True,
        until_deleted: bool = False,
        lost: bool = False,
    ) -> None:
        self._folder, self._positions, self._timeout = folder, positions, timeout
        self._supervisor, self._destinations = supervisor, destinations
        self._patient, self._until_deleted, self._lost = patient, until_deleted, lost
        self._end = None if timeout is None else time.monotonic() + timeout
        self._started_by = time.monotonic() + (_START if timeout and not patient else 0.0)
        #: Whether it ended because everything is delivered.
        self.delivered = False

    def __iter__(self) -> Iterator[float]:
        if self._lost:
            return
        if self._is_delivered():
            self.delivered = True
            return
        sign = self._folder / f"{os.getpid()}-{secrets.token_hex(4)}{WAITING}"
        try:
            yield from self._wait(sign)
        finally:
            sign.unlink(missing_ok=True)

    def _wait(self, sign: Path) -> Iterator[float]:
        targets = {OutboxFolder.destination_key(name) for name in self._positions}
        while True:
            with contextlib.suppress(OSError):  # such as a full disk, which may have space again by the next time
                if not sign.exists():
                    os.close(open_private_file(sign))
                self._supervisor.ensure_writer()
            for _ in range(_LOOKS):
                if self._is_delivered():
                    self.delivered = True
                    return
                if self._end is not None and time.monotonic() >= self._end:
                    return
                yield _POLL
            if not self._patient and self._supervisor.is_refused(self._destinations.stores, targets):
                return
            if time.monotonic() < self._started_by and self._timeout is not None and self._supervisor.is_starting():
                self._end = time.monotonic() + self._timeout

    def _is_delivered(self) -> bool:
        present = [name for name in self._positions if self._exists(name)]
        if not present:
            return True
        if self._until_deleted:
            return False
        offsets = read_offsets(self._folder)
        return all(offsets.get(name, 0) >= self._positions[name] or not self._exists(name) for name in present)

    def _exists(self, name: str) -> bool:
        return OutboxFolder(self._folder).segment(name).exists()


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
