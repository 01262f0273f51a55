"""The provenance of a process: its main file, the git commit of that file, and the user."""

from __future__ import annotations

import contextlib
import getpass
import sys
from pathlib import Path

__all__ = ["provenance", "user"]


def provenance() -> dict[str, str]:
    """Return MLflow's tags for user, source file and git commit, those that are known.

    Example:
        >>> provenance()["mlflow.source.type"]
        'LOCAL'
    """
    found = {"mlflow.source.type": "LOCAL", "mlflow.source.name": "hokusai"}
    if name := user():
        found["mlflow.user"] = name
    main = getattr(sys.modules.get("__main__"), "__file__", None) or sys.argv[0]
    if main and Path(main).is_file():
        path = Path(main).absolute()
        found["mlflow.source.name"] = str(path)
        commit = _commit(path.parent)
        if commit:
            found["mlflow.source.git.commit"] = commit
    return found


def user() -> str:
    """Return the name of the user; "" in a container without an entry for this user."""
    with contextlib.suppress(KeyError, OSError, ImportError):
        return getpass.getuser()
    return ""


def _commit(folder: Path) -> str | None:
    """Return the commit that is checked out around ``folder``. Reading two files is faster than starting git."""
    for parent in (folder, *folder.parents):
        git = parent / ".git"
        try:
            if git.is_file():  # a worktree names its folder
                git = (parent / git.read_text(encoding="utf-8").removeprefix("gitdir:").strip()).resolve()
            head = (git / "HEAD").read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            continue
        return _resolve(git, head.removeprefix("ref:").strip()) if head.startswith("ref:") else head
    return None


def _resolve(git: Path, reference: str) -> str | None:
    common = git / "commondir"
    try:
        shared = (git / common.read_text(encoding="utf-8").strip()).resolve() if common.exists() else git
        loose = shared / reference
        if loose.is_file():
            return loose.read_text(encoding="utf-8").strip()
        for line in (shared / "packed-refs").read_text(encoding="utf-8").splitlines():
            if line.endswith(f" {reference}"):
                return line.split(" ", 1)[0]
    except (OSError, ValueError):
        pass
    return None
