"""Notes that a user reads once, and not at each command."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from typing import TYPE_CHECKING

from hokusai_core.errors import ConfigurationError
from hokusai_core.execution.model_resolver import print_note
from hokusai_core.storage import atomic_write, private_folder, user_data_folder

if TYPE_CHECKING:
    from hokusai_core.executor import Executor

__all__ = ["note_once"]


def note_once(executor: Executor) -> None:
    """Let an executor print each note only once for this user, and not once in each process.

    Where nothing can be kept, it is said each time.
    """
    try:
        folder = user_data_folder("notes")
    except ConfigurationError:  # a user without a home
        return

    def announce(note: str) -> None:
        mark = folder / f"{hashlib.sha256(note.encode()).hexdigest()[:16]}.txt"
        if not mark.exists():
            print_note(_fitting(note))
            with contextlib.suppress(OSError):
                private_folder(folder)
                atomic_write(mark, [note.encode(), b"\n"])

    executor.models.announce = announce


def _fitting(note: str) -> str:
    """Return a note in lines that fit the terminal, whether or not a progress line is drawn at the same time."""
    if sys.stderr is None or not sys.stderr.isatty():
        return note
    import shutil
    import textwrap  # a note is printed once for each user

    width, start = shutil.get_terminal_size().columns, "hokusai: "
    return textwrap.fill(start + note, width, break_long_words=False, break_on_hyphens=False)[len(start) :]
