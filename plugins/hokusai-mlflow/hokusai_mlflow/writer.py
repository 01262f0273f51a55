"""The writer process: ``python -m hokusai_mlflow.writer FOLDER`` delivers one spool folder and then ends by itself."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import orjson

from hokusai_core.plugin_api import atomic_write, lock_descriptor, open_private_file
from hokusai_mlflow.legacy_spool import has_legacy_spool, import_legacy_spool
from hokusai_mlflow.spool_status import LOCK, SECRET_URIS, STATUS, is_waited_for, read_status, something_waits

if TYPE_CHECKING:
    from hokusai_mlflow.delivery.publisher import Publisher

__all__ = ["Writer", "locked", "main", "prepare_environment"]

_POLL: Final = 0.05
_RELAXED_POLL: Final = 0.25
#: Seconds after which a writer that has nothing to do ends.
_IDLE: Final = 60.0
#: Seconds after which a writer ends that only gets refusals: another process may have credentials that work.
_STUCK: Final = 60.0
#: Seconds after which a writer ends that has nothing to do and no tracker to wait for.
_LINGER: Final = 3.0
_RETIRE: Final = 1.0
_STATUS: Final = 1.0
#: Stands for the writer itself where the address of a store is named else.
_WRITER: Final = "the writer"
_TIMEOUT: Final = "MLFLOW_HTTP_REQUEST_TIMEOUT"
#: Set where the environment does not say otherwise, in this process only.
_DEFAULTS: Final = {
    # A connection of its own for each session: MLflow's pool runs dry, and data with it, when several threads write.
    "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # The writer tries again for as long as it takes; a store that hangs must not hold up the others.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    _TIMEOUT: "20",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    # MLflow looks prices up with litellm, which would fetch them from the network.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}
#: What is meant for the host's own use of MLflow and would change ours.
_REMOVED: Final = ("MLFLOW_RUN_ID", "MLFLOW_TRACE_SAMPLING_RATIO", "MLFLOW_ENABLE_ASYNC_LOGGING")


class Writer:
    """Delivers the executions of one spool folder.

    Args:
        folder: the spool folder; the caller holds its lock.
        secret_uris: addresses with credentials, by their public form.
    """

    def __init__(self, folder: Path, secret_uris: Mapping[str, str]) -> None:
        self._folder, self._secret_uris = folder, secret_uris
        self._lock_inode = (folder / LOCK).stat().st_ino
        self._publisher: Publisher | None = None
        self._stopping = self._gave_up = False
        self._busy_at = self._moved_at = time.monotonic()
        self._retired_at = self._noted_at = float("-inf")
        self._noted: dict[str, Any] = {}
        self._counters: Mapping[str, int] = read_status(folder).get("counters") or {}
        import_legacy_spool(folder)

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Have ``serve`` end after the step it is in; fits as a signal handler."""
        self._stopping = True

    def serve(self, *, idle: float = _IDLE) -> None:
        """Deliver until there has been nothing to do for ``idle`` seconds, or ``stop`` was called."""
        while not self._stopping and self._owns_folder() and not self._is_done(idle):
            if not self._step(hurry=is_waited_for(self._folder)):
                time.sleep(_POLL if time.monotonic() - self._busy_at < 5 else _RELAXED_POLL)
        if self._owns_folder():
            self._note(force=True)

    def drain(self, timeout: float | None) -> bool:
        """Deliver everything that is there now; return whether that was possible within ``timeout`` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        while not self._stopping:
            moved = self._step(hurry=True)
            if not moved and self._deliverer().is_done() and not self._deliverer().retire():
                self._note(force=True)
                return not has_legacy_spool(self._folder)
            if end is not None and time.monotonic() > end:
                break
            if not moved:
                time.sleep(_POLL)
        self._note(force=True)
        return False

    def wants_more(self) -> bool:
        """Return whether records came after the writer had decided to end; asked once it has given up its lock."""
        return not self._stopping and not self._gave_up and something_waits(self._folder)

    def _deliverer(self) -> Publisher:
        if self._publisher is None:  # mlflow takes seconds to import: not before there is something to deliver
            from hokusai_mlflow.delivery.publisher import Publisher

            self._publisher = Publisher(self._folder, self._secret_uris, self._note_contact)
            self._publisher.counters.update(self._counters)
        return self._publisher

    def _step(self, *, hurry: bool) -> bool:
        publisher = self._deliverer()
        sent = publisher.step(hurry=hurry)
        now = time.monotonic()
        if sent:
            self._busy_at = now
        if sent or not publisher.is_stuck():
            self._moved_at = now
        if now - self._retired_at > (0.0 if hurry else _RETIRE):
            self._retired_at = now
            publisher.retire()
        self._note()
        return sent

    def _is_done(self, idle: float) -> bool:
        now, publisher = time.monotonic(), self._deliverer()
        if now - self._moved_at > _STUCK:
            self._gave_up = True
            return True
        enough = idle if publisher.has_owners() else min(idle, _LINGER)
        return now - self._busy_at > enough and publisher.is_done()

    def _owns_folder(self) -> bool:
        """Return whether the folder is still there; one that was deleted must not be made again."""
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
        status = {
            "pid": os.getpid(),
            # A status that names a store, and was written long ago, says that the store does not answer.
            "contact": None if publisher.is_done() else publisher.contact,
            "errors": publisher.failures.errors,
            "last_error": publisher.failures.last_error,
            "counters": publisher.counters,
            "notes": publisher.notes,
        }
        if status == self._noted and status["contact"] is None:
            return
        self._noted = orjson.loads(orjson.dumps(status))
        _write_status(self._folder, {**status, "at": time.time()})


@contextlib.contextmanager
def locked(folder: Path, *, patience: float = 0.5) -> Iterator[bool]:
    """Hold the writer's lock of a spool folder; yields whether it could be had.

    Args:
        folder: the spool folder.
        patience: seconds to try for: a tracker that looks whether a writer runs holds it for a moment, too.
    """
    descriptor = open_private_file(folder / LOCK)
    try:
        yield lock_descriptor(descriptor, patience)
    finally:
        os.close(descriptor)


def _handle_signals(writer: Writer) -> None:
    """Have the usual signals end the writer after the step it is in."""
    signal.signal(signal.SIGTERM, writer.stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for the program in the foreground


def _note_crash(folder: Path, error: Exception) -> None:
    """Write down that the writer itself failed; it has no terminal to say so on."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    # Not the message of an unknown error: it may quote values.
    text = f"the writer failed: {type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}"
    if isinstance(error, (OSError, ImportError, RuntimeError)):
        text += f": {error}"
    before = read_status(folder)
    # A failure that happens once may pass by itself; one that repeats is reported.
    count = (before.get("errors") or {}).get(_WRITER, {"count": 0})["count"] + 1
    status = {
        "pid": None,
        "errors": {_WRITER: {"error": text, "count": count}},
        "last_error": {"uri": None, "error": text, "at": time.time()},
        "counters": before.get("counters"),
        "at": time.time(),
    }
    _write_status(folder, status)


