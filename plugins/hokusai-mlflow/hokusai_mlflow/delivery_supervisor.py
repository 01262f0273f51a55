"""Keeps a writer process running while something waits, from a thread that callers never wait for."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from hokusai_core.plugin_api import OutboxFolder
from hokusai_mlflow.spool_status import (
    SECRET_URIS,
    SILENT,
    is_alive,
    read_status,
    silence,
    something_waits,
    spool_status,
    writer_is_running,
)

__all__ = ["DeliverySupervisor", "TrackingWarning", "complaint", "start_writer"]

_TICK: Final = 1.0
#: Ticks without anything new after which the thread sleeps until it is needed.
_QUIET_TICKS: Final = 3
#: A writer that gave up is not started again before this many seconds have passed.
_RESTART: Final = 5.0
#: Failed deliveries in a row that are taken for more than a passing trouble, such as a restart of the server.
_CERTAIN: Final = 2

_log = logging.getLogger("hokusai.tracking")
_log.addHandler(logging.NullHandler())  # silent, unless the host configures logging


class TrackingWarning(UserWarning):
    """Executions are not delivered to MLflow at the moment, or not accepted for delivery; they go on."""


class DeliverySupervisor:
    """The thread of one tracker.

    Args:
        folder: the spool folder.
        limit: bytes that the folder may hold.
        secret_uris: addresses with credentials that the writer needs, by their public form.
        start: whether it may start a writer process.
        first: called once, before the first writer is started.
        each: called once a second while there is something to do; returns whether the spool is still there.
        data_folder: the data folder of the executor; None for that of the user.
    """

    def __init__(
        self,
        folder: Path,
        limit: int,
        secret_uris: Mapping[str, str],
        *,
        start: bool,
        first: Callable[[], None],
        each: Callable[[], bool],
        data_folder: Path | None = None,
    ) -> None:
        self._folder, self._limit, self._secret_uris = folder, limit, secret_uris
        self._data_folder = data_folder
        self._start, self._first, self._each = start, first, each
        self._needed, self._stop = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        #: Whether the thread knows that there is something to deliver. ``notify`` changes nothing then.
        self.notified = False
        self._parked = True
        self._started_at, self._made_at = float("-inf"), time.time()
        self._begun = False
        #: A warning under way is waited for: a program that ends meanwhile would end without it.
        self._warning = threading.RLock()
        self._warned = False
        #: Whether the spool folder holds as much as it may.
        self.full = False

    def notify(self) -> None:
        """Say that there is something to deliver; costs well under a microsecond."""
        self.notified = True
        if self._parked:
            self._wake()

    def ensure_writer(self) -> None:
        """Start a writer unless one runs, or there is nothing that it could deliver."""
        if not self._folder.is_dir():
            return  # deleted under this process
        if not self._begun:
            self._begun = True
            self._first()
        if self._start and time.monotonic() - self._started_at > _RESTART and not writer_is_running(self._folder):
            self._started_at = time.monotonic()
            start_writer(self._folder, self._secret_uris, self._data_folder)

    def is_starting(self) -> bool:
        """Return whether a writer runs that has not come as far as talking to MLflow."""
        return not is_alive(read_status(self._folder).get("pid")) and writer_is_running(self._folder)

    def is_refused(self, stores: Collection[str], targets: Collection[str]) -> bool:
        """Return whether the writer that runs now knows that a store, or a run there, takes nothing at the moment.

        Args:
            stores: addresses of the stores.
            targets: keys of the runs.
        """
        status = read_status(self._folder)
        if not is_alive(status.get("pid")):
            return False
        for failure in (status.get("errors") or {}).values():
            ours = failure.get("uri") in stores and failure.get("target") in (None, *targets)
            if ours and failure["count"] >= _CERTAIN:
                return True
        return status.get("contact") in stores and silence(status) > SILENT

    def report(self) -> None:
        """Warn of what keeps the writer from delivering, unless that was said before: it is the last occasion."""
        status = read_status(self._folder)
        if complaint(status, certain=1) is None:
            silent = silence(status)
            if status.get("contact") and silent > 1:
                status = {
                    **status,
                    "errors": {status["contact"]: {"error": f"no answer for {silent:.0f} s", "count": 1}},
                }
        self._warn(status, certain=1)

    def stop(self) -> None:
        """End the thread; calling it twice is harmless."""
        self._stop.set()
        self._needed.set()

    @property
    def has_warned(self) -> bool:
        """Whether it has said what keeps the writer from delivering."""
        return self._warned

    def _wake(self) -> None:
        with self._lock:
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._run, name="hokusai-tracking", daemon=True)
                self._thread.start()
        self._parked = False
        self._needed.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._parked = True
            if not self.notified:  # looked at after parking, so that no notice falls between
                self._needed.wait()
            self._parked = False
            self._needed.clear()
            quiet = 0
            while quiet < _QUIET_TICKS and not self._stop.is_set():
                busy, self.notified = self.notified, False
                waiting = self._look()
                quiet = 0 if busy or waiting else quiet + 1
                self._stop.wait(_TICK)

    def _look(self) -> bool:
        """Do a tick's work and return whether something waits."""
        try:
            if not self._each():
                return False  # what waited is deleted, and nothing must come back of it
            self.ensure_writer()
            self.full = sum(OutboxFolder(self._folder).sizes().values()) >= self._limit
            self._warn(read_status(self._folder))
            return something_waits(self._folder)
        except (OSError, subprocess.SubprocessError) as error:
            failure = {"error": f"{type(error).__name__}: {error}", "count": _CERTAIN}
            self._warn({"errors": {"the writer": failure}, "at": time.time()})
            return True

    def _warn(self, status: Mapping[str, Any], *, certain: int = _CERTAIN) -> None:
        with self._warning:
            if not self._warned:
                self._warned = self._has_told(status, certain)

    def _has_told(self, status: Mapping[str, Any], certain: int) -> bool:
        """Warn where there is reason to, and return whether there was."""
        if not (is_alive(status.get("pid")) or status.get("at", 0.0) > self._made_at):
            return False  # what an earlier writer left
        told = complaint(status, certain)
        if told is None:
            return False
        message = (
            f"MLflow tracking: {told}, executions waiting: {spool_status(self._folder, status)['backlog']}. "
            f"They are kept in {self._folder} and delivered as soon as it does. `hokusai tracking status` shows the "
            "backlog"
        )
        _log.warning(message)
        try:
            warnings.warn(message, TrackingWarning, stacklevel=2)
        except TrackingWarning:  # the host turns warnings into errors; nothing could catch one in this thread
            sys.stderr.write(f"{message}\n")
        return True


