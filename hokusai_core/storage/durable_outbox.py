"""DurableOutbox: accepts records in microseconds, and delivers them from a thread, also those that a kill left behind.

The spool folder holds the segments (see ``outbox``), ``offsets.json``, which says how much of each segment is
delivered, and the lock of the process that delivers. Several processes may use one folder. One of them delivers at a
time, the records of all.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson
from attrs import frozen

from hokusai_core.errors import TrackingError
from hokusai_core.process import fork_callbacks
from hokusai_core.redaction import scrubbed_error
from hokusai_core.storage.atomic_write import atomic_write
from hokusai_core.storage.file_lock import lock_descriptor, unlock_descriptor
from hokusai_core.storage.outbox import Outbox, OutboxFolder
from hokusai_core.storage.private_folders import open_private_file, private_folder

__all__ = ["DurableOutbox"]

_OFFSETS: Final = "offsets.json"
_LOCK: Final = "delivery.lock"
#: Seconds between two looks at whether records are delivered.
_POLL: Final = 0.02
#: Seconds for which further records are waited for before a delivery.
_LINGER: Final = 0.1
#: Seconds to the next look while another process delivers.
_LOOK: Final = 1.0
#: Seconds to the next try after a delivery that failed; doubled each time.
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0


@frozen
class _Everything:
    """The only destination."""

    key: str = "all"
    header: bytes = b"{}"
    lasting: bool = True


_EVERYTHING: Final = _Everything()


class DurableOutbox:
    """Keeps records on the disk until they are delivered; safe to use from many threads and processes.

    A record survives the death of the process once ``append`` returns. A process that dies leaves its records to the
    next one that uses the folder. Records are delivered at least once: a process that dies after ``send`` has returned,
    and before that is noted, sends the same records again. So give each record an id that its receiver knows, such as
    the ``execution_id``.

    Args:
        folder: the spool folder of one receiver; made when the first record comes.
        send: delivers records, the oldest first. It raises if another try may help; the same records are then sent
            again later. It must drop records that the receiver will never take, because they would block the others.
        batch: records that ``send`` is given at once.
        limit: bytes that may wait. ``append`` raises while it is reached.
        close_timeout: seconds for which ``close`` delivers; what is left is delivered by the next process.

    Example::

        class HttpTracker:
            def __init__(self, url: str = "http://localhost:9200"):
                self.url = url
                self.outbox = DurableOutbox(user_data_folder("acme-tracker"), self.send)

            def send(self, records):
                urllib.request.urlopen(self.url, data=b"\\n".join(records), timeout=10)

            def record(self, event):
                if isinstance(event, ExecutionFinished):
                    self.outbox.append(orjson.dumps(jsonable(event)))
    """

    fork_safe = True

    def __init__(
        self,
        folder: str | os.PathLike[str],
        send: Callable[[Sequence[bytes]], object],
        *,
        batch: int = 100,
        limit: int = 256 * 2**20,
        close_timeout: float = 5.0,
    ) -> None:
        self._folder, self._send = Path(folder), send
        self._batch, self._limit, self._close_timeout = batch, limit, close_timeout
        self._outbox, self._segments = Outbox(self._folder, limit), OutboxFolder(self._folder)
        self._state = threading.Lock()
        self._needed, self._hurry, self._stop = threading.Event(), threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        #: Descriptor of the lock while this process delivers.
        self._delivering = -1
        self._delivered, self._last_error = 0, ""
        self._full = False
        fork_callbacks.add(self._after_fork)
        if self._segments.segments():  # what a process has left
            self._wake()

    def append(self, record: bytes) -> None:
        """Accept a record.

        Args:
            record: any bytes without a line feed, such as JSON.

        Raises:
            TrackingError: As much waits as may.
            OSError: It cannot be written, say because the disk is full.
        """
        if self._full and self._is_full():  # looked at again, as the flag may be late
            raise TrackingError(
                f"{self._folder} holds {self._limit} bytes that are not delivered, which is its limit; the last error "
                f"was: {self._last_error or 'none'}"
            )
        self._outbox.append(_EVERYTHING, record)
        self._wake()

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything that the folder holds now is delivered, also the records of other processes.

        Args:
            timeout: seconds to wait at most; None for as long as it takes.

        Returns:
            Whether it is delivered.
        """
        wait = self._wait(timeout)
        for pause in wait:
            time.sleep(pause)
        return wait.delivered

    async def aflush(self, timeout: float | None = None) -> bool:
        """Async version of ``flush``."""
        import asyncio  # commands that only list plugins do without

        wait = await asyncio.to_thread(self._wait, timeout)
        steps = iter(wait)
        # Each step reads files, so it is taken on a thread. Another process delivers, and there is no event for that.
        while True:
            pause = await asyncio.to_thread(next, steps, None)
            if pause is None:
                return wait.delivered
            await asyncio.sleep(pause)

    def status(self) -> dict[str, Any]:
        """Return what a tracker's ``status`` needs.

        Returns:
            ``accepted``, records that this object was given; ``delivered``, records that it has sent, also those of
            other processes; ``backlog``, records that wait in the folder, and ``spool_bytes``, their size;
            ``last_error``, None if the last delivery succeeded; and ``location``.
        """
        return {
            "accepted": self._outbox.records,
            "delivered": self._delivered,
            "backlog": sum(self._count(name, offset) for name, (_, offset) in self._waiting().items()),
            "spool_bytes": self._backlog(),
            "last_error": self._last_error or None,
            "location": str(self._folder),
        }

    def close(self) -> None:
        """Deliver for ``close_timeout`` seconds at most, and release everything; calling it twice is harmless."""
        if self._stop.is_set():
            return
        self.flush(self._close_timeout)
        self._stop.set()
        self._needed.set()
        self._hurry.set()
        self._outbox.close()
        if self._thread is not None:
            self._thread.join(self._close_timeout)
        if self._segments.segments() and not self._waiting():
            with contextlib.suppress(OSError):
                self._deliver()  # nothing is left to send; it deletes the segments, which nothing locks any more

    # -- inside -------------------------------------------------------------------------------------------------

    def _after_fork(self) -> None:
        self._outbox.after_fork()
        self._state, self._thread = threading.Lock(), None
        self._needed, self._hurry, self._stop = threading.Event(), threading.Event(), threading.Event()
        self._delivered = 0
        if self._delivering >= 0:  # a lock is held until every process has closed the file
            os.close(self._delivering)
            self._delivering = -1

    def _wait(self, timeout: float | None) -> _Wait:
        lost, self._outbox.lost = self._outbox.lost or not self._outbox.look(), False
        if lost:
            self._last_error = f"{self._folder} was deleted while it was in use; what was not delivered is lost"
        waiting = {name: size for name, (size, _) in self._waiting().items()}
        if waiting and not self._stop.is_set():
            self._hurry.set()
            self._wake()
        return _Wait(self._waiting, waiting, timeout, lost=lost)

    def _wake(self) -> None:
        if self._thread is None:
            with self._state:
                if self._thread is None and not self._stop.is_set():
                    self._thread = threading.Thread(target=self._run, name="hokusai-outbox", daemon=True)
                    self._thread.start()
        self._needed.set()

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            self._needed.wait()
            self._hurry.wait(_LINGER)
            self._needed.clear()
            self._hurry.clear()
            try:
                alone = self._deliver()
                failures = 0
            except Exception as error:  # of the receiver or of the disk; the records stay
                self._last_error = scrubbed_error(error)
                failures += 1
                self._hurry.wait(min(_FIRST_PAUSE * 2 ** min(failures - 1, 10), _LONGEST_PAUSE))
                self._needed.set()
            else:
                if not alone and not self._hurry.wait(_LOOK) and self._waiting():
                    self._needed.set()

    def _deliver(self) -> bool:
        """Send everything that waits, and return True; return False where another process does.

        Raises:
            Exception: What ``send`` raises.
        """
        private_folder(self._folder)
        self._delivering = descriptor = open_private_file(self._folder / _LOCK)
        try:
            if not lock_descriptor(descriptor):
                return False
            offsets = self._offsets()
            for name in self._segments.sizes():
                while self._send_part(name, offsets):
                    pass
                if self._segments.is_finished(name, offsets.get(name, 0)):
                    self._segments.remove(name)
                    offsets.pop(name, None)
            self._segments.remove_unfinished()
            self._note(offsets)
            unlock_descriptor(descriptor)  # also for a child process that was forked meanwhile
            return True
        finally:
            self._delivering = -1
            os.close(descriptor)
            self._full = self._is_full()

    def _send_part(self, name: str, offsets: dict[str, int]) -> bool:
        part = self._segments.read(name, offsets.get(name, 0))
        records = [one for one in part.records if one[0] > 0]  # the header is at 0
        for start in range(0, len(records), self._batch):
            portion = records[start : start + self._batch]
            self._send([record for _, record in portion])
            self._last_error = ""
            following = records[start + self._batch : start + self._batch + 1]
            offsets[name] = following[0][0] if following else part.end
            self._delivered += len(portion)
            self._note(offsets)
        offsets[name] = part.end
        return part.end > part.start

    def _offsets(self) -> dict[str, int]:
        with contextlib.suppress(FileNotFoundError, ValueError):
            noted = orjson.loads((self._folder / _OFFSETS).read_bytes())
            if isinstance(noted, dict):
                return {name: offset for name, offset in noted.items() if type(offset) is int}
        return {}

    def _note(self, offsets: Mapping[str, int]) -> None:
        known = self._segments.sizes()
        kept = {name: offset for name, offset in offsets.items() if name in known}
        atomic_write(self._folder / _OFFSETS, [orjson.dumps(kept)])

    def _count(self, name: str, offset: int) -> int:
        return sum(1 for _ in self._segments.lines(name, offset)) - (offset == 0)  # the first line is the header

    def _backlog(self) -> int:
        return sum(size - offset for size, offset in self._waiting().values())

    def _is_full(self) -> bool:
        return self._backlog() >= self._limit

    def _waiting(self) -> dict[str, tuple[int, int]]:
        """Return segment -> size and offset, of those that are not delivered."""
        offsets = self._offsets()
        sizes = {name: (size, offsets.get(name, 0)) for name, size in self._segments.sizes().items()}
        return {name: one for name, one in sizes.items() if one[0] > one[1]}


class _Wait:
    """Waits until stretches of segments are delivered: iterate, and sleep for as long as each step says."""

    def __init__(
        self,
        look: Callable[[], Mapping[str, tuple[int, int]]],
        wanted: Mapping[str, int],
        timeout: float | None,
        *,
        lost: bool,
    ) -> None:
        self._look, self._wanted, self._lost = look, wanted, lost
        self._end = None if timeout is None else time.monotonic() + timeout
        #: Whether everything was delivered.
        self.delivered = False

    def __iter__(self) -> Iterator[float]:
        while not self._is_delivered():
            if self._end is not None and time.monotonic() >= self._end:
                return
            yield _POLL
        self.delivered = not self._lost

    def _is_delivered(self) -> bool:
        waiting = self._look()
        return all(waiting[name][1] >= size for name, size in self._wanted.items() if name in waiting)