def _write_status(folder: Path, status: Mapping[str, Any]) -> None:
    with contextlib.suppress(OSError):  # a full disk; delivery goes on, and makes room
        atomic_write(folder / STATUS, [orjson.dumps(status)])


def prepare_environment(timeout: float | None = None) -> None:
    """Set what MLflow reads from the environment.

    Args:
        timeout: seconds that a request to a server may take at most.
    """
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    if timeout is not None:
        bound = min(float(os.environ[_TIMEOUT]), max(1.0, timeout))
        os.environ[_TIMEOUT] = str(math.ceil(bound))
    for name in _REMOVED:
        os.environ.pop(name, None)


def main(folder: Path) -> None:
    """Deliver the spool folder until there is nothing to do."""
    secret_uris = orjson.loads(os.environ.pop(SECRET_URIS, "{}"))
    prepare_environment()
    # Given up before the last look, so that a record which comes after that look finds no writer and starts one.
    more = folder.is_dir()
    while more:
        with locked(folder) as held:
            if not held:
                return
            try:
                writer = Writer(folder, secret_uris)
                _handle_signals(writer)
                writer.serve(idle=_IDLE)
            except Exception as error:
                _note_crash(folder, error)
                raise
        more = writer.wants_more()


def _detach() -> None:
    """Leave the process that started this one, which does not wait any longer."""
    if os.fork():
        os._exit(0)
    os.nice(10)  # callers come first


def _do_without_litellm() -> None:
    """Have MLflow look prices up in a table of its own: importing litellm for it takes seconds and 100 MB."""
    sys.modules["litellm"] = None  # type: ignore[assignment]


if __name__ == "__main__":
    _detach()
    _do_without_litellm()
    main(Path(sys.argv[1]))
