"""load_signature: loads signatures by their addresses."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from hokusai_core.errors import ConfigurationError

__all__ = ["load_signature"]


def load_signature(uri: str) -> dict[str, Any]:
    """Return a signature as ``BaseSignature.to_dict`` writes it.

    Replace the file by what your registry answers.

    Args:
        uri: ``acme-plugin:/NAME``.

    Raises:
        ConfigurationError: There is no signature at that address.
    """
    name = uri.partition(":")[2].strip("/")
    known: dict[str, dict[str, Any]] = json.loads(resources.files(__package__).joinpath("signatures.json").read_text())
    if name not in known:
        raise ConfigurationError(f"there is no signature {name!r} at {uri}; there are {', '.join(sorted(known))}")
    return known[name]
