"""AcmeSample: finds signatures that replace others, in JSON files of a folder."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

from hokusai_core.errors import ArtifactError
from hokusai_core.plugin_api import (
    BaseSignature,
    Edition,
    SignatureSpec,
    atomic_write,
    private_folder,
    user_data_folder,
)

__all__ = ["AcmeSample"]


class AcmeSample:
    """One file for each namespace and name.

    Args:
        folder: where the files are; left out, a folder of the user.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self._folder = Path(folder) if folder is not None else user_data_folder("acme-plugin")

    def edition(self, name: str, spec: SignatureSpec, namespace: str) -> Edition | None:
        """Return what replaces a signature, None for nothing. Listings ask for every signature, so it is quick.

        Raises:
            ArtifactError: The signature has changed since.
        """
        try:
            data: dict[str, Any] = json.loads(self._path(name, namespace).read_bytes())
        except FileNotFoundError:
            return None
        if data["replaces"] != spec.fingerprint:
            raise ArtifactError(f"{name} has changed since its edition was made; publish a new one")
        return Edition(BaseSignature.from_dict(data["signature"]), data["in_force_since"])

    def publish(self, name: str, base: SignatureSpec, better: SignatureSpec, namespace: str = "default") -> None:
        """Let ``better`` replace ``base``, the signature called ``name``."""
        data = {"replaces": base.fingerprint, "signature": better.to_dict(), "in_force_since": time.time()}
        private_folder(self._folder)
        atomic_write(self._path(name, namespace), [json.dumps(data).encode()])

    def _path(self, name: str, namespace: str) -> Path:
        return self._folder / f"{hashlib.sha256(json.dumps([namespace, name]).encode()).hexdigest()}.json"
