"""The project file: ``hokusai.toml``, or the table ``tool.hokusai`` of ``pyproject.toml``, in the current folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hokusai_core.errors import ConfigurationError
from hokusai_core.suggestions import did_you_mean

__all__ = ["project_settings"]

_NAMES: Final = ("hokusai.toml", "pyproject.toml")
#: Settings that a project file may give.
_KNOWN: Final = ("lm", "models", "prices", "max_cost", "budget_file", "unpriced")
#: Those that may be the path of a file, beside the project file.
_PATHS: Final = ("prices", "budget_file")
_LARGEST: Final = 1_000_000
#: How a line may begin that the table is on or in, however TOML lets it be written.
_MAY_HAVE_TABLE: Final = rb"(?m)^[ \t]*\[?[ \t]*[\"']?tool[\"']?[ \t]*(?:\.[ \t]*[\"']?hokusai|\]|=)"


def project_settings(environ: Mapping[str, str], *, search: bool) -> tuple[Mapping[str, Any], str]:
    """Return the settings of the project file by name, and how listings call the file; empty where there is none.

    Args:
        environ: ``HOKUSAI_CONFIG`` names the file; empty for none.
        search: whether to look into the current folder where the variable is not set.

    Raises:
        ConfigurationError: the file cannot be read, or holds what is not a setting.
    """
    named = environ.get("HOKUSAI_CONFIG")
    candidates = [Path(named)] if named else [Path(name) for name in _NAMES] if search and named is None else []
    for path in candidates:
        try:
            table = _table(path)
        except FileNotFoundError:
            if named:
                raise ConfigurationError(f"HOKUSAI_CONFIG: the file {named} does not exist") from None
            continue
        if table is not None:
            return _checked(table, path), f"file {path}"
    return {}, ""


def _table(path: Path) -> Mapping[str, Any] | None:
    """Return the settings in a file; None for a ``pyproject.toml`` that has none."""
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST + 1)
        if len(text) > _LARGEST:
            raise ConfigurationError(f"{path} is larger than {_LARGEST:,} bytes")
        if path.name == "pyproject.toml" and not re.search(_MAY_HAVE_TABLE, text):
            return None  # most of them, and reading one takes milliseconds
        import tomllib  # every start asks for the file, and few projects have one

        data = tomllib.loads(text.decode("utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        if path.name == "pyproject.toml":
            return None  # what is wrong with it is for others to say
        raise ConfigurationError(f"{path} cannot be read: {error}") from None
    if path.name != "pyproject.toml":
        return data
    table = data.get("tool", {}).get("hokusai")
    return table if isinstance(table, dict) else None


def _checked(table: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    for name in table:
        if name not in _KNOWN:
            raise ConfigurationError(
                f"{path}: there is no setting {name!r}{did_you_mean(name, _KNOWN)}; there are {', '.join(_KNOWN)}"
            )
    found = dict(table)
    for name in _PATHS:
        if isinstance(found.get(name), str):
            found[name] = str(path.parent / found[name])
    return found
