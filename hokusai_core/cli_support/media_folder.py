"""MediaFolder: turns what a data file names into files, and lets no row name a file elsewhere."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hokusai_core.errors import InputError

__all__ = ["MediaFolder"]

_NO_PATH = ("data:", "http://", "https://")


class MediaFolder:
    """Finds the pictures, sounds and files that the rows of a data file name.

    A row is data, and may come from anyone. So it can name files in one folder only, which is that of the data file
    unless the user names another: no row can send ``/etc/passwd`` to a provider, not by ``..`` and not by a link.

    Args:
        media: name or alias of each input of pictures, sounds or files -> whether it is a list of them.
        folder: the folder; None where no file can be named, as in rows from stdin.
    """

    def __init__(self, media: Mapping[str, bool], folder: Path | None) -> None:
        self.media, self._folder = media, folder

    def row(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a row, with paths in place of the names of files.

        Raises:
            InputError: a value names a file outside of the folder.
        """
        return {name: self._value(name, value) if name in self.media else value for name, value in values.items()}

    def _value(self, name: str, value: Any) -> Any:
        if isinstance(value, list):
            return [self._item(name, item) for item in value]
        if self.media[name] and isinstance(value, str) and not value.strip().startswith(("[", *_NO_PATH)):
            pieces = [piece.strip() for piece in re.split(r"[;,\n]", value)]
            return [self._path(name, piece) for piece in pieces if piece]
        return self._item(name, value)

    def _item(self, name: str, value: Any) -> Any:
        text = value.strip() if isinstance(value, str) else ""
        return value if not text or text.startswith(("[", "{", *_NO_PATH)) else self._path(name, text)

    def _path(self, name: str, text: str) -> Path:
        if self._folder is None:
            raise InputError(
                f"{name}: rows from stdin name files only with --media-folder DIR, and then in that folder"
            )
        folder = self._folder.expanduser().resolve()
        try:
            path = (folder / text).resolve()
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(f"{name}: {text[:200]!r} is not the name of a file ({type(error).__name__})") from None
        if not path.is_relative_to(folder):
            raise InputError(
                f"{name}: a row names a file outside of {folder}, from which nothing is read; move the file there, or "
                "name another folder with --media-folder DIR"
            )
        if not path.is_file():
            raise InputError(f"{name}: the file {text[:200]!r} was not found in {folder}")
        return path
