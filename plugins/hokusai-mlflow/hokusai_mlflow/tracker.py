"""MlflowTracker: accepts executions on the caller's thread in microseconds, and leaves the rest to the writer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import subprocess
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from hokusai_core.plugin_api import Outbox, OutboxFolder, private_folder
from hokusai_mlflow.content_policy import ContentPolicy
from hokusai_mlflow.delivery_supervisor import DeliverySupervisor, TrackingWarning, start_writer
from hokusai_mlflow.delivery_wait import AT_EXIT, DeliveryWait
from hokusai_mlflow.destination import Destination, Destinations, default_uri, public_uri
from hokusai_mlflow.options import TrackingOptions, make_options
from hokusai_mlflow.record_encoder import RecordEncoder
from hokusai_mlflow.spool_status import read_status, something_waits, spool_status, writer_is_running
from hokusai_mlflow.ui_command import missing_ui, short_ui_command

if TYPE_CHECKING:
    from hokusai_core.plugin_api import KeptExecution, PromptTemplate, TrackedEvent

__all__ = ["MlflowTracker"]

#: Seconds for which appending is not tried again after the disk refused a record.
_PAUSE: Final = 1.0
_ENDING: Final = orjson.dumps({"k": "x"})
#: Prompts that are remembered as appended; a service that opens a run per request must not grow.
_PROMPTS: Final = 4096

_log = logging.getLogger("hokusai.tracking")


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
        self._recording = _Recording(make_options(options))
        # Neither the exit of the process nor the end of a forgotten tracker needs the tracker itself.
        weakref.finalize(self, self._recording.abandon).atexit = False

    @property
    def options(self) -> TrackingOptions:
        """The options that this tracker works with."""
        return self._recording.options

    @property
    def wants_exchanges(self) -> bool:
        """Whether events are to carry prompts and raw answers, which traces show."""
        return self._recording.policy.exchanges

    @property
    def wants_prompts(self) -> bool:
        """Whether events are to carry the prompts of signatures, which become versions in the prompt registry."""
        return self._recording.policy.prompts

    def record(self, event: TrackedEvent) -> None:
        """Accept one event: one unbuffered append to the spool."""
        self._recording.record(event)

    def flush(self, timeout: float | None = None) -> bool:
        """Have everything delivered that was accepted so far.

        Args:
            timeout: seconds to wait at most, None for as long as it takes.

        Returns:
            Whether MLflow has all of it.
        """
        wait = self._recording.wait(timeout)
        for pause in wait:
            time.sleep(pause)
        return wait.delivered

    async def aflush(self, timeout: float | None = None) -> bool:
        """Async version of ``flush``."""
        wait = self._recording.wait(timeout)
        for pause in wait:
            await asyncio.sleep(pause)
        return wait.delivered

    def search(self, *, since: float | None = None, signature: str | None = None) -> Iterator[KeptExecution]:
        """Yield recorded executions of the experiment, the oldest first; what waits is delivered before.

        Args:
            since: seconds since the epoch from which on; None for all.
            signature: ``pack/Name`` or ``Name``; None for all.
        """
        from hokusai_mlflow.execution_search import search_executions  # recording and looking at the tracker do without

        self.flush(self.options.exit_timeout)
        uri, experiment = self._recording.destinations.place
        yield from search_executions(uri, experiment, since=since, signature=signature)

    def anchor(self) -> AbstractContextManager[None]:
        """Return a context whose copies, on whatever thread, record in the host's run that is active here."""
        return self._recording.destinations.anchor()

    def status(self) -> Mapping[str, Any]:
        """Return JSON-able figures: accepted, refused, backlog, lag, the last error, where it goes."""
        return self._recording.status()

    def close(self) -> None:
        """Deliver what waits, for ``exit_timeout`` seconds at most; the writer goes on with the rest."""
        self._recording.close()


