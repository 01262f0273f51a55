"""Reads, counts and removes entries in bulk, in portions: no request holds the server up."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any, Final

from hokusai_redis.names import KeyNames

__all__ = ["count_entries", "read_entries", "remove_entries"]

_PORTION: Final = 500
#: Seconds that counting takes at most: executors count whenever they are asked for their figures.
_COUNTING: Final = 1.0


def read_entries(client: Any, names: KeyNames) -> Iterator[tuple[bytes, str, bytes]]:
    """Yield name, key and bytes of every entry, each once."""
    seen: set[bytes] = set()
    for portion in _portions(client, names):
        fresh = [name for name in portion if name not in seen]
        seen.update(fresh)
        for name, data in zip(fresh, client.mget(fresh) if fresh else (), strict=True):
            if data is not None:
                yield name, names.key(name), data


def count_entries(client: Any, names: KeyNames) -> tuple[int, int, bool]:
    """Return the number of entries, their bytes, and whether all were counted."""
    until = time.monotonic() + _COUNTING
    seen: set[bytes] = set()
    size = 0
    for portion in _portions(client, names):
        fresh = [name for name in portion if name not in seen]
        seen.update(fresh)
        pipeline = client.pipeline(transaction=False)
        for name in fresh:
            pipeline.strlen(name)
        size += sum(length for length in pipeline.execute(raise_on_error=False) if isinstance(length, int))
        if time.monotonic() > until:
            return len(seen), size, False
    return len(seen), size, True


def remove_entries(client: Any, names: KeyNames, keys: Iterable[str] | None = None) -> int:
    """Remove the entries of some keys, or all; return how many there were."""
    if keys is None:
        return sum(client.unlink(*portion) for portion in _portions(client, names) if portion)
    removed = 0
    doomed: list[bytes] = []
    for key in keys:
        doomed.append(names.entry(key))
        if len(doomed) >= _PORTION:
            removed += client.unlink(*doomed)
            doomed = []
    return removed + (client.unlink(*doomed) if doomed else 0)


def _portions(client: Any, names: KeyNames) -> Iterator[list[bytes]]:
    cursor = 0
    while True:
        cursor, found = client.scan(cursor=cursor, match=names.entries, count=_PORTION)
        yield found
        if not cursor:
            return
