"""The cache stage: what it serves, and what it does with a persistent tier that fails."""

from __future__ import annotations

import asyncio
import time
import warnings
from typing import Any

import pytest

from hokusai_core.caching.tiers import CacheTiers
from hokusai_core.errors import CacheError, CacheWarning
from hokusai_core.plugin_api import MemoryCache
from hokusai_core.testing.caches import make_entry

KEY = make_entry().key


class Store(MemoryCache):
    """A persistent tier whose reading and writing can be made to fail."""

    tier = "disk"

    def __init__(self) -> None:
        super().__init__()
        self.reading: str | None = None
        self.writing: str | None = None
        self.asked = 0

    def get(self, key: str) -> Any:
        self.asked += 1
        if self.reading:
            raise CacheError(self.reading)
        return super().get(key)

    def put(self, entry: Any) -> None:
        self.asked += 1
        if self.writing:
            raise CacheError(self.writing)
        super().put(entry)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def stage(store: Store) -> CacheTiers:
    return CacheTiers(MemoryCache(), store, "store")


def test_what_is_found_behind_is_not_remembered_unasked(stage: CacheTiers, store: Store) -> None:
    """Who looked it up may have more to check."""
    entry = make_entry()
    store.put(entry)
    assert stage.look_up(KEY, time.time(), None) == entry
    assert stage.remembered(KEY, time.time(), None) is None
    stage.remember(entry)
    assert stage.remembered(KEY, time.time(), None) == entry


def test_what_is_too_old_is_not_served(stage: CacheTiers, store: Store) -> None:
    store.put(make_entry(created_at=time.time() - 10))
    assert stage.look_up(KEY, time.time(), 5) is None
    assert asyncio.run(stage.alook_up(KEY, time.time(), 5)) is None
    assert stage.look_up(KEY, time.time(), 50) is not None


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(
    "found",
    ["text", {"key": KEY}, make_entry("another"), make_entry(outputs="text")],
    ids=["text", "dict", "key", "str"],
)
def test_what_a_cache_returns_in_place_of_the_entry_is_not_served(found: Any, asynchronous: bool) -> None:
    class Erring(Store):
        def get(self, key: str) -> Any:
            return found

    stage = CacheTiers(MemoryCache(), Erring(), "store")
    with pytest.warns(CacheWarning, match=r"its get\(\) returned"):
        served = asyncio.run(stage.alook_up(KEY, 0.0, None)) if asynchronous else stage.look_up(KEY, 0.0, None)
    assert served is None
    assert stage.stats()["persistent"]["failures"] == 1


def test_what_does_not_fit_is_not_served(stage: CacheTiers, store: Store) -> None:
    store.put(make_entry())
    with pytest.warns(CacheWarning, match="holds no outputs"):
        assert stage.look_up(KEY, time.time(), None, lambda entry: False) is None
    assert stage.remembered(KEY, time.time(), None) is None


def test_writing_that_fails_does_not_keep_it_from_reading(stage: CacheTiers, store: Store) -> None:
    store.put(make_entry())
    store.writing = "the disk is full"
    with pytest.warns(CacheWarning, match=r"'store': the disk is full\. Executions go on"):
        stage.persist(make_entry("other"))
    asked = store.asked
    stage.persist(make_entry("other"))
    asyncio.run(stage.apersist(make_entry("other")))
    assert store.asked == asked  # left alone
    assert stage.look_up(KEY, time.time(), None) is not None
    assert stage.stats()["persistent"]["failures"] == 1
    assert stage.stats()["persistent"]["last_error"] == "the disk is full"


def test_it_is_tried_again_after_a_while(stage: CacheTiers, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time after a longer one, until it works."""
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(stage, "_note", lambda cause: None)
    store.reading = "it is locked"
    pauses = []
    for _ in range(7):
        asked, since = store.asked, now
        stage.look_up(KEY, 0.0, None)
        assert store.asked == asked + 1
        while stage._reading.resting:
            now += 0.5
        pauses.append(now - since)
    assert pauses == [1, 2, 4, 8, 15, 15, 15]
    store.reading = None
    store.put(make_entry())
    assert stage.look_up(KEY, 0.0, None) is not None
    store.reading = "it is locked"
    stage.look_up(KEY, 0.0, None)
    now += 1.0
    assert not stage._reading.resting


def test_many_who_meet_one_failure_cost_one_pause(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    stage = CacheTiers(MemoryCache(), store, "store")
    monkeypatch.setattr(stage, "_note", lambda cause: None)
    under_way = 0

    async def fail(entry: Any) -> None:
        nonlocal under_way
        under_way += 1
        while under_way < 50:  # noqa: ASYNC110  # all are under way before the first fails
            await asyncio.sleep(0)
        raise CacheError("it is locked")

    store.aput = fail  # type: ignore[method-assign]

    async def all_at_once() -> None:
        await asyncio.gather(*(stage.apersist(make_entry(str(number))) for number in range(50)))

    asyncio.run(all_at_once())
    assert stage.stats()["persistent"]["failures"] == 50
    assert stage._writing.resting
    now += 1.0
    assert not stage._writing.resting


def test_each_cause_is_warned_about_once(store: Store) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stage = CacheTiers(MemoryCache(), store, "store")
        for cause in ("locked", "full", "locked", "full", *map(str, range(100))):
            store.writing = cause
            stage._writing._until = 0.0
            stage.persist(make_entry())
    messages = [str(warning.message) for warning in caught]
    assert "locked" in messages[0]
    assert "full" in messages[1]
    assert len(messages) == 8


def test_a_store_without_a_secret_does_not_stop_anybody() -> None:
    class Broken(Store):
        @property
        def secret(self) -> bytes:
            raise CacheError("no folder")

        @secret.setter
        def secret(self, value: bytes) -> None:
            """Take what the base class gives."""

    memory = MemoryCache()
    with pytest.warns(CacheWarning, match="no folder"):
        assert CacheTiers(memory, Broken(), "store").secret == memory.secret


class Guarded(Store):
    """A store that gives its secret only while it can be read from."""

    def __init__(self) -> None:
        self.asked_for_secret = 0
        super().__init__()

    @property
    def secret(self) -> bytes:
        self.asked_for_secret += 1
        if self.reading:
            raise CacheError(self.reading)
        return b"secret of the store"

    @secret.setter
    def secret(self, value: bytes) -> None:
        """Take what the base class gives."""


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.filterwarnings("ignore::hokusai_core.errors.CacheWarning")
def test_a_secret_that_could_not_be_had_comes_with_the_store(
    asynchronous: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    memory, store = MemoryCache(), Guarded()
    stage = CacheTiers(memory, store, "store")
    store.reading = "it is locked"
    assert [stage.secret, stage.secret] == [memory.secret] * 2
    assert store.asked_for_secret == 1  # later lookups must not wait for the lock again
    store.reading = None
    now += 1.0
    if asynchronous:
        asyncio.run(stage.alook_up(KEY, 0.0, None))
    else:
        stage.look_up(KEY, 0.0, None)
    assert [stage.secret, stage.secret] == [b"secret of the store"] * 2
    assert store.asked_for_secret == 2
