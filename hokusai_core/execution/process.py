"""Trackers for every executor of the process: the one thing here that is shared between executors.

A host that says "track whatever runs in this process" asks for something that no executor can give it, since executors
do not know each other. ``process_trackers`` knows them all, weakly: it keeps none alive, holds nothing but what the
host has put in, and ``remove`` takes everything back. Nothing of the core reads it on the path of an execution.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hokusai_core.events import FeedbackGiven
    from hokusai_core.execution.observers import Observers
    from hokusai_core.protocols import Tracker

__all__ = ["ProcessTrackers", "process_trackers"]


class ProcessTrackers:
    """Gives every executor a tracker of its own, those made before and those made later.

    Example::

        process_trackers.add("jsonl", lambda: JsonlTracker("executions.jsonl"))
        ...
        process_trackers.remove("jsonl")
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._factories: dict[str, tuple[Callable[[], Tracker], bool]] = {}
        self._members: weakref.WeakSet[Observers] = weakref.WeakSet()
        self._given: weakref.WeakKeyDictionary[Observers, dict[str, Tracker]] = weakref.WeakKeyDictionary()

    def add(self, name: str, factory: Callable[[], Tracker], *, replace: bool = False) -> None:
        """Give each executor a tracker, from now on.

        Args:
            name: name of the tracker. An executor that has one of that name keeps its own; what was added under the
                name before is taken back first.
            factory: makes a tracker; called once for each executor.
            replace: whether it also stands in, until it is removed, for trackers that executors have made themselves
                from nothing but the name. One that a host has made and handed over always stays.
        """
        with self._lock:
            stale = self._take_back(name)
            self._factories[name] = factory, replace
            for member in list(self._members):
                self._give(member, name, factory, replace)
        _close(stale)

    def remove(self, name: str) -> bool:
        """Take back and close what ``add`` gave; return whether there was anything under that name."""
        with self._lock:
            known = self._factories.pop(name, None) is not None
            stale = self._take_back(name)
        _close(stale)
        return known

    def feedback(self, event: FeedbackGiven) -> bool:
        """Tell feedback to the executors of this process that made the execution; return whether anybody heard of it.

        Where another process made it, all that have trackers hear of it: a tracker knows the execution by its id.
        """
        with self._lock:
            everybody = list(self._members)
        makers = [member for member in everybody if member.remembers(event.execution_id)]
        members = makers or [member for member in everybody if member.trackers]
        for member in members:
            member.feedback(event)
        return bool(members)

    def join(self, member: Observers) -> None:
        """Let the observers of a new executor take part."""
        with self._lock:
            self._members.add(member)
            for name, (factory, replace) in self._factories.items():
                self._give(member, name, factory, replace)

    def leave(self, member: Observers) -> None:
        """Forget the observers of an executor that is being closed; it closes its trackers itself."""
        with self._lock:
            self._members.discard(member)
            self._given.pop(member, None)

    def _give(self, member: Observers, name: str, factory: Callable[[], Tracker], replace: bool) -> None:
        if name not in member.trackers or (replace and name in member.replaceable):
            tracker = factory()
            member.add(name, tracker)
            self._given.setdefault(member, {})[name] = tracker

    def _take_back(self, name: str) -> list[Tracker]:
        taken = []
        for member, given in list(self._given.items()):
            tracker = given.pop(name, None)
            if tracker is not None and member.trackers.get(name) is tracker:
                member.remove(name)
                taken.append(tracker)
        return taken


def _close(trackers: list[Tracker]) -> None:
    for tracker in trackers:  # outside the lock: closing may wait for delivery
        tracker.close()


#: That of this process.
process_trackers: Final = ProcessTrackers()
