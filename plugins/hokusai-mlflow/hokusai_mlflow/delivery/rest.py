"""Rest: lets records gather while calls keep coming, so that the writer works when its caller does not."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hokusai_mlflow.delivery.intake import Intake

__all__ = ["Rest"]

#: Seconds without a new record after which the caller counts as being at something else.
_QUIET: Final = 2.0
#: Seconds for which a record is left alone at most.
_LONGEST: Final = 10.0
#: Bytes that are worth a step whatever the caller does.
_LOT: Final = 2**18
#: How the record of a flush begins, behind its checksum.
_FLUSH: Final = b'{"k":"b",'


class Rest:
    """Decides when new records are left where they are for a while.

    Args:
        intake: what knows which records are new.
    """

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._since: float | None = None
        #: Segment -> up to where it was searched for somebody who waits.
        self._searched: dict[str, int] = {}

    def is_better(self) -> bool:
        """Return whether there are new records, and none of them has to be dealt with yet."""
        with contextlib.suppress(FileNotFoundError):  # its tracker is gone, or the whole folder
            if self._may_wait():
                return True
        self._since = None
        self._searched.clear()
        return False

    def _may_wait(self) -> bool:
        size, latest = 0, 0.0
        for entry, offset in self._intake.unread():
            stat = entry.stat()
            size, latest = size + stat.st_size - offset, max(latest, stat.st_mtime)
            if size > _LOT or self._somebody_waits(entry, offset):
                return False
        if not size or time.time() - latest > _QUIET:
            return False
        now = time.monotonic()
        self._since = self._since or now
        return now - self._since < _LONGEST

    def _somebody_waits(self, entry: os.DirEntry[str], offset: int) -> bool:
        start = max(offset, self._searched.get(entry.name, 0))
        with open(entry.path, "rb") as segment:
            segment.seek(start)
            data = segment.read(_LOT)
        end = data.rfind(b"\n") + 1
        self._searched[entry.name] = start + end
        return _FLUSH in data[:end]
