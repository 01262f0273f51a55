"""State per process, not per executor. The only module of the core with module-level state.

``process_trackers`` gives every executor of this process a tracker. Executors do not know each other, so a host that
wants everything in its process recorded has no executor to ask. ``fork_callbacks`` runs code in a child process after
``os.fork``, because Python's own registration cannot be undone and would keep each executor alive. ``fork_gate`` keeps
forks away from native code. ``active_cassettes`` says which cassette takes the calls of this context. ``said_notes``
knows which notes were printed.

A component says with an attribute ``fork_safe`` whether it works in a child process. One that was made by its name is
cheap to make again, so it is used on only if ``fork_safe`` is true. One that the host passed as an object cannot be
made again; it is used on unless ``fork_safe`` is false.

Trackers and callbacks hold executors weakly: registering keeps nothing alive.
"""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from collections.abc import Callable, Mapping, Set
from contextvars import ContextVar, Token
from types import MethodType
from typing import TYPE_CHECKING, Any, Final, Protocol

from hokusai_core.errors import ConfigurationError, ForkError

if TYPE_CHECKING:
    from hokusai_core.events import FeedbackGiven, OutcomeRecorded

__all__ = [
    "ActiveCassettes",
    "ForkCallbacks",
    "ForkGate",
    "ProcessTrackers",
    "SaidNotes",
    "TrackerHost",
    "active_cassettes",
    "check_fork_safe",
    "fork_callbacks",
    "fork_gate",
    "made_after_fork",
    "process_trackers",
    "said_notes",
]


class ClosableTracker(Protocol):
    """What is needed of a tracker here. ``hokusai_core.protocols`` has all of it, but knows signatures."""

    def record(self, event: Any) -> None:
        """Accept one event."""
        ...

    def close(self) -> None:
        """Release everything."""
        ...


class TrackerHost(Protocol):
    """What ``ProcessTrackers`` needs of an executor's observers."""

    @property
    def trackers(self) -> Mapping[str, ClosableTracker]:
        """The trackers by name."""
        ...

    @property
    def replaceable(self) -> Set[str]:
        """Names of trackers that the executor made from nothing but their names."""
        ...

    def add(self, name: str, tracker: Any) -> None:
        """Use one more tracker."""
        ...

    def remove(self, name: str) -> object:
        """Use a tracker no longer."""
        ...

    def remembers(self, execution_id: str) -> bool:
        """Return whether this executor made the execution."""
        ...

    def feedback(self, event: FeedbackGiven | OutcomeRecorded) -> None:
        """Pass feedback or an outcome to the trackers."""
        ...


class ProcessTrackers:
    """Gives every executor a tracker of its own, those made before and those made later.

    Example::

        process_trackers.add("jsonl", lambda: JsonlTracker("executions.jsonl"))
        ...
        process_trackers.remove("jsonl")
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._factories: dict[str, tuple[Callable[[], ClosableTracker], bool]] = {}
        self._members: weakref.WeakSet[TrackerHost] = weakref.WeakSet()
        self._given: weakref.WeakKeyDictionary[TrackerHost, dict[str, ClosableTracker]] = weakref.WeakKeyDictionary()
        fork_callbacks.add(self._after_fork)

    def _after_fork(self) -> None:
        self._lock = threading.RLock()

    def add(self, name: str, factory: Callable[[], ClosableTracker], *, replace: bool = False) -> None:
        """Give each executor a tracker, from now on.

        Args:
            name: name of the tracker. An executor that has one of that name keeps its own. What was added under the
                name before is taken back first.
            factory: makes a tracker; called once for each executor.
            replace: whether it also replaces trackers that executors have made themselves from nothing but the name,
                until it is removed. A tracker object that a host has passed always stays.
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

    def feedback(self, event: FeedbackGiven | OutcomeRecorded) -> bool:
        """Pass feedback or an outcome to the executors of this process that made the execution.

        If another process made it, all executors with trackers get it: a tracker knows an execution by its id.

        Returns:
            Whether any executor got it.
        """
        with self._lock:
            hosts = list(self._members)
        makers = [member for member in hosts if member.remembers(event.execution_id)]
        members = makers or [member for member in hosts if member.trackers]
        for member in members:
            member.feedback(event)
        return bool(members)

    def join(self, member: TrackerHost) -> None:
        """Let the observers of a new executor take part."""
        with self._lock:
            self._members.add(member)
            for name, (factory, replace) in self._factories.items():
                self._give(member, name, factory, replace)

    def leave(self, member: TrackerHost) -> None:
        """Forget the observers of an executor that is being closed; it closes its trackers itself."""
        with self._lock:
            self._members.discard(member)
            self._given.pop(member, None)

    def remade(self, member: TrackerHost) -> dict[str, Any]:
        """Return new trackers in place of those that were given before this process was forked."""
        with self._lock:
            given = self._given.get(member, {})
            stale = [name for name, tracker in given.items() if getattr(tracker, "fork_safe", False) is not True]
            for name in stale:
                given[name] = self._factories[name][0]()
            return {name: given[name] for name in stale}

    def _give(self, member: TrackerHost, name: str, factory: Callable[[], ClosableTracker], replace: bool) -> None:
        if name not in member.trackers or (replace and name in member.replaceable):
            tracker = factory()
            member.add(name, tracker)
            self._given.setdefault(member, {})[name] = tracker

    def _take_back(self, name: str) -> list[ClosableTracker]:
        taken = []
        for member, given in list(self._given.items()):
            tracker = given.pop(name, None)
            if tracker is not None and member.trackers.get(name) is tracker:
                member.remove(name)
                taken.append(tracker)
        return taken


