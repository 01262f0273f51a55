"""Sees to it that a writer process runs while something waits, from a thread that callers never wait for."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from hokusai_mlflow.spool import spool_bytes

__all__ = ["Courier", "TrackingWarning", "read_status", "start_writer", "writer_is_running"]

#: Held by the writer of a spool folder.
LOCK: Final = "writer.lock"
STATUS: Final = "status.json"
#: Environment variable that brings the writer the addresses whose credentials are on no disk.
SECRET_URIS: Final = "HOKUSAI_TRACKING_SECRET_URIS"  # noqa: S105  # a name

_TICK: Final = 1.0
#: Ticks without anything new after which the thread sleeps until it is needed.
_QUIET_TICKS: Final = 3
#: A writer that gave up is not started again before this many seconds have passed.
_RESTART: Final = 5.0


class TrackingWarning(UserWarning):
    """Executions are not delivered to MLflow at the moment, or not accepted for delivery; they go on."""


class Courier:
    """The thread of one tracker.

    Args:
        folder: the spool folder.
        limit: bytes that the folder may hold.
        secret_uris: addresses with credentials that the writer needs, by their public form.
        start: whether it may start a writer process.
        first: called once, before the first writer is started.
    """

    def __init__(
        self,
        folder: Path,
        limit: int,
        secret_uris: Mapping[str, str],
        *,
        start: bool,
        first: Callable[[], None],
    ) -> None:
        self._folder, self._limit, self._secret_uris, self._start, self._first = (
            folder,
            limit,
            secret_uris,
            start,
            first,
        )
        self._needed, self._stop = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._poked = False
        self._parked = True
        self._started_at = float("-inf")
        self._begun = False
        self._warned = False
        #: Whether the spool folder holds as much as it may.
        self.full = False

    def poke(self) -> None:
        """Say that there is something to deliver; costs well under a microsecond."""
        self._poked = True
        if self._parked:
            self._wake()

    def ensure_writer(self) -> None:
        """Start a writer unless one runs."""
        if not self._begun:
            self._begun = True
            self._first()
        if self._start and time.monotonic() - self._started_at > _RESTART and not writer_is_running(self._folder):
            self._started_at = time.monotonic()
            start_writer(self._folder, self._secret_uris)

    def stop(self) -> None:
        """End the thread; calling it twice is harmless."""
        self._stop.set()
        self._needed.set()

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
            if not self._poked:  # looked at after parking, so that no poke falls between
                self._needed.wait()
            self._parked = False
            self._needed.clear()
            quiet = 0
            while quiet < _QUIET_TICKS and not self._stop.is_set():
                busy, self._poked = self._poked, False
                waiting = self._look()
                quiet = 0 if busy or waiting else quiet + 1
                self._stop.wait(_TICK)

    def _look(self) -> bool:
        """Do a tick's work and return whether something waits."""
        try:
            self.ensure_writer()
            self.full = spool_bytes(self._folder) >= self._limit
            status = read_status(self._folder)
            self._warn(status)
            return any((status.get("pending") or {}).values())
        except (OSError, subprocess.SubprocessError) as error:
            self._warn({"errors": {"the writer": {"error": f"{type(error).__name__}: {error}", "count": 1}}})
            return True

    def _warn(self, status: Mapping[str, Any]) -> None:
        errors = status.get("errors") or {}
        if self._warned or not errors:
            return
        self._warned = True
        where, failure = next(iter(errors.items()))
        message = (
            f"MLflow tracking: {where} does not take executions ({failure['error']}); failed deliveries so far: "
            f"{failure['count']}, executions waiting: {(status.get('pending') or {}).get('executions', 'unknown')}. "
            f"They are kept in {self._folder} and "
            "delivered as soon as it does. `hokusai tracking status` shows the backlog"
        )
        try:
            warnings.warn(message, TrackingWarning, stacklevel=2)
        except TrackingWarning:  # the host turns warnings into errors; nobody could catch one in this thread
            sys.stderr.write(f"{message}\n")


def writer_is_running(folder: Path) -> bool:
    """Return whether a writer process serves the spool folder."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def start_writer(folder: Path, secret_uris: Mapping[str, str]) -> None:
    """Start a writer process; it detaches itself, so it outlives this process and leaves no zombie.

    Raises:
        OSError: it could not be started.
        subprocess.SubprocessError: it did not get as far as detaching.
    """
    environment = {**os.environ, SECRET_URIS: orjson.dumps(dict(secret_uris)).decode()}
    # -P: a file in the working directory must not stand in for a library.
    command = [sys.executable, "-P", "-m", "hokusai_mlflow.writer", os.fspath(folder)]
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


def read_status(folder: Path) -> dict[str, Any]:
    """Return what the writer last said about itself, empty where it never did."""
    try:
        status = orjson.loads((folder / STATUS).read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return {}
    return status if isinstance(status, dict) else {}
