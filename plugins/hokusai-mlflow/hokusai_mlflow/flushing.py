"""Waiting for delivery: until MLflow has what a tracker accepted, or for as long as one is willing to wait."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import orjson

from hokusai_mlflow.waiting import ACKNOWLEDGED, something_waits

if TYPE_CHECKING:
    from pathlib import Path

    from hokusai_mlflow.courier import Courier
    from hokusai_mlflow.destination import Destinations
    from hokusai_mlflow.spool import SegmentAppender

__all__ = ["Deliveries", "Wait"]

#: Seconds between looks at whether it is delivered.
_POLL: Final = 0.02
#: Looks between two at how the writer is doing.
_LOOKS: Final = 25
#: Seconds for which a writer that starts is waited for, beyond what MLflow is waited for: on a busy machine the import
#: of mlflow alone takes many.
_START: Final = 30.0


class Deliveries:
    """Knows how much of what a tracker accepted MLflow has.

    Args:
        folder: the spool folder.
        spool: where the tracker appends to.
        courier: its thread.
        destinations: where its executions go.
    """

    def __init__(self, folder: Path, spool: SegmentAppender, courier: Courier, destinations: Destinations) -> None:
        self.folder, self.spool, self.courier, self.destinations = folder, spool, courier, destinations
        self._lock = threading.Lock()
        self._through = 0

    @property
    def complete(self) -> bool:
        """Whether nothing was accepted that MLflow is not known to have.

        A tracker that has accepted nothing yet answers for what earlier processes left.
        """
        return self._through == self.spool.records and bool(self._through or not something_waits(self.folder))

    def note(self, through: int) -> None:
        """Note that MLflow has the first ``through`` records."""
        with self._lock:
            self._through = max(self._through, through)

    def wait(self, timeout: float | None, *, run_id: str | None = None, patient: bool = True) -> Wait:
        """Return a wait for everything that was accepted so far.

        Args:
            timeout: seconds at most, None for as long as it takes.
            run_id: of what belongs to this run of the host's only.
            patient: whether it goes on while MLflow is known to refuse. If not, ``timeout`` counts from when the writer
                has started.
        """
        return Wait(self, timeout, run_id, patient)


class Wait:
    """One wait, on whatever thread: iterate, and sleep for as long as each step says."""

    def __init__(self, deliveries: Deliveries, timeout: float | None, run_id: str | None, patient: bool) -> None:
        self._deliveries, self._run_id, self._patient = deliveries, run_id, patient
        self._timeout = timeout
        self._end = None if timeout is None else time.monotonic() + timeout
        self._started_by = time.monotonic() + (_START if timeout and not patient else 0.0)
        #: Whether it ended because everything is delivered.
        self.delivered = False

    def __iter__(self) -> Iterator[float]:
        deliveries = self._deliveries
        if deliveries.complete:
            self.delivered = True
            return
        deliveries.spool.look()
        if deliveries.spool.lost:
            return
        through, token = deliveries.spool.records, secrets.token_hex(8)
        acknowledged, asked = deliveries.folder / ACKNOWLEDGED / token, False
        while True:
            try:
                asked = asked or self._ask(token)
                deliveries.courier.ensure_writer()
            except OSError:
                pass  # a full disk, which the writer may have mended by the next time
            for _ in range(_LOOKS):
                if acknowledged.exists():
                    acknowledged.unlink(missing_ok=True)
                    self._done(through)
                    return
                if self._end is not None and time.monotonic() >= self._end:
                    return
                yield _POLL
            if not self._patient and deliveries.courier.is_refused(deliveries.destinations.stores):
                return
            if time.monotonic() < self._started_by and self._timeout is not None and deliveries.courier.is_starting():
                self._end = time.monotonic() + self._timeout

    def _ask(self, token: str) -> bool:
        """Ask the writer for a sign that it has delivered all that came before."""
        destinations, spool = self._deliveries.destinations, self._deliveries.spool
        context, stores = destinations.current(), sorted(destinations.stores)
        request = orjson.dumps({"k": "b", "c": 0, "id": token, "run_id": self._run_id, "stores": stores})
        spool.append(request, context.number, context.record, counts=False)
        return True

    def _done(self, through: int) -> None:
        self.delivered = True
        if self._run_id is None:
            self._deliveries.note(through)
