"""Observers: an ``on_*`` hook may fail, and one that keeps failing is muted."""

from __future__ import annotations

import threading
from typing import Final

from hokusai_core.plugins.failures import FailureLog, PluginFailure, describe_error
from hokusai_core.plugins.fix_hints import or_turn_off
from hokusai_core.plugins.records import PluginRecord
from hokusai_core.process import fork_callbacks

__all__ = ["MUTED_AFTER", "ObserverGuard"]

#: Failures in a row after which an observer is no longer called.
MUTED_AFTER: Final = 10


class ObserverGuard:
    """Counts the failures of each observer; may be used by many threads at once.

    Args:
        failures: where failures are kept; the first of an observer is warned about, and its muting.
    """

    def __init__(self, failures: FailureLog) -> None:
        self._failures = failures
        self._lock = threading.Lock()
        self._streaks: dict[tuple[str, str], int] = {}
        self._totals: dict[tuple[str, str], int] = {}
        fork_callbacks.add(self._after_fork)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()

    def is_muted(self, plugin: str, hook: str) -> bool:
        """Return whether the observer failed too often in a row."""
        return self._streaks.get((plugin, hook), 0) >= MUTED_AFTER

    def succeeded(self, plugin: str, hook: str) -> None:
        """Note that an observer works (again). One that is muted meanwhile stays so."""
        if self._streaks.get((plugin, hook), 0):
            with self._lock:
                if not self.is_muted(plugin, hook):
                    self._streaks[plugin, hook] = 0

    def failed(self, record: PluginRecord, hook: str, error: BaseException) -> None:
        """Note that an observer raised."""
        observer = (record.name, hook)
        with self._lock:
            was_muted = self.is_muted(*observer)
            self._streaks[observer] = self._streaks.get(observer, 0) + 1
            self._totals[observer] = count = self._totals.get(observer, 0) + 1
            muted = self.is_muted(*observer)
            remedy = f"Executions go on; it is no longer called after {MUTED_AFTER} failures in a row."
            self._failures.add(
                PluginFailure(
                    plugin=record.name,
                    distribution=record.distribution,
                    version=record.version,
                    phase="observe",
                    # As text: an exception would keep every frame of an execution alive, and its inputs with it.
                    cause=describe_error(error),
                    remedy=or_turn_off(remedy, record.name),
                    subject=hook,
                    count=count,
                )
            )
            if muted and not was_muted:
                self._failures.say(
                    or_turn_off(
                        f"{hook} of plugin {record.owner} failed {MUTED_AFTER} times in a row and is no longer called",
                        record.name,
                    )
                )