def _close(trackers: list[ClosableTracker]) -> None:
    for tracker in trackers:  # outside the lock: closing may wait for delivery
        tracker.close()


class ForkGate:
    """Lets no fork happen while a thread is inside native code that does not survive one.

    The locks of a native library such as SQLite are copied as they are. A child whose parent had a thread inside would
    wait for ever at its first call. So such calls are made inside this gate, and a fork waits until they are over, at
    most for ``patience``.

    Args:
        patience: seconds that a fork waits at most.

    Example::

        with fork_gate:
            connection.execute("SELECT 1")
    """

    def __init__(self, patience: float = 20.0) -> None:
        self._patience = patience
        self._changed = threading.Condition(threading.Lock())
        #: Thread -> how many times it is inside.
        self._inside: dict[int, int] = {}
        #: Forks that wait or are under way.
        self._shut_by = 0
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._shut, after_in_parent=self._open, after_in_child=self._renew)

    def __enter__(self) -> None:
        # Without a lock, since each cache hit comes here: a thread changes no entry but its own. It enters first and
        # looks for a fork then, and a fork shuts the gate first and looks for threads then, so one sees the other.
        own = threading.get_ident()
        depth = self._inside[own] = self._inside.get(own, 0) + 1
        # A thread that was inside already must get in again, or the fork would wait for it in vain.
        if self._shut_by and depth == 1:
            self._let_pass(own)

    def __exit__(self, *_exception: object) -> None:
        own = threading.get_ident()
        depth = self._inside[own] - 1
        if depth:
            self._inside[own] = depth
            return
        del self._inside[own]
        if self._shut_by:
            with self._changed:
                self._changed.notify_all()

    def _let_pass(self, own: int) -> None:
        """Step outside for as long as a fork is under way."""
        with self._changed:
            self._inside.pop(own)
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._shut_by, self._patience)
            self._inside[own] = 1

    def _shut(self) -> None:
        own = threading.get_ident()
        with self._changed:
            self._shut_by += 1
            self._changed.wait_for(lambda: all(thread == own for thread in list(self._inside)), self._patience)

    def _open(self) -> None:
        with self._changed:
            self._shut_by -= 1
            self._changed.notify_all()

    def _renew(self) -> None:
        own = threading.get_ident()
        self._changed = threading.Condition(threading.Lock())
        self._inside = {own: self._inside[own]} if own in self._inside else {}
        self._shut_by = 0


