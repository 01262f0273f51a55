"""The observe stage: trackers and ``on_*`` hooks hear of every execution, and can neither slow nor break it."""

from __future__ import annotations

import contextlib
import threading
import warnings
from typing import TYPE_CHECKING, Any

from hokusai_core.execution.process import process_trackers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hokusai_core.events import ExecutionFinished, ExecutionStarted, FeedbackGiven
    from hokusai_core.plugins import PluginManager
    from hokusai_core.protocols import Tracker

__all__ = ["ObserverWarning", "Observers"]


class ObserverWarning(UserWarning):
    """A tracker failed to accept an event; the execution went on."""


class Observers:
    """The trackers of an executor and the observer hooks of its plugins.

    Args:
        plugins: whose ``on_*`` hooks are called.
        trackers: name -> tracker.
    """

    def __init__(self, plugins: PluginManager, trackers: Mapping[str, Tracker]) -> None:
        self._plugins = plugins
        self._trackers = dict(trackers)
        self._failures: dict[str, int] = {}
        self._lock = threading.Lock()
        self._refresh()
        process_trackers.join(self)

    def add(self, name: str, tracker: Tracker) -> None:
        """Let ``tracker`` hear of every execution from now on, in place of one of the same name."""
        with self._lock:
            self._trackers = {**self._trackers, name: tracker}  # readers keep the old dict: no lock on their path
            self._refresh()

    def remove(self, name: str) -> Tracker | None:
        """Stop telling the tracker of that name and return it, or None where there is none."""
        with self._lock:
            tracker = self._trackers.get(name)
            self._trackers = {other: kept for other, kept in self._trackers.items() if other != name}
            self._refresh()
        return tracker

    @property
    def trackers(self) -> Mapping[str, Tracker]:
        """The trackers by name."""
        return self._trackers

    @property
    def failures(self) -> Mapping[str, int]:
        """How many events each tracker failed to accept."""
        return dict(self._failures)

    def started(self, event: ExecutionStarted) -> None:
        """Tell that an execution passed input validation."""
        self._plugins.notify("on_execution_started", event)

    def finished(self, event: ExecutionFinished, *, track: bool) -> None:
        """Tell how an execution ended; trackers only where ``track``."""
        if track:
            self._record(event)
        self._plugins.notify("on_execution_finished" if event.status == "ok" else "on_execution_failed", event)

    def feedback(self, event: FeedbackGiven) -> None:
        """Tell that somebody rated an execution."""
        self._record(event)
        self._plugins.notify("on_feedback_given", event)

    def _record(self, event: ExecutionFinished | FeedbackGiven) -> None:
        for name, tracker in self._trackers.items():
            try:
                tracker.record(event)
            except Exception as error:
                self._failed(name, error)

    def _failed(self, name: str, error: Exception) -> None:
        with self._lock:
            count = self._failures[name] = self._failures.get(name, 0) + 1
        if count == 1:
            warnings.warn(
                f"tracker {name!r} did not accept an execution ({type(error).__name__}: {error}); executions go on, "
                "further failures are counted in executor.stats()",
                ObserverWarning,
                stacklevel=2,
            )

    def _refresh(self) -> None:
        #: Whether anybody hears of finished executions; read on the path of every cache hit.
        self.hear_start = self._plugins.implements("on_execution_started")
        self.hear_end: bool = bool(self._trackers) or any(
            self._plugins.implements(hook) for hook in ("on_execution_finished", "on_execution_failed")
        )

    def anchored(self) -> contextlib.ExitStack:
        """Let trackers note where a call came from, before its work goes to other threads.

        A tracker may have a method ``anchor`` that returns a context manager. It is entered on the thread of the
        public call; context variables that it sets travel with the copied context to whatever runs the work.
        """
        stack = contextlib.ExitStack()
        for tracker in self._trackers.values():
            anchor = getattr(tracker, "anchor", None)
            if anchor is not None:
                stack.enter_context(anchor())
        return stack

    def close(self) -> None:
        """Take no further part in what is tracked for the whole process."""
        process_trackers.leave(self)

    def flush_each(self, remaining: Any) -> Sequence[tuple[str, bool]]:
        """Flush every tracker; ``remaining`` returns the seconds that are left, or None for no bound."""
        return [(name, tracker.flush(remaining())) for name, tracker in self._trackers.items()]
