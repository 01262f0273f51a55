"""Cache keys: what has to be equal for an answer to be served again.

A key is the SHA-256 of canonical JSON over the signature's fingerprint, the bound inputs, the language model's
identity and parameters, the adapter, the namespace and the version of this scheme. Credentials never enter; values
of sensitive fields enter only as an HMAC with the store's secret, so that a key gives nothing away.
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
    """

    def __init__(self, parts: Mapping[str, Any], sensitive: frozenset[str], secret: Callable[[], bytes]) -> None:
        self._parts = {**parts, "schema": SCHEMA}
        self._sensitive = sensitive
        self._secret = secret
        self._digests: dict[str, str] = {}
        self._prefix = hashlib.sha256(canonical_json(self._parts))

    def key(self, inputs: Mapping[str, Any]) -> str:
        """Return the key of bound ``inputs``, 64 hexadecimal digits."""
        state = self._prefix.copy()
        state.update(canonical_json(self._hash_sensitive(inputs) if self._sensitive else inputs))
        return state.hexdigest()

    def explain(self, inputs: Mapping[str, Any]) -> dict[str, str]:
        """Return every part that goes into the key, as a short digest each; equal digests mean equal parts."""
        if not self._digests:
            self._digests = {part: _digest(value) for part, value in self._parts.items()}
        return self._digests | {f"input:{name}": _digest(value) for name, value in self._hash_sensitive(inputs).items()}

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
