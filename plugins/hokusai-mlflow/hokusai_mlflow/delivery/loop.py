"""The writer's loop: take in, deliver, acknowledge, until there is nothing left to do."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sqlite3
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import orjson

from hokusai_mlflow import reserve
from hokusai_mlflow.courier import LOCK, STATUS, read_status
from hokusai_mlflow.delivery.intake import Intake
from hokusai_mlflow.delivery.ledger import Ledger
from hokusai_mlflow.delivery.rest import Rest
from hokusai_mlflow.spool import segment_files
from hokusai_mlflow.waiting import ACKNOWLEDGED, LEDGER

if TYPE_CHECKING:
    from hokusai_mlflow.delivery.publisher import Publisher

__all__ = ["Writer", "locked"]

_POLL: Final = 0.05
_RELAXED_POLL: Final = 0.25
#: Seconds after which a writer that has nothing to do ends.
IDLE: Final = 60.0
#: Seconds after which a writer ends that only gets refusals: another process may have credentials that work.
_STUCK: Final = 60.0
#: Seconds after which a writer ends that has nothing to do and no tracker to wait for.
_LINGER: Final = 3.0
_RETIRE: Final = 1.0
_STATUS: Final = 1.0
_ACKNOWLEDGED_FOR: Final = 3600.0
#: Stands for the writer itself where the address of a store is named else.
_WRITER: Final = "the writer"


class Writer:
    """Delivers the executions of one spool folder.

    Args:
        folder: the spool folder; the caller holds its lock.
        secret_uris: addresses with credentials, by their public form.
    """

    def __init__(self, folder: Path, secret_uris: Mapping[str, str]) -> None:
        self._folder, self._secret_uris = folder, secret_uris
        self._lock_inode = (folder / LOCK).stat().st_ino
        (folder / ACKNOWLEDGED).mkdir(exist_ok=True, mode=0o700)
        self._ledger = Ledger(folder / LEDGER)
        self._intake = Intake(folder, self._ledger)
        self._rest = Rest(self._intake)
        self._publisher: Publisher | None = None
        self._stopping = self._gave_up = False
        self._has_trackers = True
        self._busy_at = self._moved_at = time.monotonic()
        self._retired_at = self._noted_at = float("-inf")
        self._noted: dict[str, Any] = {}

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Have ``serve`` end after the step it is in; fits as a signal handler."""
        self._stopping = True

    def serve(self, *, idle: float = IDLE) -> None:
        """Deliver until there has been nothing to do for ``idle`` seconds, or ``stop`` was called."""
        while not self._stopping and self._owns_folder() and not self._is_done(idle):
            if self._rest.is_better() and self._deliverer().is_done():
                self._busy_at = time.monotonic()
                time.sleep(_POLL)
            elif not self._step():
                time.sleep(_POLL if time.monotonic() - self._busy_at < 5 else _RELAXED_POLL)
        if self._owns_folder():
            self._note(force=True)

    def drain(self, timeout: float | None) -> bool:
        """Deliver everything that is there now; return whether that was possible within ``timeout`` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        while not self._stopping:
            moved = self._step(hurry=True)
            if not moved and self._deliverer().is_done() and not self._intake.retire():
                self._note(force=True)
                return True
            if end is not None and time.monotonic() > end:
                break
            if not moved:
                time.sleep(_POLL)
        self._note(force=True)
        return False

    def wants_more(self) -> bool:
        """Return whether records came after the writer had decided to end; asked once it has given up its lock."""
        return not self._stopping and not self._gave_up and self._intake.has_unread()

    def close(self) -> None:
        """Close the ledger."""
        self._ledger.close()

    def _deliverer(self) -> Publisher:
        if self._publisher is None:  # mlflow takes seconds to import: not before there is something to deliver
            from hokusai_mlflow.delivery.mlflow_runs import Targets
            from hokusai_mlflow.delivery.publisher import Publisher

            self._publisher = Publisher(self._ledger, Targets(self._ledger, self._secret_uris), self._note_contact)
        return self._publisher

    def _step(self, *, hurry: bool = False) -> bool:
        scarce = reserve.is_scarce(self._folder)
        if scarce:
            self._ledger.save_room()
        taken = self._intake.step(thrifty=scarce)
        sent = self._deliverer().step(hurry=hurry or scarce)
        for token in self._deliverer().answered():
            (self._folder / ACKNOWLEDGED / token).touch()
        now = time.monotonic()
        if taken or sent:
            self._busy_at = now
        if sent or not self._deliverer().is_stuck():
            self._moved_at = now
        if now - self._retired_at > _RETIRE:
            self._retired_at = now
            self._intake.retire()
            self._has_trackers = any(True for _ in segment_files(self._folder))
            self._clear_acknowledgements()
            self._ledger.give_back()
            if not taken and reserve.is_used(self._folder) and self._deliverer().is_done():
                reserve.refill(self._folder)
        self._note()
        return bool(taken or sent)

    def _is_done(self, idle: float) -> bool:
        now = time.monotonic()
        if now - self._moved_at > _STUCK:
            self._gave_up = True
            return True
        enough = idle if self._has_trackers else min(idle, _LINGER)
        return now - self._busy_at > enough and self._deliverer().is_done()

    def _owns_folder(self) -> bool:
        """Return whether the folder is still there: whoever deletes it must not find it made anew."""
        try:
            return (self._folder / LOCK).stat().st_ino == self._lock_inode
        except FileNotFoundError:
            return False

    def _note_contact(self) -> None:
        self._note(force=self._deliverer().contact != self._noted.get("contact"))

    def _note(self, *, force: bool = False) -> None:
        """Write down how it goes, for trackers and for ``hokusai tracking status``."""
        if not force and time.monotonic() - self._noted_at < _STATUS:
            return
        self._noted_at = time.monotonic()
        publisher = self._deliverer()
        pending = publisher.pending()
        status = {
            "pid": os.getpid(),
            "pending": pending,
            "held": self._ledger.held() if any(pending.values()) else 0,
            # Whoever reads that something waits, and that this was written long ago, knows who does not answer.
            "contact": publisher.contact if any(pending.values()) else None,
            "errors": publisher.errors,
            "last_error": publisher.last_error,
        }
        if status == self._noted and status["contact"] is None:
            return
        self._noted = orjson.loads(orjson.dumps(status))
        _write_status(self._folder, {**status, "at": time.time()})

    def _clear_acknowledgements(self) -> None:
        for path in (self._folder / ACKNOWLEDGED).iterdir():
            with contextlib.suppress(FileNotFoundError):  # its flush has just seen it
                if time.time() - path.stat().st_mtime > _ACKNOWLEDGED_FOR:
                    path.unlink()


@contextlib.contextmanager
def locked(folder: Path, *, patience: float = 0.5) -> Iterator[bool]:
    """Hold the writer's lock of a spool folder; yields whether it could be had.

    Args:
        folder: the spool folder.
        patience: seconds to try for: a tracker that looks whether a writer runs holds it for a moment, too.
    """
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield _try_lock(descriptor, patience)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, patience: float) -> bool:
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(0.02)


def handle_signals(writer: Writer) -> None:
    """Have the usual signals end the writer after the step it is in."""
    signal.signal(signal.SIGTERM, writer.stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for the program in the foreground


def note_crash(folder: Path, error: Exception) -> None:
    """Write down that the writer itself failed; it has no terminal to say so on."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    # Not the message of an unknown error: it may quote values.
    text = f"the writer failed: {type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}"
    if isinstance(error, (OSError, ImportError, sqlite3.Error)):
        text += f": {error}"
    # A ledger that was locked once is no news; what fails again and again is.
    before = (read_status(folder).get("errors") or {}).get(_WRITER, {"count": 0})["count"]
    status = {"pid": None, "pending": None, "errors": {_WRITER: {"error": text, "count": before + 1}}}
    last_error = {"uri": None, "error": text, "at": time.time()}
    _write_status(folder, {**status, "last_error": last_error, "at": time.time()})


def _write_status(folder: Path, status: Mapping[str, Any]) -> None:
    fresh = folder / f"{STATUS}.new"
    try:
        fresh.write_bytes(orjson.dumps(status))
        fresh.replace(folder / STATUS)
    except OSError:
        return  # a full disk; delivery goes on, and makes room
