"""CacheEntry: one stored answer."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

__all__ = ["CacheEntry"]

#: Seconds that an entry may seem to come from the future: clocks are set a little now and then.
_DRIFT = 2.0


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
