"""Notes that a user reads once, and not at each command."""

from __future__ import annotations

import contextlib
import hashlib
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
            print_note(note)
            with contextlib.suppress(OSError):
                private_folder(folder)
                atomic_write(mark, [note.encode(), b"\n"])

    executor.models.announce = announce
