"""The user's own folder for what Hokusai keeps between processes: feedback, promotions, unfinished studies.

``HOKUSAI_DATA_DIR`` names it; left out, it is where the platform keeps the data of users (``XDG_DATA_HOME``, else
``~/.local/share``, on Linux).
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from hokusai_core.errors import ConfigurationError

__all__ = ["private_folder", "user_data_folder"]

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def user_data_folder(*parts: str, variable: str | None = None) -> Path:
    """Return a folder inside that of the user; it is not made.

    Args:
        parts: names of folders inside it.
        variable: environment variable that names this very folder, in place of all that.

    Raises:
        ConfigurationError: nothing names it, and the user has no home folder.
    """
    own = os.environ.get(variable, "").strip() if variable else ""
    if own:
        return Path(own).expanduser().absolute()
    chosen = os.environ.get("HOKUSAI_DATA_DIR", "").strip()
    root = Path(chosen).expanduser().absolute() if chosen else _platform_folder() / "hokusai"
    return root.joinpath(*parts)


def private_folder(path: Path) -> Path:
    """Make a folder for this user alone where it is missing, and return it.

    Raises:
        ConfigurationError: it belongs to somebody else, or others can write to it, and so could plant something.
        OSError: it cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    seen = path.stat()
    if seen.st_uid != os.geteuid():
        raise ConfigurationError(
            f"the folder {path} belongs to another user (uid {seen.st_uid}); set HOKUSAI_DATA_DIR to one of your own"
        )
    if seen.st_mode & _OTHERS_WRITE:
        raise ConfigurationError(
            f"others can write to the folder {path} (mode {stat.S_IMODE(seen.st_mode):04o}) and plant something in it; "
            f"run chmod go-w {path}, or set HOKUSAI_DATA_DIR to a folder of your own"
        )
    return path


def _platform_folder() -> Path:
    if sys.platform == "darwin":
        return _home() / "Library" / "Application Support"
    chosen = os.environ.get("XDG_DATA_HOME", "").strip()
    # A relative one is to be ignored, says the specification of these variables.
    return Path(chosen) if chosen.startswith("/") else _home() / ".local" / "share"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        raise ConfigurationError(
            "this user has no home folder (HOME is not set, and the system knows none); set HOKUSAI_DATA_DIR"
        ) from None
