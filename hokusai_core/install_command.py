"""The command that installs a distribution, as it works where Hokusai was installed from."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

__all__ = ["install_command"]

#: Not compiled here: every command loads this module, and an error alone uses it.
_OURS: Final = r"(hokusai-[a-z-]+)(\[[\w,-]+\])?"


def install_command(*requirements: str, options: str = "") -> str:
    """Return the command that installs requirements into the environment of this process.

    A distribution of this project is given by its folder if Hokusai was installed from a clone, and by the folder of
    its wheel if it was installed from a wheel. Until there is a release, its name alone finds nothing on a registry.

    Args:
        requirements: names of distributions, with extras and versions where needed.
        options: options of ``pip install``.

    Example:
        >>> "pip install --upgrade pandas" in install_command("pandas", options="--upgrade")
        True
    """
    from shlex import quote  # not loaded where no command has to be named

    origin = _origin()
    named = [_argument(requirement, origin) for requirement in requirements]
    wheels = (
        origin is not None
        and origin.suffix == ".whl"
        and any(re.match(_OURS, requirement) for requirement in requirements)
    )
    found = [f"--find-links {quote(str(origin.parent))}"] if origin is not None and wheels else []
    return " ".join([_installer(), *filter(None, [options]), *found, *named])


def _argument(requirement: str, origin: Path | None) -> str:
    from shlex import quote

    ours = re.match(_OURS, requirement)
    if ours and origin is not None and origin.is_dir():
        places = [origin] if ours[1] == "hokusai-core" else [origin / part / ours[1] for part in ("plugins", "contrib")]
        folder = next((place for place in places if (place / "pyproject.toml").is_file()), None)
        if folder is not None:
            return quote(f"{folder}{ours[2] or ''}")
    return requirement if re.fullmatch(r"[\w.=-]+", requirement) else f"'{requirement}'"


def _origin() -> Path | None:
    """Return the clone or the wheel that the core was installed from; None if it came from a registry."""
    import json
    from importlib.metadata import PackageNotFoundError, distribution  # 30 ms that only an error has to pay
    from urllib.parse import unquote, urlsplit

    try:
        url = urlsplit(json.loads(distribution("hokusai-core").read_text("direct_url.json") or "{}").get("url", ""))
    except (PackageNotFoundError, OSError, ValueError, AttributeError):
        return None
    path = Path(unquote(url.path))
    return path if url.scheme == "file" and path.exists() else None


def _installer() -> str:
    """Return the installer; environments that uv has made have no pip."""
    from importlib.util import find_spec
    from shlex import quote

    return "pip install" if find_spec("pip") else f"uv pip install --python {quote(sys.executable)}"
