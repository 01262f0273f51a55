"""MlflowTracker: accepts executions on the caller's thread in microseconds, and leaves the rest to the writer."""

from __future__ import annotations

import asyncio
import atexit
import os
import secrets
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from hokusai_mlflow.blocks import watch_end
from hokusai_mlflow.content import ContentPolicy
from hokusai_mlflow.courier import Courier, TrackingWarning, read_status
from hokusai_mlflow.destination import Context, Destinations, default_uri, public_uri
from hokusai_mlflow.encode import Encoder
from hokusai_mlflow.options import TrackingOptions, make_options
from hokusai_mlflow.spool import SegmentAppender
from hokusai_mlflow.waiting import ACKNOWLEDGED, spool_status

if TYPE_CHECKING:
    from hokusai_core import ExecutionFinished, FeedbackGiven, OperationFinished

    Event = ExecutionFinished | FeedbackGiven | OperationFinished

__all__ = ["MlflowTracker"]

#: Seconds between looks at whether a flush is done.
_POLL: Final = 0.02
#: Seconds for which appending is not tried again after the disk refused a record.
_PAUSE: Final = 1.0


class MlflowTracker:
    """Records executions in MLflow without the caller noticing.

    ``record`` appends one line to the spool. A writer process, started when there is something to deliver, reads the
    spool and talks to MLflow. What was accepted survives the death of this process, of the writer and of the
    tracking server, and is delivered once.

    Args:
        **options: see ``TrackingOptions``.

    Raises:
        ConfigurationError: an option is unknown or has a value that cannot be used.

    Example::

        with Executor(trackers={"mlflow": MlflowTracker(experiment="Mails", sampling=0.1)}) as executor:
            executor.execute_signature("EmailDraft", inputs)
    """

    def __init__(self, **options: Any) -> None:
        self._state = _State(make_options(options))
        # Neither the exit of the process nor the end of a forgotten tracker needs the tracker itself.
        weakref.finalize(self, self._state.abandon).atexit = False

    @property
    def options(self) -> TrackingOptions:
        """The options that this tracker works with."""
        return self._state.options

    def record(self, event: Event) -> None:
        """Accept one event: one unbuffered append to the spool."""
        self._state.record(event)

    def flush(self, timeout: float | None = None) -> bool:
        """Have everything delivered that was accepted so far.

        Args:
            timeout: seconds to wait at most, None for as long as it takes.

        Returns:
            Whether MLflow has all of it.
        """
        for pause in self._state.flushing(timeout):
            time.sleep(pause)
        return self._state.delivered

    async def aflush(self, timeout: float | None = None) -> bool:
        """Do as ``flush`` without blocking the event loop."""
        for pause in self._state.flushing(timeout):
            await asyncio.sleep(pause)
        return self._state.delivered

    def anchor(self) -> AbstractContextManager[None]:
        """Return a context whose copies, on whatever thread, record in the host's run that is active here."""
        return self._state.anchor()

    def status(self) -> Mapping[str, Any]:
        """Return JSON-able figures: accepted, refused, backlog, lag, the last error, where it goes."""
        return self._state.status()

    def close(self) -> None:
        """Deliver what waits, for ``exit_timeout`` seconds at most; the writer goes on with the rest."""
        self._state.close()


