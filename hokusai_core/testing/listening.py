"""ListeningTracker: a tracker for tests that keeps every event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hokusai_core.events import ExecutionFinished, OperationFinished, TrackedEvent

__all__ = ["ListeningTracker"]


class ListeningTracker:
    """Keeps every event in memory, in order of arrival.

    Args:
        wants_exchanges: whether the events of executions are to carry prompts and raw answers.
        wants_prompts: whether events are to carry the prompt of the signature.

    Example:
        >>> from hokusai_core import Executor
        >>> from hokusai_core.testing.listening import ListeningTracker
        >>> from hokusai_core.testing.lm import null_lm
        >>> tracker = ListeningTracker()
        >>> with Executor(lm=null_lm(), plugins=[], trackers={"ear": tracker}) as executor:
        ...     executor.register_signature("Ask", "question -> answer")
        ...     result = executor.execute_signature("Ask", {"question": "Why?"})
        >>> [event.status for event in tracker.executions]
        ['ok']
    """

    def __init__(self, *, wants_exchanges: bool = False, wants_prompts: bool = False) -> None:
        self.wants_exchanges, self.wants_prompts = wants_exchanges, wants_prompts
        self.events: list[TrackedEvent] = []

    @property
    def executions(self) -> list[ExecutionFinished]:
        """The executions among the events."""
        return [event for event in self.events if isinstance(event, ExecutionFinished)]

    @property
    def operations(self) -> list[OperationFinished]:
        """The batches, chains and pipelines among the events."""
        return [event for event in self.events if isinstance(event, OperationFinished)]

    def record(self, event: TrackedEvent) -> None:
        """Keep an event."""
        self.events.append(event)

    def flush(self, timeout: float | None = None) -> bool:
        """Return True: nothing has to be delivered."""
        return True

    async def aflush(self, timeout: float | None = None) -> bool:
        """Return True: nothing has to be delivered."""
        return True

    def status(self) -> Mapping[str, Any]:
        """Return how many events there were."""
        return {"accepted": len(self.events), "delivered": len(self.events), "backlog": 0, "last_error": None}

    def close(self) -> None:
        """Do nothing; the events stay."""
