"""Which executions get a trace."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["GROUPED", "Sampler"]

#: Seconds' worth of traces that may come at once.
_BURST: Final = 8.0
#: Seconds' worth of traces that may wait for MLflow.
_QUEUE: Final = 40.0
#: Kinds of operations whose executions are spans of one trace.
GROUPED: Final = ("chain", "pipeline")
#: Operations under way whose decision is remembered.
_PARENTS: Final = 10_000


class Sampler:
    """Decides once for each execution, by its id and by how many began around it.

    Rates are those of the executions' own clock: what waited out an outage is sampled as if it had been delivered at
    once. Where MLflow takes fewer than that, and traces begin to queue, new ones are left out until it has caught up.
    """

    def __init__(self) -> None:
        #: Traces that wait for delivery.
        self.waiting = 0
        self._parents: dict[str, bool] = {}
        self._allowance: dict[int, tuple[float, float]] = {}

    def takes(self, record: Mapping[str, Any], run: int, share: float, rate: float) -> bool:
        """Return whether the execution gets a trace.

        Args:
            record: what the spool holds of it.
            run: the run that it belongs to.
            share: of executions that are asked for, 0 to 1.
            rate: traces per second that are asked for at most.
        """
        parent = record.get("par") if record.get("pk") in GROUPED else None
        if parent is None and record["k"] == "o":
            parent = record["id"]
        if parent is not None:
            # Steps of a chain share a trace, so they share the decision; a failed one brings the trace about.
            decided = self._parents.pop(parent, None)
            if decided is None:
                decided = self._decide({**record, "id": parent}, run, share, rate)
            decided = decided or record["st"] != "ok" or bool(record.get("fb"))
            self._parents[parent] = decided
            if len(self._parents) > _PARENTS:
                del self._parents[next(iter(self._parents))]
            return decided
        return self._decide(record, run, share, rate)

    def _decide(self, record: Mapping[str, Any], run: int, share: float, rate: float) -> bool:
        if record["st"] != "ok" or record.get("fb"):
            return True
        if self.waiting >= rate * _QUEUE:
            return False
        if share < 1.0 and zlib.crc32(record["id"].encode()) >= share * 2**32:
            return False
        began = record["t0"]
        allowance, last = self._allowance.get(run, (rate * _BURST, began))
        allowance = min(rate * _BURST, allowance + max(0.0, began - last) * rate)
        taken = bool(allowance >= 1.0)
        self._allowance[run] = (allowance - taken, max(began, last))
        return taken