class _Recording:
    """What a tracker holds. It outlives the tracker where delivery has to be finished."""

    def __init__(self, options: TrackingOptions) -> None:
        self.options = options
        self.policy = ContentPolicy(options)
        self.encoder = RecordEncoder(self.policy)
        self.destinations = Destinations(options)
        self.outbox = Outbox(options.spool_folder, options.spool_size)
        self._pid = os.getpid()
        self._begin()
        self._refused = self._unreported = 0
        self._last_refusal: str | None = None
        self._paused_until = 0.0
        self._open = True
        self._used = False
        #: Destinations and prompts that were appended there, and whether with what an optimization has measured.
        self._prompts: set[tuple[str, str, bool]] = set()
        if options.writer == "process" and options.spool_folder.is_dir():
            self.destinations.current()  # a writer that starts needs the credentials of its address
            threading.Thread(target=self._deliver_leftovers, name="hokusai-tracking-leftovers", daemon=True).start()

    # -- on the caller's thread ---------------------------------------------------------------------------------

    def record(self, event: TrackedEvent) -> None:
        """Append ``event`` to the outbox, or count it as refused; leave out one of an unknown class."""
        if not self.encoder.knows(event):
            return None
        if os.getpid() != self._pid:
            self._after_fork()
        supervisor = self.supervisor
        if supervisor.full or self._paused_until:
            reason = self._reason_to_refuse()
            if reason is not None:
                return self._refuse(reason)
        destination = self.destinations.current()
        record = self.encoder.encode(event)
        prompt = getattr(event, "prompt", None) if self.policy.prompts else None
        try:
            if prompt is not None and (destination.key, prompt.key, bool(prompt.figures)) not in self._prompts:
                self._append_prompt(destination, prompt)
            self.outbox.append(destination, record)
        except OSError as error:
            self._paused_until = time.monotonic() + _PAUSE
            self.outbox.close()
            return self._refuse(f"{type(error).__name__}: {error}")
        if self.outbox.lost:
            self._warn_of_loss()
        if not self._used:
            self._used = True
            AT_EXIT.add(self)
        if self._unreported:
            self._report_refused(destination)
        if not supervisor.notified:
            supervisor.notify()
        return None

    def _append_prompt(self, destination: Destination, prompt: PromptTemplate) -> None:
        """Append a prompt that no execution of this destination has had before."""
        self.outbox.append(destination, self.encoder.prompt(prompt), counts=False)
        if len(self._prompts) >= _PROMPTS:
            self._prompts.clear()
        self._prompts.add((destination.key, prompt.key, bool(prompt.figures)))

    def _warn_of_loss(self) -> None:
        self.outbox.lost = False
        self._prompts.clear()
        _warn(
            f"MLflow tracking: the spool folder {self.options.spool_folder} was deleted while executions were tracked; "
            "what MLflow did not have by then is lost"
        )

    def _reason_to_refuse(self) -> str | None:
        if self.supervisor.full:
            self.outbox.close()  # the writer deletes a segment only when nothing appends to it
            self.supervisor.notify()  # it looks again whether there is room
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
            _warn(
                f"MLflow tracking: {self.options.spool_folder} takes no more executions ({reason}); they go on, "
                "untracked and counted, until there is room. `hokusai tracking status` shows what waits"
            )

    def _report_refused(self, destination: Destination) -> None:
        with self._lock:
            count, self._unreported = self._unreported, 0
        try:
            self.outbox.append(destination, orjson.dumps({"k": "r", "n": count}), counts=False)
        except OSError:
            with self._lock:
                self._unreported += count

    # -- delivery -----------------------------------------------------------------------------------------------

    def wait(self, timeout: float | None) -> DeliveryWait:
        """Return a wait for everything that was accepted so far.

        A tracker that has accepted nothing yet waits for what earlier processes left.
        """
        folder = self.options.spool_folder
        self.outbox.look()
        positions = self.outbox.positions()
        if not self._used and something_waits(folder):
            positions = OutboxFolder(folder).sizes()
        return self._wait(positions, timeout, lost=self.outbox.lost)

    def _wait(self, positions: Mapping[str, int], timeout: float | None, **options: bool) -> DeliveryWait:
        folder = self.options.spool_folder
        return DeliveryWait(folder, positions, timeout, self.supervisor, self.destinations, **options)

    def _deliver_leftovers(self) -> None:
        """Start a writer for what earlier processes have left behind, if there is anything and none runs."""
        folder = self.options.spool_folder
        with contextlib.suppress(OSError, subprocess.SubprocessError):  # the first execution meets it, too, and says so
            if something_waits(folder) and not writer_is_running(folder):
                start_writer(folder, self.destinations.secret_uris, self.options.data_folder)

    def begin_closing(self) -> DeliveryWait | None:
        """Say that this tracker's run is over; return what is to be waited for, None where there is nothing."""
        if not self._open:
            return None
        self._open = False
        AT_EXIT.discard(self)
        if not self._used or os.getpid() != self._pid:
            return None
        self._end_runs()
        if self.options.writer == "none":
            return None
        positions, lost = self.outbox.positions(), self.outbox.lost
        return self._wait(positions, self.options.exit_timeout, patient=False, until_deleted=True, lost=lost)

    def end_closing(self, wait: DeliveryWait | None) -> None:
        """Release everything."""
        # A folder that is deleted last of all, as by a test that tidies up, is not worth a warning.
        waited = wait is not None and not wait.delivered and self.options.exit_timeout > 0
        if waited and not self.outbox.lost:
            self.supervisor.report()
        self.supervisor.stop()
        self.outbox.close()

    def close(self) -> None:
        """Say that this tracker's run is over, deliver, and release everything."""
        if self._open:
            wait = self.begin_closing()
            for pause in wait or ():
                time.sleep(pause)
            self.end_closing(wait)

    def abandon(self) -> None:
        """Close without waiting: the tracker was forgotten, and garbage collection must not stand still."""
        if self._open and os.getpid() == self._pid:
            self._open = False
            AT_EXIT.discard(self)
            if self._used:
                self._end_runs()
                self.supervisor.notify()

    def _end_runs(self) -> None:
        """Say that the runs of this executor are over. The writer ends them once all segments are released."""
        self.outbox.look()
        for destination in self.destinations.own:
            if not self.outbox.lost and (self._unreported or self.outbox.is_open(destination)):
                if self._unreported:
                    self._report_refused(destination)
                try:
                    self.outbox.append(destination, _ENDING, counts=False)
                except OSError as error:
                    self._last_refusal = f"{type(error).__name__}: {error}"
        self.outbox.close()

    # -- the rest -----------------------------------------------------------------------------------------------

    def status(self) -> Mapping[str, Any]:
        """Return figures of this tracker and of the spool folder that it shares with others."""
        folder = self.options.spool_folder
        return {
            **spool_status(folder, read_status(folder)),
            "accepted": self.outbox.records,
            "refused": self._refused,
            "last_refusal": self._last_refusal,
            "redaction_failures": self.policy.redaction_failures,
            "run_name": self.destinations.run_name,
            "tracking_uri": public_uri(self.destinations.current().uri),
        }

    def _begin(self) -> None:
        """Make what belongs to one process."""
        options = self.options
        self._lock = threading.Lock()
        self.supervisor = DeliverySupervisor(
            options.spool_folder,
            options.spool_size,
            self.destinations.secret_uris,
            start=options.writer == "process",
            data_folder=options.data_folder,
            first=self._announce,
            each=self.outbox.look,
        )

    def _announce(self) -> None:
        """Say once for a store how to look at it, where the user configured none."""
        uri = default_uri(self.options.data_folder)
        if all(destination.uri != uri for destination in self.destinations.own):
            return
        folder = private_folder(Path(uri.removeprefix("sqlite:///")).parent)
        try:
            (folder / ".announced").touch(0o600, exist_ok=False)
        except FileExistsError:
            return
        sys.stderr.write(f"hokusai: executions are tracked; look at them with: {short_ui_command(uri)}{missing_ui()}\n")

    def _after_fork(self) -> None:
        self._pid = os.getpid()
        self.outbox.after_fork()
        self._begin()
        self._refused = self._unreported = 0
        self._used = False
        self._prompts = set()


def _warn(message: str) -> None:
    _log.warning(message)
    warnings.warn(message, TrackingWarning, stacklevel=5)
