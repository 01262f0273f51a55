"""The file format of an entry: three lines of JSON, checked when they are read.

The first line is a keyed digest of the key and the rest, the second describes the answer, the third is the answer.
The digest finds bits that rotted and rows that were moved or planted. The description is checked field by field as
well. So reading gives an entry or ``Damaged``, whatever is in the store.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import orjson

from hokusai_core.plugin_api import CacheEntry

__all__ = ["Damaged", "decode", "encode"]

#: Version of this format; another one counts as damage.
FORMAT = 1
_DIGEST_BYTES = 16
_TEXTS = frozenset({str})
_FIRST_LINE = 2 * _DIGEST_BYTES + 2


class Damaged(ValueError):
    """What is stored is not an entry in this format."""


def encode(entry: CacheEntry, secret: bytes) -> bytes:
    """Return ``entry`` as bytes that only ``secret`` and the entry's own key open again.

    Raises:
        TypeError: a field has a value without a JSON form.
    """
    described = orjson.dumps(
        [
            FORMAT,
            entry.signature,
            entry.model,
            entry.created_at,
            entry.expires_at,
            entry.latency,
            entry.cost,
            entry.input_tokens,
            entry.output_tokens,
            dict(entry.parts),
        ]
    )
    body = described + b"\n" + entry.outputs
    return b'"%b"\n%b' % (_digest(entry.key, body, secret), body)


def decode(key: str, data: bytes, secret: bytes) -> CacheEntry:
    """Return the entry that ``encode`` wrote under ``key``.

    Raises:
        Damaged: it did not.
    """
    body = data[_FIRST_LINE + 1 :]
    # Not compared in constant time: an attacker who can measure it can read the store.
    if data[: _FIRST_LINE + 1] != b'"%b"\n' % _digest(key, body, secret):
        raise Damaged("the digest does not match")
    line, separator, outputs = body.partition(b"\n")
    if not separator:
        raise Damaged("the answer is missing")
    try:
        described = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise Damaged("the description is not JSON") from None
    return CacheEntry(key, described[1], outputs, *described[2:]) if _fits(described) else _misfit()


def _digest(key: str, body: bytes, secret: bytes) -> bytes:
    name = key.encode()
    # Its length keeps a key and an answer from being cut elsewhere.
    return (
        hashlib.blake2b(b"%d:%b%b" % (len(name), name, body), digest_size=_DIGEST_BYTES, key=secret)
        .hexdigest()
        .encode()
    )


def _misfit() -> CacheEntry:
    raise Damaged("the description does not fit the format")


def _fits(described: Any) -> bool:
    if type(described) is not list or len(described) != 10:
        return False
    version, signature, model, created, expires, latency, cost, tokens_in, tokens_out, parts = described
    return (
        version == FORMAT
        and type(signature) is str
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