def complaint(status: Mapping[str, Any], certain: int = _CERTAIN) -> str | None:
    """Return what keeps a writer from delivering, None where nothing does.

    Args:
        status: what the writer last said about itself.
        certain: failed deliveries in a row that are not taken for a passing trouble.
    """
    for where, failure in (status.get("errors") or {}).items():
        if failure["count"] >= certain:
            return (
                f"{where} does not take executions ({failure['error']}); failed deliveries so far: {failure['count']}"
            )
    silent = silence(status)
    if silent > SILENT:
        return f"{status['contact']} has not answered for {silent:.0f} s"
    return None


def start_writer(folder: Path, secret_uris: Mapping[str, str], data_folder: Path | None = None) -> None:
    """Start a writer process; it detaches itself, so it outlives this process and leaves no zombie.

    Args:
        folder: where executions wait.
        secret_uris: addresses with credentials, by their public form.
        data_folder: the data folder of the executor; None for that of the user.

    Raises:
        OSError: it could not be started.
        subprocess.SubprocessError: it did not get as far as detaching.
    """
    environment = {**os.environ, SECRET_URIS: orjson.dumps(dict(secret_uris)).decode()}
    if data_folder is not None:
        environment["HOKUSAI_DATA_DIR"] = os.fspath(data_folder)
    # -P: a file in the working directory must not be imported in place of a library.
    command = [sys.executable, "-P", "-m", "hokusai_mlflow.writer", os.fspath(folder)]
    _log.info("starting a writer process for %s", folder)
    subprocess.run(  # noqa: S603  # our own module, by this interpreter
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        check=True,
        timeout=60,
    )
