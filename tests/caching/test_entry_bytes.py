"""The form of a cache entry in bytes: what was written comes back, and everything else is refused."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
import pytest

from hokusai_core.errors import DamagedEntryError
from hokusai_core.plugin_api import CacheEntry
from hokusai_core.testing.caches import make_entry

SECRET = b"16 random bytes!"
ENTRY = CacheEntry(
    "00ff", "pack/Greet", b'{"greeting":"Hello"}', "null/model", 1700000000.5, None, 0.25, 0.001, 12, 3,
    {"fingerprint": "0011"},
)  # fmt: skip
#: As Hokusai 0.1 wrote it.
STORED = (
    b'"1ae40d1693ff397c5e82f41addd83d8e"\n'
    b'[1,"pack/Greet","null/model",1700000000.5,null,0.25,0.001,12,3,{"fingerprint":"0011"}]\n'
    b'{"greeting":"Hello"}'
)


def test_the_format_is_that_of_earlier_versions() -> None:
    assert ENTRY.to_bytes(SECRET) == STORED
    assert CacheEntry.from_bytes("00ff", STORED, SECRET) == ENTRY


def test_any_changed_byte_another_key_and_another_secret_are_refused() -> None:
    for position in range(len(STORED)):
        changed = bytearray(STORED)
        changed[position] ^= 1
        with pytest.raises(DamagedEntryError):
            CacheEntry.from_bytes("00ff", bytes(changed), SECRET)
    for key, data, secret in (
        ("00fe", STORED, SECRET), ("00ff", STORED, b"s" * 16), ("00ff", b"", SECRET), ("00ff", STORED[:60], SECRET),
    ):  # fmt: skip
        with pytest.raises(DamagedEntryError, match="digest"):
            CacheEntry.from_bytes(key, data, secret)


def _signed(key: str, body: bytes) -> bytes:
    digest = hashlib.blake2b(b"%d:%b%b" % (len(key), key.encode(), body), digest_size=16, key=SECRET)
    return b'"%b"\n%b' % (digest.hexdigest().encode(), body)


@pytest.mark.parametrize(
    ("position", "wrong", "message"),
    [
        (0, 2, "format 2, and this version reads format 1"),
        *[
            (position, wrong, "does not fit")
            for position, wrong in (
                (1, 5), (2, None), (3, "now"), (3, None), (4, "never"), (5, []), (6, "free"), (7, 1.5), (8, True),
                (9, []), (9, {"model": 1}),
            )
        ],
    ],
)  # fmt: skip
def test_every_field_is_checked_even_where_the_digest_is_right(position: int, wrong: Any, message: str) -> None:
    """As when an attacker has read the secret, too."""
    entry = make_entry()
    described = orjson.loads(entry.to_bytes(SECRET).split(b"\n")[1])
    described[position] = wrong
    with pytest.raises(DamagedEntryError, match=message):
        CacheEntry.from_bytes(entry.key, _signed(entry.key, orjson.dumps(described) + b"\n{}"), SECRET)


@pytest.mark.parametrize("body", [b"no json\n{}", b"{}\n{}", b"[]\n{}", b"[1]"])
def test_a_description_of_another_form_is_refused(body: bytes) -> None:
    with pytest.raises(DamagedEntryError):
        CacheEntry.from_bytes("00ff", _signed("00ff", body), SECRET)


def test_a_value_without_a_json_form_is_an_error_of_the_writer() -> None:
    with pytest.raises(TypeError):
        make_entry(parts={"model": object()}).to_bytes(SECRET)
