"""What the memory tier lets go: what was used longest ago, what is too large, what has expired."""

from __future__ import annotations

import threading
import time
from typing import Any

from hokusai_core.plugin_api import MemoryCache
from hokusai_core.testing.caches import make_entry


def keys(cache: MemoryCache) -> list[str]:
    return [entry.key for entry in cache.entries()]


def test_what_was_used_longest_ago_goes_first() -> None:
    cache = MemoryCache(max_entries=3)
    for key in "abc":
        cache.put(make_entry(key))
    assert cache.get("a") is not None
    cache.put(make_entry("d"))
    cache.put(make_entry("c", model="again"))
    cache.put(make_entry("e"))
    assert sorted(keys(cache)) == ["c", "d", "e"]
    assert cache.stats()["evicted"] == 2


def test_it_is_bounded_by_bytes() -> None:
    cache = MemoryCache(max_bytes=100_000)
    for number in range(100):
        cache.put(make_entry(str(number), outputs=b"x" * 10_000))
        assert cache.stats()["bytes"] <= 100_000
    assert 5 <= cache.stats()["entries"] <= 9
    assert cache.get("99") is not None
    cache.put(make_entry("huge", outputs=b"x" * 200_000))
    assert cache.get("huge") is None
    assert cache.get("99") is not None, "what can never fit drives nothing out"
    cache.put(make_entry("99", outputs=b"x" * 200_000))
    assert cache.get("99") is None, "nor does the old answer stay where the new one is too large"


def test_the_bytes_are_counted_back() -> None:
    cache = MemoryCache()
    for number in range(20):
        cache.put(make_entry(str(number % 5), outputs=b"x" * number, parts={"a": "b"} if number % 2 else {}))
    cache.put(make_entry("brief", expires_at=time.time() - 1))
    assert cache.get("brief") is None
    cache.remove(older_than=-1)
    assert cache.stats()["entries"] == cache.stats()["bytes"] == 0


def test_threads_keep_the_bounds() -> None:
    cache = MemoryCache(max_entries=50)
    errors: list[Any] = []

    def work(seed: int) -> None:
        try:
            for number in range(2_000):
                key = str((number * seed) % 97)
                cache.put(make_entry(key))
                found = cache.get(str((number + seed) % 97))
                if found is not None and found.key != str((number + seed) % 97):
                    errors.append(found)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (3, 5, 7, 11)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    figures = cache.stats()
    assert figures["entries"] == len(keys(cache)) == 50
    cache.remove()
    assert cache.stats()["bytes"] == 0
