"""The signatures that this user has imported, as a pack: one JSON file each in the user's data folder."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hokusai_core import PluginWarning, hookimpl, plugin_api  # by the module: every command loads this plugin
from hokusai_core.errors import HokusaiError, SignatureNotFoundError

if TYPE_CHECKING:
    from hokusai_core import BaseSignature, SignatureSpec

__all__ = [
    "HOKUSAI_HOOK_API",
    "imported_file",
    "imported_names",
    "provide_signatures",
    "remove_imported",
    "write_imported",
]

#: The hook contract that this plugin is written for.
HOKUSAI_HOOK_API = 1

_FOLDER: Final = "signatures"


@hookimpl
def provide_signatures() -> list[type[BaseSignature]]:
    """Offer the signatures that this user has imported; one that cannot be read is left out with a warning."""
    found = []
    for name in imported_names():
        import json

        from hokusai_core import BaseSignature  # most users have imported none

        path = imported_file(name)
        try:
            found.append(BaseSignature.from_dict(json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, HokusaiError) as error:
            warnings.warn(f"the imported signature {path} cannot be used: {error}", PluginWarning, stacklevel=2)
    return found


def imported_names() -> list[str]:
    """Return the names of the signatures that were imported, sorted."""
    try:
        return sorted(path.stem for path in plugin_api.user_data_folder(_FOLDER).glob("*.json"))
    except (HokusaiError, OSError):  # a user without a home has imported nothing
        return []


def imported_file(name: str) -> Path:
    """Return the file of an imported signature."""
    return plugin_api.user_data_folder(_FOLDER) / f"{name}.json"


def write_imported(name: str, spec: SignatureSpec) -> Path:
    """Keep a signature under a name, and return its file."""
    import json

    plugin_api.private_folder(plugin_api.user_data_folder(_FOLDER))
    path = imported_file(name)
    plugin_api.atomic_write(
        path, [json.dumps(spec.to_dict(), indent=2, ensure_ascii=False).encode("utf-8", "replace"), b"\n"]
    )
    return path


def remove_imported(name: str) -> None:
    """Remove an imported signature.

    Raises:
        SignatureNotFoundError: nothing was imported under that name.
    """
    if not re.fullmatch(r"\w+", name) or not imported_file(name).exists():
        raise SignatureNotFoundError(
            f"nothing was imported as {name!r}; there are {', '.join(imported_names()) or 'none'}"
        )
    imported_file(name).unlink()
