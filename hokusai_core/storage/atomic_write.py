"""Write files atomically: a file is complete or does not exist."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

__all__ = ["atomic_write"]


def atomic_write(path: str | os.PathLike[str], chunks: Iterable[bytes], *, sole_writer: bool = False) -> None:
    """Write a file beside ``path``, and move it to ``path`` when it is complete and on disk.

    A new file is readable by this user alone. One that is replaced keeps its permissions.

    Args:
        path: the file. A link is followed; a device or a pipe is written to as it is.
        chunks: the content.
        sole_writer: whether the caller makes sure that no other process writes to ``path`` meanwhile. The file beside
            it then has one name for all runs, so that runs which are killed leave at most one.

    Raises:
        OSError: It cannot be written; what was at ``path`` is unchanged.

    Example:
        >>> from hokusai_core.storage import atomic_write
        >>> atomic_write("answer.json", [b'{"answer": 42}'])
    """
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as file:
            file.writelines(chunks)
        return
    target = Path(os.path.realpath(path))
    draft = target.with_name(f".{target.name[:200]}.{'part' if sole_writer else os.urandom(4).hex()}")
    if sole_writer:
        draft.unlink(missing_ok=True)
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            os.fchmod(file.fileno(), _permissions(target))
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _permissions(target: Path) -> int:
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        return 0o600


def _sync_folder(folder: Path) -> None:
    """Bring the new name to the disk, too; a file system that cannot sync a folder keeps names safe by other means."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        return
    finally:
        os.close(descriptor)
