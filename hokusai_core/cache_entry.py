"""CacheEntry: one stored answer, and its form in bytes.

The bytes are three lines. The first is a keyed digest of the key and of the rest, the second describes the answer as a
JSON list that begins with the version of the format, the third is the answer as JSON. The digest finds bits that have
changed, and entries that were moved to another key or planted. The description is checked field by field as well. So
reading bytes gives the entry that was written, or ``DamagedEntryError``; nothing of them is executed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any, Final, Self

import orjson
from attrs import field, frozen

from hokusai_core.errors import DamagedEntryError

__all__ = ["CacheEntry"]

#: Seconds that an entry may seem to come from the future: clocks are set a little now and then.
_DRIFT = 2.0
#: Version of the form in bytes.
_FORMAT: Final = 1
_DIGEST_BYTES: Final = 16
#: Digest, quotes and line feed.
_FIRST_LINE: Final = 2 * _DIGEST_BYTES + 3
_TEXTS: Final = frozenset({str})


@frozen
class CacheEntry:
    """A validated answer with the data to serve, expire and explain it.

    Args:
        key: hexadecimal digest that it is stored under.
        signature: qualified name of the signature.
        outputs: the outputs as JSON text in UTF-8.
        model: name of the model that answered.
        created_at: seconds since the epoch.
        expires_at: seconds since the epoch, None for never.
        latency: seconds that the answer took.
        cost: estimated US dollars that it cost, None where unknown.
        input_tokens: tokens of the prompt.
        output_tokens: tokens of the answer.
        parts: what went into the key, part -> digest (``fingerprint``, ``model``, ``parameters``, ``adapter``,
            ``namespace``, ``schema``, ``input:<field>``), so that a miss can be explained without storing inputs.
    """

    key: str
    signature: str
    outputs: bytes
    model: str
    created_at: float
    expires_at: float | None
    latency: float
    cost: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    parts: Mapping[str, str] = field(factory=dict)

    def expired(self, now: float, ttl: float | None = None) -> bool:
        """Return whether the entry has expired at ``now`` for a reader that accepts an age below ``ttl`` seconds.

        An entry with a time to live has also expired if the clock was set back behind the time at which the entry was
        stored. Its age is then unknown.
        """
        if self.expires_at is None and ttl is None:
            return False
        age = now - self.created_at
        if age < -_DRIFT or (self.expires_at is not None and now >= self.expires_at):
            return True
        return ttl is not None and age >= ttl

    def to_bytes(self, secret: bytes) -> bytes:
        """Return the entry as bytes that only the same secret and the entry's own key open again.

        Args:
            secret: the secret of the cache.

        Raises:
            TypeError: A field has a value without a JSON form.

        Example:
            >>> entry = CacheEntry("00ff", "pack/Greet", b'{"greeting":"Hello"}', "null", 0.0, None, 0.5)
            >>> secret = b"16 random bytes!"
            >>> CacheEntry.from_bytes("00ff", entry.to_bytes(secret), secret) == entry
            True
        """
        described = orjson.dumps(
            [
                _FORMAT,
                self.signature,
                self.model,
                self.created_at,
                self.expires_at,
                self.latency,
                self.cost,
                self.input_tokens,
                self.output_tokens,
                dict(self.parts),
            ]
        )
        body = described + b"\n" + self.outputs
        return _digest_line(self.key, body, secret) + body

    @classmethod
    def from_bytes(cls, key: str, data: bytes, secret: bytes) -> Self:
        """Return the entry that ``to_bytes`` wrote.

        Args:
            key: the key that the bytes were stored under.
            data: the bytes.
            secret: the secret of the cache.

        Raises:
            DamagedEntryError: They were changed, belong to another key or secret, or are in another format. A cache
                removes such an entry and answers that it has none.
        """
        body = data[_FIRST_LINE:]
        # Not compared in constant time: an attacker who can measure it can read the store.
        if data[:_FIRST_LINE] != _digest_line(key, body, secret):
            raise DamagedEntryError("the digest of the entry does not match")
        line, separator, outputs = body.partition(b"\n")
        if not separator:
            raise DamagedEntryError("the entry has no answer")
        try:
            described = orjson.loads(line)
        except orjson.JSONDecodeError:
            raise DamagedEntryError("the description of the entry is not JSON") from None
        _check_description(described)
        return cls(key, described[1], outputs, *described[2:])


def _digest_line(key: str, body: bytes, secret: bytes) -> bytes:
    name = key.encode()
    # The length of the key keeps key and body from being split elsewhere.
    digest = hashlib.blake2b(b"%d:%b%b" % (len(name), name, body), digest_size=_DIGEST_BYTES, key=secret)
    return b'"%b"\n' % digest.hexdigest().encode()


def _check_description(described: Any) -> None:
    if type(described) is not list or not described:
        raise DamagedEntryError("the description of the entry is not a list")
    if described[0] != _FORMAT:
        raise DamagedEntryError(f"the entry is in format {described[0]!r}, and this version reads format {_FORMAT}")
    if not _fits(described):
        raise DamagedEntryError("the description of the entry does not fit the format")


def _fits(described: list[Any]) -> bool:
    if len(described) != 10:
        return False
    _, signature, model, created, expires, latency, cost, tokens_in, tokens_out, parts = described
    return (
        type(signature) is str
        and type(model) is str
        and _is_number(created)
        and (expires is None or _is_number(expires))
        and _is_number(latency)
        and (cost is None or _is_number(cost))
        and type(tokens_in) is int
        and type(tokens_out) is int
        and type(parts) is dict
        and set(map(type, parts.values())) <= _TEXTS
    )


def _is_number(value: Any) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))