class _State:
    """What a tracker holds; outlives it where delivery has to be finished."""

    def __init__(self, options: TrackingOptions) -> None:
        self.options = options
        self.delivered = True
        self._policy = ContentPolicy(options)
        self._encoder = Encoder(self._policy)
        self._encode: Mapping[str, Callable[[Any, int], bytes]] = {
            "ExecutionFinished": self._encoder.execution,
            "OperationFinished": self._encoder.operation,
            "FeedbackGiven": self._encoder.feedback,
        }
        self._destinations = Destinations(options)
        self._spool = SegmentAppender(options.spool_folder)
        self._courier = self._make_courier()
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._dirty = False
        self._refused = self._unreported = self._notes = 0
        self._last_refusal: str | None = None
        self._paused_until = 0.0
        self._open = True
        self._used = self._warned_of_blocks = False

    # -- on the caller's thread ---------------------------------------------------------------------------------

    def record(self, event: Event) -> None:
        """Append ``event`` to the spool, or count it as refused."""
        if os.getpid() != self._pid:
            self._after_fork()
        courier = self._courier
        if courier.full or self._paused_until:
            reason = self._reason_to_refuse()
            if reason is not None:
                return self._refuse(reason)
        context = self._destinations.current()
        record = self._encode[type(event).__name__](event, context.number)
        try:
            self._spool.append(record, context.number, context.record)
        except OSError as error:
            self._paused_until = time.monotonic() + _PAUSE
            return self._refuse(f"{type(error).__name__}: {error}")
        self._dirty = True
        if not self._used:
            self._first_use()
        if context.run_id is not None and not watch_end(context.run_id, self._deliver_block):
            self._warn_of_late_blocks()
        if self._unreported:
            self._report_refused(context)
        courier.poke()
        return None

    def _warn_of_late_blocks(self) -> None:
        if not self._warned_of_blocks:
            self._warned_of_blocks = True
            warnings.warn(
                "MLflow tracking: this version of MLflow has no place to wait at the end of a run; what runs in a "
                "`with mlflow.start_run()` block is delivered to its run shortly after the block has ended, or by "
                "executor.flush()",
                TrackingWarning,
                stacklevel=4,
            )

    def _first_use(self) -> None:
        self._used = True
        atexit.register(self.close)

    def _reason_to_refuse(self) -> str | None:
        if self._courier.full:
            self._courier.poke()  # it looks again whether there is room
            return f"the spool folder holds as much as it may ({self.options.spool_size} bytes)"
        if time.monotonic() < self._paused_until:
            return self._last_refusal
        self._paused_until = 0.0
        return None

    def _refuse(self, reason: str | None) -> None:
        with self._lock:
            self._refused += 1
            self._unreported += 1
            self._last_refusal = reason
            first = self._refused == 1
        if first:
            warnings.warn(
                f"MLflow tracking: {self.options.spool_folder} takes no more executions ({reason}); they go on, "
                "untracked and counted, until there is room. `hokusai tracking status` shows what waits",
                TrackingWarning,
                stacklevel=4,
            )

    def _report_refused(self, context: Context) -> None:
        with self._lock:
            count, self._unreported = self._unreported, 0
        try:
            self._append({"k": "r", "c": context.number, "n": count}, context)
        except OSError:
            with self._lock:
                self._unreported += count

    def _append(self, record: Mapping[str, Any], context: Context) -> None:
        """Append a record that is no execution."""
        self._spool.append(orjson.dumps(record), context.number, context.record)
        with self._lock:
            self._notes += 1

    def anchor(self) -> AbstractContextManager[None]:
        """See ``MlflowTracker.anchor``."""
        return self._destinations.anchor()

    # -- delivery -----------------------------------------------------------------------------------------------

    def flushing(self, timeout: float | None, run_id: str | None = None) -> Iterator[float]:
        """Yield seconds to wait until everything, or everything of one run, is delivered; sets ``delivered``."""
        self.delivered = not self._dirty
        if self.delivered:
            return
        self._dirty = False
        token = secrets.token_hex(8)
        acknowledged = self.options.spool_folder / ACKNOWLEDGED / token
        end = None if timeout is None else time.monotonic() + timeout
        try:
            self._append({"k": "b", "c": 0, "id": token, "run_id": run_id}, self._destinations.current())
            while True:
                self._courier.ensure_writer()
                for _ in range(25):
                    if acknowledged.exists():
                        acknowledged.unlink(missing_ok=True)
                        self.delivered = True
                        return
                    if end is not None and time.monotonic() >= end:
                        return
                    yield _POLL
        except OSError:
            return
        finally:
            # Records of other runs may wait, and what was not delivered has to be asked for again.
            self._dirty = self._dirty or not self.delivered or run_id is not None

    def _deliver_block(self, run_id: str) -> None:
        timeout = self.options.run_timeout
        for pause in self.flushing(timeout, run_id):
            time.sleep(pause)
        if not self.delivered:
            warnings.warn(
                f"MLflow tracking: run {run_id} has ended before everything that ran in it was delivered; the rest "
                f"follows as soon as MLflow takes it (waited {timeout:g} s)",
                TrackingWarning,
                stacklevel=2,
            )

    def close(self) -> None:
        """Say that this tracker's run is over, deliver, and release everything."""
        if not self._open:
            return
        self._open = False
        atexit.unregister(self.close)
        if self._used and os.getpid() == self._pid:
            self._say_goodbye()
            if self.options.writer == "process":
                for pause in self.flushing(self.options.exit_timeout):
                    time.sleep(pause)
        self._courier.stop()
        self._spool.close()

    def abandon(self) -> None:
        """Do as ``close`` without waiting: the tracker was forgotten, and garbage collection must not stand still."""
        if self._open and os.getpid() == self._pid:
            self._open = False
            atexit.unregister(self.close)
            if self._used:
                self._say_goodbye()
                self._courier.poke()
            self._spool.close()

    def _say_goodbye(self) -> None:
        for context in self._destinations.known:
            if context.run_id is None:
                try:
                    self._append({"k": "x", "c": context.number}, context)
                    self._dirty = True
                except OSError as error:
                    self._last_refusal = f"{type(error).__name__}: {error}"

    # -- the rest -----------------------------------------------------------------------------------------------

    def status(self) -> Mapping[str, Any]:
        """Return figures of this tracker and of the spool folder that it shares with others."""
        writer = read_status(self.options.spool_folder)
        destination = self._destinations.current()
        return {
            "accepted": self._spool.records - self._notes,
            "refused": self._refused,
            "last_refusal": self._last_refusal,
            "redaction_failures": self._policy.redaction_failures,
            "run_name": self._destinations.run_name,
            **spool_status(self.options.spool_folder, writer),
            "tracking_uri": public_uri(destination.uri),
        }

    def _make_courier(self) -> Courier:
        options = self.options
        return Courier(
            options.spool_folder,
            options.spool_size,
            self._destinations.secret_uris,
            start=options.writer == "process",
            first=self._announce,
        )

    def _announce(self) -> None:
        """Say once for a store how to look at it, where nobody configured one."""
        uri = default_uri()
        if all(context.uri != uri for context in self._destinations.known):
            return
        folder = Path(uri.removeprefix("sqlite:///")).parent
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            (folder / ".announced").touch(exist_ok=False)
        except FileExistsError:
            return
        sys.stderr.write(f"hokusai: executions are tracked; look at them with: mlflow ui --backend-store-uri {uri}\n")

    def _after_fork(self) -> None:
        self._pid = os.getpid()
        self._spool.after_fork()
        self._courier = self._make_courier()
        self._lock = threading.Lock()
        self._refused = self._unreported = self._notes = 0
        self._dirty = self._used = False
