"""Decides which executions get a trace."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["GROUPED", "TraceSampler"]

#: Seconds' worth of traces that may come at once.
_BURST: Final = 8.0
#: Seconds' worth of traces that one delivery may carry.
_QUEUE: Final = 40.0
#: Kinds of operations whose executions are spans of one trace, and have none of their own.
GROUPED: Final = ("chain", "pipeline")


class TraceSampler:
    """Decides by an execution's id, and by how many began around it.

    Rates are those of the executions' own clock: what waited out an outage is sampled as if it had been delivered at
    once. Where MLflow takes fewer than that, and traces begin to queue, new ones are left out until it has caught up.
    """

    def __init__(self) -> None:
        self._allowance: dict[str, tuple[float, float]] = {}

    def takes(
        self, record: Mapping[str, Any], target: str, header: Mapping[str, Any], waiting: int, operation: bool | None
    ) -> bool:
        """Return whether an execution or operation gets a trace.

        Args:
            record: the execution, or the operation.
            target: key of the target that it belongs to.
            header: the target's description, with the share and the rate that are asked for.
            waiting: traces that wait before it.
            operation: what was decided for the chain or pipeline that it is a step of, or for the operation itself by
                its steps; None where nothing was decided.
        """
        if operation or record["st"] != "ok" or record.get("fb"):
            return True
        if operation is not None:
            return False
        return self._has_room(record, target, header["sampling"], header["rate"], waiting)

    def _has_room(self, record: Mapping[str, Any], target: str, share: float, rate: float, waiting: int) -> bool:
        if waiting >= rate * _QUEUE:
            return False
        identifier = record["par"] if record.get("pk") in GROUPED else record["id"]
        if share < 1.0 and zlib.crc32(identifier.encode()) >= share * 2**32:
            return False
        began = record["t0"]
        allowance, last = self._allowance.get(target, (rate * _BURST, began))
        allowance = min(rate * _BURST, allowance + max(0.0, began - last) * rate)
        taken = bool(allowance >= 1.0)
        self._allowance[target] = (allowance - taken, max(began, last))
        return taken
