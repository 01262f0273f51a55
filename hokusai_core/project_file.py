"""The project file: ``hokusai.toml``, or the table ``tool.hokusai`` of ``pyproject.toml``, in the current folder."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from hokusai_core.errors import ConfigurationError
from hokusai_core.suggestions import did_you_mean

__all__ = ["find_project_file", "project_settings"]

_NAMES: Final = ("hokusai.toml", "pyproject.toml")
#: Settings that may be the path of a file, beside the project file.
_PATHS: Final = ("prices", "budget_file", "cassette")
_LARGEST: Final = 1_000_000
#: How a line may begin that the table is on or in, however TOML lets it be written.
_MAY_HAVE_TABLE: Final = rb"(?m)^[ \t]*\[?[ \t]*[\"']?tool[\"']?[ \t]*(?:\.[ \t]*[\"']?hokusai|\]|=)"


def project_settings(
    environ: Mapping[str, str], *, search: bool, known: Collection[str]
) -> tuple[Mapping[str, Any], str]:
    """Return the settings of the project file by name, and how listings call the file; empty where there is none.

    Args:
        environ: ``HOKUSAI_CONFIG`` names the file; empty for none.
        search: whether to look into the current folder where the variable is not set.
        known: settings that a project file may give.

    Raises:
        ConfigurationError: the file cannot be read, or holds what is not a setting.
    """
    path, table = _found(environ, search=search)
    return ({}, "") if path is None else (_checked(table, path, known), f"file {path}")


def find_project_file(environ: Mapping[str, str]) -> Path | None:
    """Return the project file of the current folder, or the one that ``HOKUSAI_CONFIG`` names; None for none."""
    return _found(environ, search=True)[0]


def _found(environ: Mapping[str, str], *, search: bool) -> tuple[Path | None, Mapping[str, Any]]:
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
            return path, table
    return None, {}


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


def _checked(table: Mapping[str, Any], path: Path, known: Collection[str]) -> Mapping[str, Any]:
    for name in table:
        if name not in known:
            raise ConfigurationError(
                f"{path}: there is no setting {name!r}{did_you_mean(name, known)}; there are {', '.join(known)}"
            )
    found = dict(table)
    for name in _PATHS:
        value = found.get(name)
        if isinstance(value, str) and value.strip().lower() not in ("", "none"):
            found[name] = str(path.parent / value)
    return found
