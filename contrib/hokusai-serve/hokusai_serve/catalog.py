"""Catalog: the signatures that a server offers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final

from hokusai_core import Executor
from hokusai_core.errors import SignatureError, SignatureNotFoundError
from hokusai_core.plugin_api import did_you_mean
from hokusai_core.types import RegisteredSignature
from hokusai_serve.limits import ServeLimits
from hokusai_serve.schemas import SignatureSchemas

__all__ = ["Catalog"]

#: A name or ``pack/Name``. What looks like a file or an address of one is never looked up.
_NAME: Final = re.compile(r"[A-Za-z_][\w-]*(?:\.[\w-]+)*(?:/[A-Za-z_][\w-]*(?:\.[\w-]+)*)?", re.ASCII)


class Catalog:
    """Finds the signatures that are served, by name, and their schemas.

    Args:
        executor: the executor that has them.
        include: names or patterns such as ``"Email*"`` or ``"standard/*"``; empty for all.
        limits: bounds of requests.
    """

    def __init__(self, executor: Executor, include: Sequence[str], limits: ServeLimits) -> None:
        self._executor, self._include, self._limits = executor, tuple(include), limits
        self._schemas: dict[str, tuple[RegisteredSignature, SignatureSchemas]] = {}

    def list(self) -> Sequence[tuple[str, RegisteredSignature]]:
        """Return the name and the entry of every signature that is served, sorted by name."""
        found = []
        registry = self._executor.signatures
        for name in self._executor.list_signatures():
            try:
                entry = registry.resolve(name)
            except SignatureError:  # one that cannot be used; `hokusai plugins` says why
                continue
            if self._is_served(entry):
                found.append((name, entry))
        return found

    def find(self, name: str) -> RegisteredSignature:
        """Return the signature of a name, an alias, or ``pack/Name``.

        Raises:
            SignatureNotFoundError: there is none, or it is not served.
            AmbiguousSignatureError: several packs have it.
        """
        if _NAME.fullmatch(name) and not name.endswith(".json"):
            entry = self._executor.signatures.resolve(name)
            if self._is_served(entry):
                return entry
        names = [name for name, _ in self.list()]
        raise SignatureNotFoundError(f"there is no signature {name[:100]!r}{did_you_mean(name[:100], names)}")

    def schemas(self, entry: RegisteredSignature) -> SignatureSchemas:
        """Return the schemas of a signature; they are made once for each edition."""
        kept = self._schemas.get(entry.qualified_name)
        if kept is None or kept[0].spec is not entry.spec:
            kept = self._schemas[entry.qualified_name] = (entry, SignatureSchemas(entry.spec, self._limits))
        return kept[1]

    def _is_served(self, entry: RegisteredSignature) -> bool:
        names = (entry.name, entry.qualified_name)
        return not self._include or any(fnmatchcase(name, pattern) for name in names for pattern in self._include)
