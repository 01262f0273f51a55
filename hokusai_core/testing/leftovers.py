"""What a component leaves behind when it is closed: open files, sockets and threads."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hokusai_core.testing.capabilities import settled

__all__ = ["leftovers"]

#: Where Linux lists the open files of this process.
_DESCRIPTORS: Final = Path("/proc/self/fd")


@contextmanager
def leftovers() -> Iterator[Callable[[], list[str]]]:
    """Compare what is open before and after; the function that is yielded names what is new.

    Threads and files that end within two seconds are no leftovers. Where the system lists no open files, only threads
    are compared.
    """
    gc.collect()
    files, threads = _open_files(), set(threading.enumerate())

    def found() -> list[str]:
        gc.collect()
        settled(lambda: not _new(files, threads))
        return _new(files, threads)

    yield found


def _new(files: dict[str, str], threads: set[threading.Thread]) -> list[str]:
    opened = [name for number, name in _open_files().items() if files.get(number) != name]
    running = [thread.name for thread in threading.enumerate() if thread not in threads]
    return [f"open: {name}" for name in opened] + [f"thread: {name}" for name in running]


def _open_files() -> dict[str, str]:
    if not _DESCRIPTORS.is_dir():
        return {}
    found = {}
    for number in os.listdir(_DESCRIPTORS):
        try:
            found[number] = os.readlink(_DESCRIPTORS / number)
        except OSError:  # the folder itself, closed again by now
            continue
    return found
