"""The observe stage: notifies trackers and ``on_*`` hooks of every execution. They cannot slow or break it."""

from __future__ import annotations

import contextlib
import functools
import threading
import warnings
from typing import TYPE_CHECKING, Any, Final

from hokusai_core.events import OutcomeRecorded
from hokusai_core.loggers import AreaLogger
from hokusai_core.process import check_fork_safe, fork_callbacks, made_after_fork, process_trackers
from hokusai_core.redaction import scrubbed_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from hokusai_core.events import (
        EvaluationFinished,
        ExecutionFinished,
        ExecutionStarted,
        FeedbackGiven,
        OperationFinished,
        OptimizationFinished,
        TrackedEvent,
    )
    from hokusai_core.plugins import PluginManager
    from hokusai_core.protocols import Tracker

__all__ = ["ObserverWarning", "Observers"]

_LOG: Final = AreaLogger("tracking")


#: Executions whose feedback finds its way back to the trackers that recorded them.
_REMEMBERED = 10_000


class ObserverWarning(UserWarning):
    """A tracker failed to accept or deliver an event; executions go on."""


class Observers:
    """The trackers of an executor and the observer hooks of its plugins.

    Args:
        plugins: whose ``on_*`` hooks are called.
        trackers: name -> tracker.
        replaceable: names of trackers that were made from nothing but their names.
        remake: makes such a tracker again; None where there are none.
    """

    def __init__(
        self,
        plugins: PluginManager,
        trackers: Mapping[str, Tracker],
        *,
        replaceable: Iterable[str] = (),
        remake: Callable[[str], Tracker | None] | None = None,
    ) -> None:
        self._plugins, self._remake = plugins, remake
        self._trackers = dict(trackers)
        self.replaceable = frozenset(replaceable) & self._trackers.keys()
        #: Trackers of the parent process that are not used here, and whether that has been decided yet.
        self._inherited: list[Tracker] = []
        self._undecided = False
        #: Trackers whose place another one has taken for the time being.
        self._aside: dict[str, Tracker] = {}
        self._failures: dict[str, int] = {}
        self._lock = threading.Lock()
        #: Executions that were kept for feedback, the latest last. Feedback on them is reported through this object.
        self._remembered: dict[str, None] = {}
        #: Whether there are observers of executions; read on the path of every cache hit. The plugins are asked when
        #: there is the first event, because asking imports them.
        self.hear_start = self.hear_end = True
        self._asked = False
        #: Whether a tracker wants to see prompts and raw answers.
        self.wants_exchanges = False
        #: Whether a tracker wants to see the prompts of signatures.
        self.wants_prompts = False
        #: Whether a tracker has to know when executions begin.
        self.hear_begin = False
        self._note_wishes()
        process_trackers.join(self)
        fork_callbacks.add(self._after_fork)

    def _note_wishes(self) -> None:
        trackers = self._trackers
        self.wants_exchanges = _wants(trackers, "wants_exchanges")
        self.wants_prompts = _wants(trackers, "wants_prompts")
        self.hear_begin = _hear_begin(trackers)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        self._asked, self.hear_start, self.hear_end = False, True, True
        self._undecided = True

    def _take_over(self) -> None:
        """Decide in a forked process, before the first event, which trackers of the parent are used here.

        Raises:
            ForkError: a tracker that the host has passed does not work here.
        """
        with self._lock:
            if not self._undecided:
                return
            remade = process_trackers.remade(self)
            for name, tracker in self._trackers.items():
                if name in remade:
                    continue
                if self._remake is None or name not in self.replaceable:
                    check_fork_safe("tracker", name, tracker)
                elif made_after_fork(tracker):
                    fresh = self._remake(name)
                    if fresh is not None:
                        remade[name] = fresh
            # Kept, as closing one would close what the parent uses.
            self._inherited += [self._trackers[name] for name in remade]
            self._trackers = self._trackers | remade
            self._undecided = False

    def add(self, name: str, tracker: Tracker) -> None:
        """Notify ``tracker`` of every execution from now on. It replaces one of the same name until ``remove``."""
        with self._lock:
            if name in self._trackers:
                self._aside[name] = self._trackers[name]
            self._trackers = {**self._trackers, name: tracker}  # readers keep the old dict: no lock on their path
            self._note_wishes()
            self._asked, self.hear_end = False, True

    def remove(self, name: str) -> Tracker | None:
        """Stop notifying the tracker of that name and return it, or None if there is none.

        The tracker that it had replaced, if any, is notified of executions again.
        """
        with self._lock:
            tracker, before = self._trackers.get(name), self._aside.pop(name, None)
            others = {other: kept for other, kept in self._trackers.items() if other != name}
            self._trackers = others if before is None else {**others, name: before}
            self._note_wishes()
            self._asked, self.hear_end = False, True
        return tracker

    @property
    def trackers(self) -> Mapping[str, Tracker]:
        """The trackers by name."""
        if self._undecided:
            self._take_over()
        return self._trackers

    @property
    def failures(self) -> Mapping[str, int]:
        """How many times each tracker failed."""
        return dict(self._failures)

    def begin(self, execution_id: str, signature: str) -> None:
        """Tell trackers that an execution begins, in the context that everything of it runs in."""
        for name, tracker in self.trackers.items():
            begin = getattr(tracker, "begin_execution", None)
            if begin is not None:
                try:
                    begin(execution_id=execution_id, signature=signature)
                except Exception as error:
                    self._failed(name, error, execution_id)

    def started(self, event: ExecutionStarted) -> None:
        """Tell that an execution passed input validation."""
        self._ask()
        self._plugins.notify("on_execution_started", event)

    def finished(self, event: ExecutionFinished, *, track: bool) -> None:
        """Tell how an execution ended; trackers only where ``track``."""
        self._ask()
        if track:
            self._record(event)
        self._plugins.notify("on_execution_finished" if event.status == "ok" else "on_execution_failed", event)

    def remember(self, execution_id: str) -> None:
        """Report feedback on this execution through this object, for the next 10,000 executions."""
        with self._lock:
            self._remembered[execution_id] = None
            if len(self._remembered) > _REMEMBERED:
                del self._remembered[next(iter(self._remembered))]

    def remembers(self, execution_id: str) -> bool:
        """Return whether feedback on this execution is reported through this object."""
        return execution_id in self._remembered

    def operation(self, event: OperationFinished) -> None:
        """Tell trackers that a batch, chain or pipeline is over."""
        self._record(event)

    def feedback(self, event: FeedbackGiven | OutcomeRecorded) -> None:
        """Notify trackers and hooks that a user rated an execution, or trackers of an outcome."""
        self._record(event)
        if not isinstance(event, OutcomeRecorded):
            self._plugins.notify("on_feedback_given", event)

    def optimization(self, event: OptimizationFinished) -> None:
        """Tell that an optimization is over."""
        self._record(event)
        self._plugins.notify("on_optimization_finished", event)

    def evaluation(self, event: EvaluationFinished) -> None:
        """Tell that an evaluation is over."""
        self._record(event)
        self._plugins.notify("on_evaluation_finished", event)

    def _record(self, event: TrackedEvent) -> None:
        for name, tracker in self.trackers.items():
            try:
                tracker.record(event)
            except Exception as error:
                self._failed(name, error, getattr(event, "execution_id", ""))

    def _failed(self, name: str, error: Exception, execution_id: str = "") -> None:
        _LOG.warning("tracker %s failed: %s", name, type(error).__name__, execution_id=execution_id)
        with self._lock:
            count = self._failures[name] = self._failures.get(name, 0) + 1
        if count == 1:
            warnings.warn(
                f"tracker {name!r} failed ({scrubbed_error(error)}); executions go on, "
                "further failures are counted in executor.stats()",
                ObserverWarning,
                stacklevel=2,
            )

    def _ask(self) -> None:
        if self._asked:
            return
        if self._undecided:
            self._take_over()
        with self._lock:  # a tracker that is added meanwhile must not be overlooked
            self.hear_start = self._plugins.implements("on_execution_started")
            self.hear_end = bool(self._trackers) or any(
                self._plugins.implements(hook) for hook in ("on_execution_finished", "on_execution_failed")
            )
            self._asked = True

    def anchored(self, operation_id: str = "", kind: str = "", operation: str = "") -> contextlib.ExitStack:
        """Let trackers note where a call came from, before its work goes to other threads.

        A tracker may have a method ``anchor`` that returns a context manager. It is entered on the thread of the
        public call; context variables that it sets travel with the copied context to whatever runs the work. One with
        a method ``anchor_operation`` has that entered in its place, and gets to know what begins.

        Args:
            operation_id: id of the batch, chain or other operation that begins; empty for a single execution.
            kind: kind of the operation.
            operation: its name.
        """
        stack = contextlib.ExitStack()
        for name, tracker in self.trackers.items():
            anchor = getattr(tracker, "anchor", None)
            around = getattr(tracker, "anchor_operation", None) if operation_id else None
            if around is not None:
                anchor = functools.partial(around, operation_id=operation_id, kind=kind, name=operation)
            if anchor is not None:
                stack.enter_context(self._anchor(name, anchor))
        return stack

    @contextlib.contextmanager
    def _anchor(self, name: str, anchor: Callable[[], contextlib.AbstractContextManager[object]]) -> Iterator[None]:
        """Enter and leave the anchor of a tracker; what goes wrong in it is the tracker's failure."""
        inner = contextlib.ExitStack()
        try:
            inner.enter_context(anchor())
        except Exception as error:
            self._failed(name, error)
        try:
            yield
        finally:
            try:
                inner.close()
            except Exception as error:
                self._failed(name, error)

    def close(self) -> None:
        """Close the trackers, and take no further part in what is tracked for the whole process."""
        process_trackers.leave(self)
        failures: list[str] = []
        for name, tracker in [*self._trackers.items(), *self._aside.items()]:
            if self._undecided and getattr(tracker, "fork_safe", False) is not True:
                continue  # it belongs to the parent process
            try:
                tracker.close()
            except Exception as error:  # the other trackers must be closed too
                failures.append(
                    f"tracker {name!r} failed to close ({scrubbed_error(error)}); what it had not delivered "
                    "yet may be lost"
                )
        for failure in failures:  # afterwards, because a host may turn warnings into errors
            warnings.warn(failure, ObserverWarning, stacklevel=3)

    def flush_each(self, remaining: Any) -> Sequence[tuple[str, bool]]:
        """Flush every tracker; ``remaining`` returns the seconds that are left, or None for no bound."""
        every = [*self.trackers.items(), *self._aside.items()]
        return [(name, self._flush(name, tracker, remaining())) for name, tracker in every]

    def statuses(self) -> dict[str, Mapping[str, Any]]:
        """Return what each tracker tells of itself."""
        told: dict[str, Mapping[str, Any]] = {}
        for name, tracker in self.trackers.items():
            try:
                told[name] = dict(tracker.status())
            except Exception as error:  # figures of one tracker must not cost those of everything else
                told[name] = {"last_error": scrubbed_error(error)}
        return told

    def _flush(self, name: str, tracker: Tracker, timeout: float | None) -> bool:
        try:
            return tracker.flush(timeout)
        except Exception as error:  # the others must still be flushed
            self._failed(name, error)
            return False


def _wants(trackers: Mapping[str, Tracker], wish: str) -> bool:
    return any(getattr(tracker, wish, False) for tracker in trackers.values())


def _hear_begin(trackers: Mapping[str, Tracker]) -> bool:
    return any(hasattr(tracker, "begin_execution") for tracker in trackers.values())
