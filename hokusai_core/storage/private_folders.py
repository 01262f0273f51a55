"""Folders and files that only one user can read, and the data folders of Hokusai.

An executor with a ``data_folder`` keeps its data there. ``HOKUSAI_DATA_DIR`` names the folder of all others. Without
it, it is where the platform keeps the data of users: on Linux ``XDG_DATA_HOME``, else ``~/.local/share``.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from hokusai_core.errors import ConfigurationError

__all__ = [
    "UnsafeFileError",
    "executor_data_folder",
    "make_missing_folders",
    "making_in_data_folder",
    "open_private_file",
    "private_folder",
    "secure_file",
    "user_cache_folder",
    "user_data_folder",
]

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
DATA_VARIABLE = "HOKUSAI_DATA_DIR"
#: The data folder of the executor whose parts are made in this context.
_executors: ContextVar[Path | None] = ContextVar("hokusai_data_folder", default=None)


class UnsafeFileError(OSError):
    """A file that is a link or not a regular file, or that another user owns or can write to."""


def user_data_folder(*parts: str, variable: str | None = None) -> Path:
    """Return this user's folder for permanent data. The folder is not created.

    In the constructor of a component it is the ``data_folder`` of the executor, where that has one.

    Args:
        parts: names of folders inside it.
        variable: environment variable that names this very folder and, where it is set, goes before all others.

    Raises:
        ConfigurationError: No variable names it, and the user has no home folder.
    """
    own = _executors.get()
    return own.joinpath(*parts) if own else _named_by(variable) or _data_root().joinpath(*parts)


def user_cache_folder(*parts: str, variable: str | None = None) -> Path:
    """Return this user's folder for cached data. The folder is not created.

    In the constructor of a component it is ``cache`` in the ``data_folder`` of the executor, where that has one.

    Args:
        parts: names of folders inside Hokusai's folder in the user's cache.
        variable: environment variable that names this very folder and, where it is set, goes before that.

    Raises:
        ConfigurationError: No variable names it, and the user has no home folder.
    """
    own = _executors.get()
    return own.joinpath("cache", *parts) if own else _named_by(variable) or _cache_root(variable).joinpath(*parts)


def executor_data_folder() -> Path | None:
    """Return the ``data_folder`` of the executor that makes a component, for its constructor; None for the user's."""
    return _executors.get()


@contextmanager
def making_in_data_folder(folder: Path | None) -> Iterator[None]:
    """Have the parts that are made inside keep their data in ``folder``; None for the folders of the user."""
    token = _executors.set(folder)
    try:
        yield
    finally:
        _executors.reset(token)


def make_missing_folders(path: Path) -> None:
    """Make the missing ones of a folder and its parents, private to this user. Existing folders stay unchanged.

    Raises:
        OSError: One cannot be made.
    """
    for folder in reversed([folder for folder in (path, *path.parents) if not os.path.lexists(folder)]):
        with suppress(FileExistsError):  # another process was faster
            os.mkdir(folder, 0o700)
            os.chmod(folder, 0o700)  # a strict umask may have taken rights from its owner


