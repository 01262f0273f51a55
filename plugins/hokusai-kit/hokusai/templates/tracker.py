"""AcmeSample: records executions in a file of JSON lines, which stands for a service."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hokusai_core.plugin_api import DurableOutbox, ExecutionFinished, TrackedEvent, user_data_folder

__all__ = ["AcmeSample"]

#: What is kept of an execution.
_FIELDS = ("execution_id", "signature", "status", "model", "latency", "cost", "inputs", "outputs", "started_at")


class AcmeSample:
    """Accepts executions on the caller's thread in microseconds, and sends them from another one.

    Args:
        folder: where executions wait until they are sent; left out, a folder of the user.
    """

    fork_safe = True  # as the outbox is

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self._folder = Path(folder) if folder is not None else user_data_folder("acme-plugin")
        self._outbox = DurableOutbox(self._folder, self._send)

    def _send(self, records: Sequence[bytes]) -> None:
        """Send records; if the process dies now, the same ones are sent again.

        Replace these lines by a call of your service. Raise if another try may help.
        """
        with (self._folder / "executions.jsonl").open("ab") as file:
            file.writelines(record + b"\n" for record in records)

    def record(self, event: TrackedEvent) -> None:
        """Accept an execution. Other events, such as feedback, are left out."""
        if isinstance(event, ExecutionFinished):
            facts = {name: getattr(event, name) for name in _FIELDS}
            self._outbox.append(json.dumps(facts, default=_plain).encode())

    def flush(self, timeout: float | None = None) -> bool:
        """Send what was accepted; return whether all was sent within ``timeout`` seconds."""
        return self._outbox.flush(timeout)

    async def aflush(self, timeout: float | None = None) -> bool:
        """Async version of ``flush``."""
        return await self._outbox.aflush(timeout)

    def status(self) -> Mapping[str, Any]:
        """Return figures: accepted, delivered, backlog, last error."""
        return self._outbox.status()

    def close(self) -> None:
        """Send what waits, for some seconds at most. The next process sends the rest."""
        self._outbox.close()


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)