class ForkCallbacks:
    """Methods that run in a child process right after ``os.fork``, in the order in which they were added.

    Attributes:
        generation: number of forks between the process that imported this module and this one.

    Example::

        fork_callbacks.add(self._renew_locks)
    """

    def __init__(self) -> None:
        #: A dict is changed in one step, so a fork on another thread never sees it half changed.
        self._methods: dict[int, tuple[weakref.ref[Any], Callable[[Any], Any]]] = {}
        self._numbers = itertools.count()
        self.generation = 0
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._run)

    def add(self, method: Callable[[], Any]) -> None:
        """Run a bound method in each child process, for as long as its object is alive.

        The method runs in the only thread of the child, before any other code. It must take no lock that another
        thread of the parent may have held; it replaces such locks.
        """
        number, methods = next(self._numbers), self._methods
        # Not `weakref.WeakMethod`: one that dies while the interpreter ends prints an error of its own.
        if not isinstance(method, MethodType):
            raise TypeError(f"expected a bound method, got {method!r}")
        owner = weakref.ref(method.__self__, lambda _: methods.pop(number, None))
        methods[number] = owner, method.__func__

    def _run(self) -> None:
        self.generation += 1
        errors: list[Exception] = []
        for reference, method in list(self._methods.values()):
            owner = reference()
            if owner is not None:
                try:
                    method(owner)
                except Exception as error:  # the others must be renewed too
                    errors.append(error)
        if errors:
            raise ExceptionGroup("renewing objects after a fork", errors)


class ActiveCassettes:
    """The cassettes that take calls of this process: those inside of whose ``with`` block it is.

    Of several, that of the context counts. A thread that the host has started itself has no context of its own; it uses
    the only cassette that there is.
    """

    def __init__(self) -> None:
        self._entered: list[Any] = []
        self._of_context: ContextVar[Any] = ContextVar("hokusai_cassette", default=None)

    def enter(self, cassette: Any) -> tuple[Any, Token[Any]]:
        """Let a cassette take calls; return what ``leave`` needs."""
        self._entered.append(cassette)
        return cassette, self._of_context.set(cassette)

    def leave(self, entered: tuple[Any, Token[Any]]) -> None:
        """Let it take no more calls."""
        cassette, token = entered
        self._entered.remove(cassette)
        try:
            self._of_context.reset(token)
        except ValueError:  # left in another context than it was entered in, as asynchronous fixtures are
            self._of_context.set(None)

    @property
    def current(self) -> Any:
        """The cassette that takes calls here; None for none.

        Raises:
            ConfigurationError: there are several, and this thread has none of them.
        """
        entered = self._entered
        if not entered:
            return None
        own = self._of_context.get()
        if own in entered:
            return own
        if len(set(entered)) > 1:
            raise ConfigurationError(
                "several cassettes are in use, and this thread was started outside of them: start it with "
                "contextvars.copy_context().run, or give the executor its cassette with Executor(cassette=...)"
            )
        return entered[0]


#: What the child processes of this process run first.
fork_callbacks: Final = ForkCallbacks()

#: What native code of components runs inside of.
fork_gate: Final = ForkGate()

#: Which cassette takes calls.
active_cassettes: Final = ActiveCassettes()

#: Trackers of every executor of this process.
process_trackers: Final = ProcessTrackers()


class SaidNotes:
    """Knows which notes were printed in this process. Safe to use from many threads."""

    def __init__(self) -> None:
        self._said: dict[str, object] = {}

    def is_new(self, note: str) -> bool:
        """Return whether a note was not asked for before, and remember it."""
        new = object()
        return self._said.setdefault(note, new) is new  # of several threads, one finds its own


#: Notes that were printed in this process.
said_notes: Final = SaidNotes()


def made_after_fork(component: object) -> bool:
    """Return whether a component that was made by its name must be made again in a child process."""
    return getattr(component, "fork_safe", False) is not True


def check_fork_safe(kind: str, name: str, component: object) -> None:
    """Raise where a component that the host passed cannot be used in a child process.

    Raises:
        ForkError: it says ``fork_safe = False``.
    """
    if getattr(component, "fork_safe", None) is False:
        raise ForkError(
            f"{kind} {name!r} does not work in a process that was forked after it was made ({type(component).__name__} "
            "says fork_safe = False): make the executor after the fork, or pass the component by its name"
        )
