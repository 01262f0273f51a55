"""What keeps an event loop from going on: blocking calls on its thread, and work that takes long."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final

__all__ = ["blocking_calls", "run_watched"]

#: Built-in calls that may wait, as ``function`` or ``Class.method``.
_BLOCKING: Final = frozenset(
    {
        "sleep", "open", "fsync", "fdatasync", "flock", "lockf", "waitpid", "connect",
        "getaddrinfo", "gethostbyname", "fork_exec",
        "Connection.execute", "Connection.executemany", "Connection.executescript", "Connection.commit",
        "Cursor.execute", "Cursor.executemany", "Cursor.executescript", "Cursor.fetchone", "Cursor.fetchall",
        "socket.connect", "socket.recv", "socket.recv_into", "socket.send", "socket.sendall", "socket.accept",
        "_SSLSocket.read", "_SSLSocket.write", "_SSLSocket.do_handshake",
    }
)  # fmt: skip
#: Functions of these modules count, those of the same name elsewhere do not.
_MODULES: Final = frozenset({"time", "io", "_io", "posix", "nt", "fcntl", "_sqlite3", "_socket", "_posixsubprocess"})

#: Seconds that an event loop may stand still for longer than the machine lets any thread wait.
_LONGEST_PAUSE: Final = 0.5


@contextmanager
def blocking_calls() -> Iterator[list[str]]:
    """Collect the blocking calls that this thread makes, such as ``sleep`` and ``Connection.execute``.

    Only calls that Python code makes are seen. Sockets that do not block are left out.
    """
    found: list[str] = []

    def watch(_frame: Any, event: str, function: Any) -> None:
        if event != "c_call":
            return
        owner = getattr(function, "__self__", None)
        name = function.__name__
        if owner is None or type(owner).__name__ == "module":
            if getattr(function, "__module__", None) not in _MODULES:
                return
        else:
            name = f"{type(owner).__name__}.{name}"
            timeout = getattr(owner, "gettimeout", None)
            if timeout is not None and timeout() == 0:
                return
        if name in _BLOCKING:
            found.append(name)

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        yield found
    finally:
        sys.setprofile(before)


@contextmanager
def _longest_wait_of_a_thread() -> Iterator[list[float]]:
    """Collect how long a thread that only sleeps waits for its turn: on a busy machine, long."""
    waits: list[float] = []
    over = threading.Event()

    def wait() -> None:
        while not over.is_set():
            before = time.monotonic()
            over.wait(0.01)
            waits.append(time.monotonic() - before)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    try:
        yield waits
    finally:
        over.set()
        thread.join()


def run_watched(
    work: Callable[[], Coroutine[Any, Any, Any]], *, warm_up: bool = True, allowed: frozenset[str] = frozenset()
) -> Any:
    """Run work on a new event loop; fail if it makes blocking calls there, or holds the loop up.

    Args:
        work: what returns the coroutine.
        warm_up: whether to run it once before, because a first call may import modules.
        allowed: blocking calls that do no harm.
    """

    async def watched() -> Any:
        if warm_up:
            await work()
        pauses: list[float] = []

        async def beat() -> None:
            while True:
                before = time.monotonic()
                await asyncio.sleep(0.01)
                pauses.append(time.monotonic() - before)

        heart = asyncio.ensure_future(beat())
        await asyncio.sleep(0)
        with _longest_wait_of_a_thread() as waits, blocking_calls() as calls:
            result = await work()
        await asyncio.sleep(0.011)
        heart.cancel()
        blocking = sorted(set(calls) - allowed)
        assert not blocking, f"it makes blocking calls on the event loop: {', '.join(blocking)}"
        paused = max(pauses) - max(waits, default=0.0)
        assert paused < _LONGEST_PAUSE, f"it holds the event loop up for {paused:.2f} s"
        return result

    return asyncio.run(watched())
