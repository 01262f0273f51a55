"""Which signature packs were there first: short names keep the meaning that they had before another pack came.

The file of an environment holds when each pack was first found in it. It is written when a pack is new, so only after
something was installed. Packs that are found at the same time have no order, and neither has an environment whose file
cannot be written.
"""

from __future__ import annotations

import json
import sys
import time
import zlib
from collections.abc import Iterable, Mapping
from typing import Final

from hokusai_core.errors import ConfigurationError
from hokusai_core.storage import user_data_folder

__all__ = ["arrivals"]

#: The pack that has the plain names; other packs come after it.
_STANDARD: Final = "hokusai-signatures"
_FOLDER: Final = "packs"


def arrivals(distributions: Iterable[str]) -> Mapping[str, float]:
    """Return when packs came into this environment, in seconds since the epoch.

    Args:
        distributions: their distributions; those that are not installed, with an empty name, are left out.
    """
    others = {name for name in distributions if name and name != _STANDARD}
    known: dict[str, float] = {}
    if others:
        try:
            known = _recorded(others)
        except (OSError, ConfigurationError):  # say a file system that nothing can be written to
            return {_STANDARD: 0.0}
    return {_STANDARD: 0.0, **known}


def _recorded(wanted: set[str]) -> dict[str, float]:
    path = user_data_folder(_FOLDER) / f"{zlib.crc32(sys.prefix.encode()):08x}.json"  # hashlib takes milliseconds
    try:
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        found = {}
    known = {str(name): float(since) for name, since in found.items() if isinstance(since, (int, float))}
    new = wanted - known.keys()
    if new:
        known |= dict.fromkeys(new, time.time())
        from hokusai_core.storage import atomic_write, private_folder  # only after something was installed

        private_folder(path.parent)
        atomic_write(path, [json.dumps(known).encode()])
    return {name: known[name] for name in wanted}
