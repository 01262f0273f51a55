"""The conformance suite for caches: subclass ``CacheConformance`` in the tests of a plugin that offers one.

Example::

    class TestMyCache(CacheConformance):
        @pytest.fixture
        def make_cache(self, tmp_path):
            return lambda: MyCache(tmp_path / "store")
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Final

import pytest

from hokusai_core.cache_entry import CacheEntry
from hokusai_core.errors import CacheError
from hokusai_core.protocols import Cache, CacheMaintenance
from hokusai_core.testing.capabilities import Conformance, error_in_fork, settled
from hokusai_core.testing.event_loops import run_watched
from hokusai_core.testing.leftovers import leftovers

__all__ = ["CacheConformance", "make_entry"]

#: Keys are hexadecimal digests; a cache must not fall to one that is not, as it may come from anywhere.
HOSTILE_KEYS = (
    "",
    "../../etc/passwd",
    "/absolute",
    "a'; DROP TABLE Cache; --",
    'quote"d',
    "%s %d {}",
    "new\nline",
    "nul\x00byte",
    "ключ-鍵-🗝",
    "k" * 10_000,
    "CON",
    "0",
    "-1",
    "null",
)

#: Seconds within which a cache that cannot answer says so, and within which it works again after that.
_SOON: Final = 2.0
_RECOVERY: Final = 30.0


def make_entry(key: str = "ab" * 32, **changes: Any) -> CacheEntry:
    """Return an entry with every field set, stored now, with ``changes`` applied."""
    values: dict[str, Any] = {
        "key": key,
        "signature": "pack/Greet",
        "outputs": b'{"greeting":"Hello"}',
        "model": "null/model",
        "created_at": time.time(),
        "expires_at": None,
        "latency": 0.25,
        "cost": 0.001,
        "input_tokens": 12,
        "output_tokens": 3,
        "parts": {"fingerprint": "0011", "input:name": "2233"},
    }
    return CacheEntry(**values | changes)


class CacheConformance(Conformance):
    """Tests that every cache passes. The fixture ``make_cache`` returns a function that makes one on the same store.

    The fixture ``outage`` lets its store be out of reach; without it, the tests of that are skipped.
    """

    @pytest.fixture
    def make_cache(self) -> Callable[[], Cache]:
        """Return what makes a cache; each call in one test uses the same, initially empty, store."""
        raise NotImplementedError("define the fixture make_cache")

    @pytest.fixture
    def cache(self, make_cache: Callable[[], Cache]) -> Iterator[Cache]:
        """Yield one cache and close it."""
        made = make_cache()
        yield made
        made.close()

    def test_satisfies_the_protocol(self, cache: Cache) -> None:
        """It has every method, a word for its tier and a secret."""
        assert isinstance(cache, Cache)
        assert cache.tier
        assert isinstance(cache.tier, str)
        assert isinstance(cache.secret, bytes)
        assert len(cache.secret) >= 16

    def test_a_missing_key_gives_none(self, cache: Cache) -> None:
        """There is nothing where nothing was stored."""
        assert cache.get("00" * 32) is None

    def test_gives_back_what_was_stored(self, cache: Cache) -> None:
        """Every field comes back equal and in its type."""
        entry = make_entry(expires_at=time.time() + 1000)
        cache.put(entry)
        assert cache.get(entry.key) == entry

    def test_gives_back_optional_fields_that_are_absent(self, cache: Cache) -> None:
        """No cost is None, not zero."""
        entry = make_entry(cost=None, expires_at=None, parts={}, input_tokens=0, output_tokens=0)
        cache.put(entry)
        assert cache.get(entry.key) == entry

    def test_a_key_holds_the_latest_entry(self, cache: Cache) -> None:
        """Storing again replaces."""
        cache.put(make_entry(outputs=b'{"greeting":"old"}'))
        cache.put(make_entry(outputs=b'{"greeting":"new"}', model="other"))
        found = cache.get(make_entry().key)
        assert found is not None
        assert (found.outputs, found.model) == (b'{"greeting":"new"}', "other")

    def test_keys_are_told_apart(self, cache: Cache) -> None:
        """What is stored under one key is not found under another, not even one that differs in case or length."""
        for key in ("ab", "abc", "AB", "ab "):
            cache.put(make_entry(key, outputs=f'{{"greeting":"{key}"}}'.encode()))
        for key in ("ab", "abc", "AB", "ab "):
            found = cache.get(key)
            assert found is not None
            assert found.outputs == f'{{"greeting":"{key}"}}'.encode()

    def test_an_expired_entry_is_not_passed_off_as_fresh(self, cache: Cache) -> None:
        """An entry past its time is gone, or says that it has expired."""
        cache.put(make_entry(expires_at=time.time() - 1))
        found = cache.get(make_entry().key)
        assert found is None or found.expired(time.time())

    def test_an_entry_that_has_not_expired_is_there(self, cache: Cache) -> None:
        """Time that is left counts."""
        entry = make_entry(expires_at=time.time() + 60)
        cache.put(entry)
        assert cache.get(entry.key) == entry

    @pytest.mark.parametrize("key", HOSTILE_KEYS, ids=lambda key: ascii(key[:20]))
    def test_any_text_is_a_key(self, cache: Cache, key: str) -> None:
        """A key is data: no path, no statement, no pattern."""
        entry = make_entry(key)
        cache.put(entry)
        assert cache.get(key) == entry
        assert cache.get(key + "x") is None

    def test_keeps_any_text(self, cache: Cache) -> None:
        """Outputs and names are kept byte for byte."""
        outputs = '{"greeting":"Grüße, 世界 🌍 \\u0000 \\ud83d"}'.encode()
        entry = make_entry(outputs=outputs, signature="pack/Grüßen", model="模型/🌍")
        cache.put(entry)
        assert cache.get(entry.key) == entry

    def test_event_loops_share_it(self, cache: Cache) -> None:
        """The asynchronous methods do as the others, also from a second event loop."""

        async def store_and_read(first: int) -> list[CacheEntry | None]:
            entries = [make_entry(f"{number:064x}") for number in range(first, first + 20)]
            await asyncio.gather(*(cache.aput(entry) for entry in entries))
            found = list(await asyncio.gather(*(cache.aget(entry.key) for entry in entries)))
            assert found == entries
            return found

        asyncio.run(store_and_read(0))
        found = asyncio.run(store_and_read(100))
        assert cache.get(f"{100:064x}") == found[0]
        assert asyncio.run(cache.aget("ff" * 32)) is None

    def test_its_methods_agree(self, cache: Cache) -> None:
        """What one stores, the other reads whole: every field, and the time at which it expires."""
        first, second = make_entry("aa" * 32, expires_at=time.time() + 1000), make_entry("bb" * 32, cost=None)
        cache.put(first)
        assert asyncio.run(cache.aget(first.key)) == first
        asyncio.run(cache.aput(second))
        assert cache.get(second.key) == second

    def test_an_event_loop_goes_on(self, cache: Cache) -> None:
        """While the asynchronous methods wait for the store."""
        self.require("asynchronous")
        entries = [make_entry(f"{number:064x}") for number in range(4)]

        async def use() -> None:
            entry = entries.pop()
            assert await cache.aget(entry.key) is None
            await cache.aput(entry)
            assert await cache.aget(entry.key) == entry

        run_watched(use, allowed=self.calls_on_loop)

    def test_works_in_a_forked_process(self, cache: Cache) -> None:
        """An object that was used before works on both sides; where it is durable, both see what the other stores."""
        self.require_fork(cache)
        before, inside, after = (make_entry(key * 32) for key in ("aa", "bb", "cc"))
        cache.put(before)

        def use() -> None:
            assert cache.get(before.key) == before
            cache.put(inside)
            assert cache.get(inside.key) == inside

        assert error_in_fork(use) is None
        cache.put(after)
        assert [cache.get(entry.key) for entry in (before, after)] == [before, after]
        assert cache.get(inside.key) == (inside if self.durable else None)

    def test_what_a_killed_process_stored_is_there(self, make_cache: Callable[[], Cache]) -> None:
        """An entry is in the store when ``put`` returns."""
        self.require("durable")

        def store_and_die() -> None:
            make_cache().put(make_entry())
            os.kill(os.getpid(), signal.SIGKILL)

        assert "killed" in str(error_in_fork(store_and_die))
        cache = make_cache()
        assert cache.get(make_entry().key) is not None
        cache.close()

    def test_an_outage_is_told_soon_and_ends(
        self, cache: Cache, outage: Callable[[], AbstractContextManager[object]]
    ) -> None:
        """A store that cannot be reached is a ``CacheError``, without long waits; later the cache works again."""
        entry = make_entry()
        cache.put(entry)
        with outage():
            started = time.monotonic()
            uses: list[Callable[[], object]] = [
                lambda: cache.get(entry.key),
                lambda: cache.put(entry),
                lambda: asyncio.run(cache.aget(entry.key)),
            ]
            for use in uses:
                with pytest.raises(CacheError):
                    use()
            assert time.monotonic() - started < 3 * _SOON

        def works() -> bool:
            try:
                cache.put(make_entry(outputs=b'{"greeting":"again"}'))
                found = cache.get(entry.key)
            except CacheError:
                return False
            return found is not None and found.outputs == b'{"greeting":"again"}'

        assert settled(works, _RECOVERY), "it does not come back after an outage"

    def test_nothing_shows_its_secret(self, cache: Cache) -> None:
        """Who knows it can guess sensitive inputs from keys."""
        cache.put(make_entry())
        shown = repr(cache) + str(cache)
        if isinstance(cache, CacheMaintenance):
            shown += json.dumps(dict(cache.stats()))
        secret = cache.secret
        for text in (repr(secret), secret.hex(), base64.b64encode(secret).decode()):
            assert text.strip("b'\"") not in shown

    def test_closing_releases_everything(self, make_cache: Callable[[], Cache]) -> None:
        """No file and no thread is left."""
        with leftovers() as left:
            for number in range(3):
                cache = make_cache()
                cache.put(make_entry(f"{number:064x}"))
                asyncio.run(cache.aget(f"{number:064x}"))
                cache.close()
        assert left() == []

    def test_closing_twice_is_harmless(self, make_cache: Callable[[], Cache]) -> None:
        """Whether it was used or not."""
        unused, used = make_cache(), make_cache()
        used.put(make_entry())
        for cache in (unused, used):
            cache.close()
            cache.close()

    def test_outlives_the_object(self, make_cache: Callable[[], Cache]) -> None:
        """What one object stored, another finds; and both hash sensitive inputs alike."""
        self.require("durable")
        first = make_cache()
        entry, secret = make_entry(), first.secret
        first.put(entry)
        first.close()
        second = make_cache()
        assert second.get(entry.key) == entry
        assert second.secret == secret
        second.close()

    def test_two_objects_share_the_store(self, make_cache: Callable[[], Cache]) -> None:
        """An object that has the store open already sees an entry that another one puts."""
        self.require("durable")
        first, second = make_cache(), make_cache()
        assert second.get(make_entry().key) is None
        first.put(make_entry(outputs=b'{"greeting":"shared"}'))
        found = second.get(make_entry().key)
        assert found is not None
        assert found.outputs == b'{"greeting":"shared"}'
        first.close()
        second.close()

    def test_lists_entries(self, cache: Cache) -> None:
        """All of them, or those of one signature."""
        shelf = self._maintained(cache)
        stored = {
            key: make_entry(key, signature=signature)
            for key, signature in (("a1", "pack/A"), ("a2", "pack/A"), ("b1", "pack/B"), ("c1", "pack/A%"))
        }
        for entry in stored.values():
            cache.put(entry)
        assert {entry.key: entry for entry in shelf.entries()} == stored
        assert sorted(entry.key for entry in shelf.entries("pack/A")) == ["a1", "a2"]
        assert list(shelf.entries("pack/None")) == []

    def test_removes_entries(self, cache: Cache) -> None:
        """By signature, by age, by both, or all; and says how many."""
        shelf = self._maintained(cache)
        now = time.time()
        for key, signature, age in (
            ("a1", "A", 0),
            ("a2", "A", 5000),
            ("b1", "B", 5000),
            ("b2", "B", 0),
            ("c1", "C", 0),
        ):
            cache.put(make_entry(key, signature=signature, created_at=now - age))
        assert shelf.remove(signature="A", older_than=1000) == 1
        assert cache.get("a2") is None
        assert shelf.remove(older_than=1000) == 1
        assert shelf.remove(signature="B") == 1
        assert sorted(entry.key for entry in shelf.entries()) == ["a1", "c1"]
        assert shelf.remove() == 2
        assert list(shelf.entries()) == []
        assert shelf.remove() == 0

    def test_describes_itself(self, cache: Cache) -> None:
        """The figures are JSON-able and count the entries."""
        shelf = self._maintained(cache)
        cache.put(make_entry("a1"))
        cache.put(make_entry("a2"))
        figures = dict(shelf.stats())
        json.dumps(figures)
        assert figures["entries"] == 2
        assert figures["bytes"] > 0

    def test_keeps_large_answers(self, cache: Cache) -> None:
        """Five megabytes come back whole."""
        entry = make_entry(outputs=b'{"greeting":"' + b"x" * 5_000_000 + b'"}')
        cache.put(entry)
        assert cache.get(entry.key) == entry

    def test_threads_share_it(self, cache: Cache) -> None:
        """Eight threads store and read at once; each key holds an entry that belongs to it."""
        failures: list[object] = []

        def work(number: int) -> None:
            try:
                for turn in range(10):
                    key = f"{(number * 7 + turn) % 25:064x}"
                    cache.put(make_entry(key, outputs=f'{{"greeting":"{key}"}}'.encode()))
                    found = cache.get(key)
                    if found is None or found.outputs != f'{{"greeting":"{key}"}}'.encode():
                        failures.append((key, found))
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []

    @staticmethod
    def _maintained(cache: Cache) -> CacheMaintenance:
        if not isinstance(cache, CacheMaintenance):
            pytest.skip("this cache leaves maintenance out")
        return cache
