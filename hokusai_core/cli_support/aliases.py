"""Aliases: words of the user's own for signatures and language models, which every command knows."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from hokusai_core import storage  # by the package: every command reads aliases, and few write them
from hokusai_core.cli_support.failures import CommandFailure, CommandMisuse

__all__ = ["aliases_file", "read_aliases", "remove_alias", "resolve_alias", "set_alias"]

_NAME: Final = re.compile(r"[A-Za-z][\w.-]*")


def aliases_file() -> Path:
    """Return the file in which the aliases of this user are kept."""
    return storage.user_data_folder() / "aliases.json"


def read_aliases() -> Mapping[str, str]:
    """Return alias -> what it stands for.

    Raises:
        CommandFailure: the file cannot be read.
    """
    path = aliases_file()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CommandFailure(f"{path} cannot be read: {error}; correct or remove it") from error
    if not isinstance(found, dict) or not all(isinstance(target, str) for target in found.values()):
        raise CommandFailure(f"{path} does not hold names of aliases and their targets; correct or remove it")
    return found


def resolve_alias(word: str) -> str:
    """Return what a word stands for, itself if it is not an alias."""
    return read_aliases().get(word, word)


def set_alias(name: str, target: str) -> None:
    """Let a name stand for a signature or a language model, in every later command of this user.

    Raises:
        CommandMisuse: the name cannot be one.
    """
    if not _NAME.fullmatch(name) or name.endswith((".json", ".py")):
        raise CommandMisuse(f"{name!r}: an alias has letters, digits, '_', '.' and '-', and begins with a letter")
    with storage.file_lock(storage.private_folder(aliases_file().parent) / "aliases.lock"):
        _write({**read_aliases(), name: target})


def remove_alias(name: str) -> None:
    """Remove an alias.

    Raises:
        CommandFailure: there is no such alias.
    """
    with storage.file_lock(storage.private_folder(aliases_file().parent) / "aliases.lock"):
        known = dict(read_aliases())
        if name not in known:
            raise CommandFailure(f"there is no alias {name!r}; hokusai alias list shows those that there are")
        del known[name]
        _write(known)


def _write(aliases: Mapping[str, str]) -> None:
    text = json.dumps(dict(sorted(aliases.items())), indent=2, ensure_ascii=False)
    storage.atomic_write(aliases_file(), [text.encode(), b"\n"])
