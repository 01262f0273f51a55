"""Recorder: what a tracker holds, on the caller's thread: spool, destinations, and who delivers."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from hokusai_mlflow import reserve
from hokusai_mlflow.blocks import watch_end
from hokusai_mlflow.content import ContentPolicy
from hokusai_mlflow.courier import Courier, TrackingWarning, read_status, start_writer, writer_is_running
from hokusai_mlflow.destination import Context, Destinations, default_uri, public_uri
from hokusai_mlflow.encode import Encoder
from hokusai_mlflow.exiting import AT_EXIT
from hokusai_mlflow.flushing import Deliveries, Wait
from hokusai_mlflow.options import TrackingOptions
from hokusai_mlflow.spool import SegmentAppender
from hokusai_mlflow.waiting import something_waits, spool_status

if TYPE_CHECKING:
    from hokusai_core.plugin_api import TrackedEvent

__all__ = ["Recorder"]

_FULL_DISK: Final = "its disk is full, and what room there is goes to the delivery of what waits"
#: Seconds for which appending is not tried again after the disk refused a record.
_PAUSE: Final = 1.0


class Recorder:
    """What a tracker holds; outlives it where delivery has to be finished."""

    def __init__(self, options: TrackingOptions) -> None:
        self.options = options
        self._policy = ContentPolicy(options)
        self._encoder = Encoder(self._policy)
        self._encode: Mapping[str, Callable[[Any, int], bytes]] = {
            "ExecutionFinished": self._encoder.execution,
            "OperationFinished": self._encoder.operation,
            "FeedbackGiven": self._encoder.feedback,
            "OptimizationFinished": self._encoder.optimization,
        }
        self._destinations = Destinations(options)
        self._spool = SegmentAppender(options.spool_folder, options.spool_size)
        self._pid = os.getpid()
        self._forked = False
        self._begin()
        self._refused = self._unreported = self._notes = 0
        self._last_refusal: str | None = None
        self._paused_until = 0.0
        self._open = True
        self._used = self._warned_of_blocks = False
        if options.writer == "process" and options.spool_folder.is_dir():
            self._destinations.current()  # a writer that starts needs the credentials of its address
            threading.Thread(target=self._deliver_leftovers, name="hokusai-tracking-leftovers", daemon=True).start()

    # -- on the caller's thread ---------------------------------------------------------------------------------

    def record(self, event: TrackedEvent) -> None:
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
            self._spool.close()
            return self._refuse(f"{type(error).__name__}: {error}")
        if self._spool.lost:
            self._warn_of_loss()
        if not self._used:
            self._used = True
            AT_EXIT.add(self)
        if context.run_id is not None and not watch_end(context.run_id, self._deliver_block):
            self._warn_of_late_blocks()
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

    def _warn_of_loss(self) -> None:
        self._spool.lost = False
        warnings.warn(
            f"MLflow tracking: the spool folder {self.options.spool_folder} was deleted while executions were tracked; "
            "what MLflow did not have by then is lost",
            TrackingWarning,
            stacklevel=4,
        )

    def _reason_to_refuse(self) -> str | None:
        folder = self.options.spool_folder
        if self._courier.full:
            self._spool.close()  # the writer deletes a segment only when nobody appends to it
            self._courier.poke()  # it looks again whether there is room
            if reserve.is_used(folder):
                return _FULL_DISK
            return f"the spool folder holds as much as it may ({self.options.spool_size} bytes)"
        if time.monotonic() < self._paused_until:
            return self._last_refusal
        if reserve.is_used(folder):
            return _FULL_DISK
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
        if not self._unreported:
            return
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

    def _deliver_leftovers(self) -> None:
        """Start a writer for what earlier processes have left behind, if there is anything and none runs."""
        folder = self.options.spool_folder
        with contextlib.suppress(OSError, subprocess.SubprocessError):  # the first execution meets it, too, and says so
            if something_waits(folder) and not writer_is_running(folder):
                start_writer(folder, self._destinations.secret_uris)

    def wait(self, timeout: float | None) -> Wait:
        """Return a wait for everything that was accepted so far."""
        return self._deliveries.wait(timeout)

    def _deliver_block(self, run_id: str) -> None:
        timeout, began = self.options.run_timeout, time.monotonic()
        wait = self._deliveries.wait(timeout, run_id=run_id, patient=False)
        for pause in wait:
            time.sleep(pause)
        if not wait.delivered:
            warnings.warn(
                f"MLflow tracking: run {run_id} has ended before everything that ran in it was delivered; the rest "
                f"follows as soon as MLflow takes it (waited {time.monotonic() - began:.0f} s of {timeout:g})",
                TrackingWarning,
                stacklevel=2,
            )

    def begin_closing(self) -> Wait | None:
        """Say that this tracker's run is over; return what is to be waited for, None where there is nothing."""
        if not self._open:
            return None
        self._open = False
        AT_EXIT.discard(self)
        if not self._used or os.getpid() != self._pid:
            return None
        self._say_goodbye()
        if self.options.writer == "none":
            return None
        return self._deliveries.wait(self.options.exit_timeout, patient=False)

    def end_closing(self, wait: Wait | None) -> None:
        """Release everything."""
        # Whoever deletes the folder last of all, such as a test that tidies up, need not be told so.
        if wait is not None and not wait.delivered and not self._spool.lost:
            self._courier.report()
        self._courier.stop()
        self._spool.close()

    def close(self) -> None:
        """Say that this tracker's run is over, deliver, and release everything."""
        if self._open:
            wait = self.begin_closing()
            for pause in wait or ():
                time.sleep(pause)
            self.end_closing(wait)

    def abandon(self) -> None:
        """Do as ``close`` without waiting: the tracker was forgotten, and garbage collection must not stand still."""
        if self._open and os.getpid() == self._pid:
            self._open = False
            AT_EXIT.discard(self)
            if self._used:
                self._say_goodbye()
                self._courier.poke()
            self._spool.close()

    def _say_goodbye(self) -> None:
        self._spool.look()
        for context in self._destinations.known:
            if context.run_id is None and not self._spool.lost:
                self._report_refused(context)
                try:
                    # The process that this one was forked from may go on with the run.
                    self._append({"k": "x", "c": context.number, "shared": self._forked}, context)
                except OSError as error:
                    self._last_refusal = f"{type(error).__name__}: {error}"

    # -- the rest -----------------------------------------------------------------------------------------------

    def status(self) -> Mapping[str, Any]:
        """Return figures of this tracker and of the spool folder that it shares with others."""
        writer = read_status(self.options.spool_folder)
        destination = self._destinations.current()
        return {
            **spool_status(self.options.spool_folder, writer),
            "accepted": self._spool.records - self._notes,
            "refused": self._refused,
            "last_refusal": self._last_refusal,
            "redaction_failures": self._policy.redaction_failures,
            "run_name": self._destinations.run_name,
            "tracking_uri": public_uri(destination.uri),
        }

    def _begin(self) -> None:
        """Make what belongs to one process."""
        options = self.options
        self._lock = threading.Lock()
        self._courier = Courier(
            options.spool_folder,
            options.spool_size,
            self._destinations.secret_uris,
            start=options.writer == "process",
            first=self._announce,
            each=self._spool.look,
        )
        self._deliveries = Deliveries(options.spool_folder, self._spool, self._courier, self._destinations)

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
        sys.stderr.write(
            f"hokusai: executions are tracked; look at them with: mlflow ui --backend-store-uri {uri}{_missing_ui()}\n"
        )

    def _after_fork(self) -> None:
        self._pid, self._forked = os.getpid(), True
        self._spool.after_fork()
        self._begin()
        self._refused = self._unreported = self._notes = 0
        self._used = False


def _missing_ui() -> str:
    try:
        importlib.metadata.distribution("mlflow")
    except importlib.metadata.PackageNotFoundError:
        return " (after pip install 'hokusai-mlflow[full]')"
    return ""
