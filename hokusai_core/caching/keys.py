"""Cache keys: hashes over everything that must be equal for an answer to be served again.

A key is the SHA-256 of canonical JSON over the signature's fingerprint, the bound inputs, the language model's
identity and parameters, the adapter, the namespace and the version of this scheme. Credentials never enter. Values of
sensitive fields, headers and parameters whose names may be those of credentials enter only as an HMAC with the store's
secret, so that a key gives nothing away.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Any

from hokusai_core.json_encoding import canonical_json

__all__ = ["SCHEMA", "KeyScheme"]

#: Raised whenever the meaning of a key or of a stored entry changes; older entries are then never found again.
SCHEMA = 1


class KeyScheme:
    """Makes the keys of one signature with one language model.

    Args:
        parts: what does not depend on the inputs, part -> JSON-able value.
        sensitive: names of the inputs that enter hashed.
        secret: returns the store's secret; asked anew for every key, since the store may be down for a while.
        unshown: what enters as an HMAC and does not depend on the inputs; empty for nothing.
    """

    def __init__(
        self,
        parts: Mapping[str, Any],
        sensitive: frozenset[str],
        secret: Callable[[], bytes],
        unshown: Mapping[str, Any] | None = None,
    ) -> None:
        self._parts = {**parts, "schema": SCHEMA}
        self._sensitive = sensitive
        self._secret = secret
        self._digests: dict[str, str] = {}
        self._prefix = hashlib.sha256(canonical_json(self._parts))
        self._unshown = canonical_json(unshown) if unshown else b""
        #: Secret and HMAC of what is not shown; replaced when the store gives another secret.
        self._unshown_digest = b"", ""

    def key(self, inputs: Mapping[str, Any]) -> str:
        """Return the key of bound ``inputs``, 64 hexadecimal digits."""
        state = self._prefix.copy()
        if self._unshown:
            state.update(self._hash_unshown().encode())
        state.update(canonical_json(self._hash_sensitive(inputs) if self._sensitive else inputs))
        return state.hexdigest()

    def explain(self, inputs: Mapping[str, Any]) -> dict[str, str]:
        """Return every part that goes into the key, as a short digest each; equal digests mean equal parts."""
        if not self._digests:
            self._digests = {part: _digest(value) for part, value in self._parts.items()}
        hidden = {"unshown_parameters": self._hash_unshown()[:16]} if self._unshown else {}
        hashed = {f"input:{name}": _digest(value) for name, value in self._hash_sensitive(inputs).items()}
        return self._digests | hidden | hashed

    def _hash_unshown(self) -> str:
        secret = self._secret()
        known, digest = self._unshown_digest
        if known != secret:
            digest = hmac.new(secret, self._unshown, hashlib.sha256).hexdigest()
            self._unshown_digest = secret, digest
        return digest

    def _hash_sensitive(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        if not self._sensitive:
            return inputs
        secret = self._secret()
        return {
            name: {"hmac": hmac.new(secret, canonical_json(value), hashlib.sha256).hexdigest()}
            if name in self._sensitive
            else value
            for name, value in inputs.items()
        }


def _digest(value: Any) -> str:
    return hashlib.sha256(canonical_json(value)).hexdigest()[:16]
