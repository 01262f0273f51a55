"""Explain errors of the operating system: what each means for the user, and the next step."""

from __future__ import annotations

import errno
import os

__all__ = ["describe_os_error"]

_STEPS = {
    errno.EMFILE: "close files, run fewer rows at once, or raise the limit with ulimit -n",
    errno.ENFILE: "close programs, or raise the limit of the system (fs.file-max)",
    errno.ENOSPC: "free space, or choose a folder on another disk",
    errno.EDQUOT: "free space, or choose a folder on another disk",
    errno.EROFS: "choose a folder that can be written to",
    errno.EACCES: "check the permissions of the file and of its folders, or choose another path",
    errno.EPERM: "choose a file of your own",
    errno.ENOENT: "check the name, and that its folder exists",
    errno.ENOTDIR: "check the path: a part of it is a file",
    errno.EISDIR: "give the path of a file",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOLCK: "choose a folder on a local disk, since this file system knows no locks",
    errno.ENOTSUP: "choose a folder on a local disk, since this file system lacks something that is needed",
    errno.ENOMEM: "free memory, or run fewer rows at once",
}
_CAUSES = {
    errno.EMFILE: "this process has no file descriptors left{limit}",
    errno.ENFILE: "the system has no file descriptors left",
}


def describe_os_error(error: OSError, path: str | None = None) -> str:
    """Return the cause of an error in words, the file it concerns, and what to do next.

    Args:
        error: what the operating system reported.
        path: what to call the file; None for the name that the error holds.

    Example:
        >>> import errno
        >>> from hokusai_core.storage import describe_os_error
        >>> describe_os_error(OSError(errno.ENOSPC, "No space left on device", "/data/rows.journal"))
        '/data/rows.journal: No space left on device; free space, or choose a folder on another disk'
    """
    number = error.errno or 0
    cause = _CAUSES.get(number, "").format(limit=_descriptor_limit()) or error.strerror or str(error)
    name = path if path is not None or error.filename is None else os.fsdecode(error.filename)
    where = f"{name}: " if name and number not in _CAUSES else ""
    step = _STEPS.get(number)
    return f"{where}{cause}; {step}" if step else f"{where}{cause}"


def _descriptor_limit() -> str:
    try:
        import resource  # not on every platform, and only needed here
    except ImportError:
        return ""
    return f" (the limit is {resource.getrlimit(resource.RLIMIT_NOFILE)[0]})"
