"""Folders and files for one user alone, and the folder of what Hokusai keeps between processes.

``HOKUSAI_DATA_DIR`` names that folder. Without it, it is where the platform keeps the data of users: on Linux
``XDG_DATA_HOME``, else ``~/.local/share``.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path

from hokusai_core.errors import ConfigurationError

__all__ = ["open_private_file", "private_folder", "user_data_folder"]

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_DATA_VARIABLE = "HOKUSAI_DATA_DIR"


def user_data_folder(*parts: str, variable: str | None = None) -> Path:
    """Return a folder of this user for what Hokusai keeps; it is not made.

    Args:
        parts: names of folders inside it.
        variable: environment variable that names this very folder and, where it is set, goes before all others.

    Raises:
        ConfigurationError: No variable names it, and the user has no home folder.
    """
    own = os.environ.get(variable, "").strip() if variable else ""
    if own:
        return _expanded(own)
    return _data_root().joinpath(*parts)


def private_folder(path: Path) -> Path:
    """Make a folder, and its parents where they are missing, for this user alone; return it.

    Folders that exist already and are Hokusai's own are closed to other users. A folder that the user has chosen and
    that holds other things as well keeps its permissions.

    Raises:
        ConfigurationError: It, or a parent below the user's own folder, belongs to another user, or others can write
            to it, and so could plant something.
        OSError: It cannot be made, or something else is there.

    Example:
        >>> from pathlib import Path
        >>> from hokusai_core.storage import private_folder
        >>> private_folder(Path("kept")).stat().st_mode & 0o077
        0
    """
    for folder in reversed([folder for folder in (path, *path.parents) if not os.path.lexists(folder)]):
        with suppress(FileExistsError):  # another process was faster
            os.mkdir(folder, 0o700)
            os.chmod(folder, 0o700)  # a strict umask may have taken rights from its owner
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "is not a folder", os.fspath(path))
    own = _own_folders(path)
    for folder in own or [path]:
        seen = folder.stat()
        _check_folder(folder, seen)
        if seen.st_mode & _OTHERS and (own or not any(folder.iterdir())):
            _close_to_others(folder, 0o700)
    return path


def open_private_file(
    path: str | os.PathLike[str],
    flags: int = os.O_RDWR | os.O_CREAT,
    *,
    follow_links: bool = False,
    check_owner: bool = False,
) -> int:
    """Open a regular file that this user alone can read and write, whatever the umask; return its descriptor.

    Args:
        path: the file. Its permissions are narrowed where other users have any.
        flags: as for ``os.open``.
        follow_links: whether ``path`` may be a symbolic link.
        check_owner: whether to refuse a file that another user owns or can write to, and may have prepared.

    Raises:
        OSError: It cannot be opened, is a link or not a regular file, or is refused by ``check_owner``. The text of
            the error says which.

    Example:
        >>> import os
        >>> from hokusai_core.storage import open_private_file
        >>> os.close(open_private_file("notes.log"))
    """
    # Without O_NONBLOCK opening a pipe would wait for its other end; regular files ignore it.
    flags |= os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow_links else os.O_NOFOLLOW)
    name = os.fspath(path)
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "is a symbolic link", name) from None
        if error.errno == errno.ENXIO:  # a pipe without a reader, a socket
            raise OSError(errno.ENXIO, "is not a regular file", name) from None
        raise
    try:
        seen = os.fstat(descriptor)
        if not stat.S_ISREG(seen.st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", name)
        if check_owner and seen.st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, f"belongs to another user (uid {seen.st_uid})", name)
        if check_owner and seen.st_mode & _OTHERS_WRITE:
            mode = stat.S_IMODE(seen.st_mode)
            raise PermissionError(errno.EPERM, f"can be written by others (mode {mode:04o}); run chmod go-w", name)
        if seen.st_mode & 0o777 != 0o600:
            _close_to_others(descriptor, 0o600)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _own_folders(path: Path) -> list[Path]:
    """Return the folders from Hokusai's own root to ``path``; empty where ``path`` is somewhere else."""
    try:
        root = _data_root()
    except ConfigurationError:
        return []
    chain = [path, *path.parents]
    if root not in chain:
        return []
    inside = chain[: chain.index(root) + 1][::-1]
    # A root that the user has chosen may be open to others for the sake of what else is in it.
    return inside[1:] if os.environ.get(_DATA_VARIABLE, "").strip() else inside


def _check_folder(folder: Path, seen: os.stat_result) -> None:
    if seen.st_uid != os.geteuid():
        raise ConfigurationError(
            f"the folder {folder} belongs to another user (uid {seen.st_uid}); set {_DATA_VARIABLE} to one of your own"
        )
    if seen.st_mode & _OTHERS_WRITE:
        raise ConfigurationError(
            f"others can write to the folder {folder} (mode {stat.S_IMODE(seen.st_mode):04o}) and plant something in "
            f"it; run chmod go-w {folder}, or set {_DATA_VARIABLE} to a folder of your own"
        )


def _close_to_others(target: int | Path, mode: int) -> None:
    with suppress(OSError):  # some file systems know no permissions
        os.chmod(target, mode)


def _data_root() -> Path:
    chosen = os.environ.get(_DATA_VARIABLE, "").strip()
    return _expanded(chosen) if chosen else _platform_folder() / "hokusai"


def _expanded(text: str) -> Path:
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:  # ~ or ~name where no home folder is known
        raise ConfigurationError(f"the home folder in {text!r} is not known; write the whole path") from None


def _platform_folder() -> Path:
    if sys.platform == "darwin":
        return _home() / "Library" / "Application Support"
    chosen = os.environ.get("XDG_DATA_HOME", "").strip()
    # The specification of these variables says to ignore a relative path.
    return Path(chosen) if chosen.startswith("/") else _home() / ".local" / "share"


def _home() -> Path:
    try:
        home = Path.home()
    except RuntimeError:
        raise ConfigurationError(
            f"this user has no home folder (HOME is not set, and the system knows none); set {_DATA_VARIABLE}"
        ) from None
    if not home.is_absolute():
        raise ConfigurationError(
            f"HOME is {os.environ.get('HOME', '')!r}, which is not an absolute path; set HOME, or {_DATA_VARIABLE}"
        )
    return home