def private_folder(path: Path, *, variable: str = DATA_VARIABLE) -> Path:
    """Make a folder, and its parents where they are missing, for this user alone; return it.

    Folders that exist already and are Hokusai's own are closed to other users. A folder that the user has chosen and
    that holds other things as well keeps its permissions.

    Args:
        path: the folder.
        variable: environment variable that names another folder, for the advice in errors.

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
    make_missing_folders(path)
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "is not a folder", os.fspath(path))
    own = _own_folders(path)
    for folder in own or [path]:
        seen = folder.stat()
        _check_folder(folder, seen, variable)
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
        UnsafeFileError: It is a link or not a regular file, or is refused by ``check_owner``.
        OSError: It cannot be opened.

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
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):  # a link, a pipe or a socket, a folder
            _check_file(name, os.lstat(path), check_owner=False)
        raise
    try:
        seen = os.fstat(descriptor)
        _check_file(name, seen, check_owner=check_owner)
        if stat.S_IMODE(seen.st_mode) != 0o600:
            _close_to_others(descriptor, 0o600)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def secure_file(path: str | os.PathLike[str]) -> None:
    """Check a file that a library opens itself, and close it to other users.

    The file is not opened: closing it would give up the locks that this process holds on it.

    Args:
        path: an existing file.

    Raises:
        UnsafeFileError: It is a link or not a regular file, or another user owns it or can write to it.
        OSError: It does not exist.
    """
    seen = os.lstat(path)
    _check_file(os.fspath(path), seen, check_owner=True)
    if stat.S_IMODE(seen.st_mode) != 0o600:
        _close_to_others(path, 0o600)


def _check_file(name: str, seen: os.stat_result, *, check_owner: bool) -> None:
    if stat.S_ISLNK(seen.st_mode):
        raise UnsafeFileError(errno.ELOOP, "is a symbolic link", name)
    if not stat.S_ISREG(seen.st_mode):
        raise UnsafeFileError(errno.EINVAL, "is not a regular file", name)
    if check_owner and seen.st_uid != os.geteuid():
        raise UnsafeFileError(errno.EPERM, f"belongs to another user (uid {seen.st_uid})", name)
    if check_owner and seen.st_mode & _OTHERS_WRITE:
        mode = stat.S_IMODE(seen.st_mode)
        raise UnsafeFileError(errno.EPERM, f"can be written by others (mode {mode:04o}); run chmod go-w {name}", name)


def _own_folders(path: Path) -> list[Path]:
    """Return the folders from Hokusai's own root to ``path``; empty where ``path`` is somewhere else."""
    chain = [path, *path.parents]
    for root_of in (_data_root, _cache_root):
        try:
            root = root_of()
        except ConfigurationError:
            continue
        if root in chain:
            inside = chain[: chain.index(root) + 1][::-1]
            # A root that the user has chosen may be open to others for the sake of what else is in it.
            return inside[1:] if root == _named_by(DATA_VARIABLE) else inside
    return []


def _check_folder(folder: Path, seen: os.stat_result, variable: str) -> None:
    if seen.st_uid != os.geteuid():
        raise ConfigurationError(
            f"the folder {folder} belongs to another user (uid {seen.st_uid}), who could plant something in it; set "
            f"{variable} to a folder of your own"
        )
    if seen.st_mode & _OTHERS_WRITE:
        raise ConfigurationError(
            f"others can write to the folder {folder} (mode {stat.S_IMODE(seen.st_mode):04o}) and plant something in "
            f"it; run chmod go-w {folder}, or set {variable} to a folder of your own"
        )


def _close_to_others(target: int | str | os.PathLike[str], mode: int) -> None:
    with suppress(OSError):  # some file systems know no permissions
        os.chmod(target, mode)


def _data_root() -> Path:
    named = _named_by(DATA_VARIABLE)
    if named is not None:
        return named
    standard = ("Library", "Application Support") if sys.platform == "darwin" else (".local", "share")
    return _platform_folder("XDG_DATA_HOME", standard, DATA_VARIABLE)


def _cache_root(variable: str | None = None) -> Path:
    standard = ("Library", "Caches") if sys.platform == "darwin" else (".cache",)
    return _platform_folder("XDG_CACHE_HOME", standard, variable or "XDG_CACHE_HOME")


def _named_by(variable: str | None) -> Path | None:
    text = os.environ.get(variable, "").strip() if variable else ""
    if not text:
        return None
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:  # ~ or ~name where no home folder is known
        raise ConfigurationError(f"the home folder in {text!r} is not known; write the whole path") from None


def _platform_folder(xdg_variable: str, standard: tuple[str, ...], variable: str) -> Path:
    chosen = os.environ.get(xdg_variable, "").strip()
    # The specification of these variables says to ignore a relative path. macOS does not have them.
    if sys.platform != "darwin" and chosen.startswith("/"):
        return Path(chosen) / "hokusai"
    return _home(variable).joinpath(*standard, "hokusai")


def _home(variable: str) -> Path:
    try:
        home = Path.home()
    except RuntimeError:
        raise ConfigurationError(
            f"this user has no home folder (HOME is not set, and the system knows none); set {variable}"
        ) from None
    if not home.is_absolute():
        raise ConfigurationError(
            f"HOME is {os.environ.get('HOME', '')!r}, which is not an absolute path; set HOME, or {variable}"
        )
    return home
