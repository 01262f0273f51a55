"""The conformance suite for caches that give leases: subclass ``CacheLeaseConformance`` beside ``CacheConformance``.

Example::

    class TestMyCacheLeases(CacheLeaseConformance):
        lease_seconds = 0.5

        @pytest.fixture
        def make_cache(self, server):
            return lambda: MyCache(server, lease=0.5)
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hokusai_core.protocols import CacheLeases
from hokusai_core.testing.caches import make_entry
from hokusai_core.testing.capabilities import Conformance

__all__ = ["CacheLeaseConformance"]

#: Seconds that a busy machine may take.
_PATIENCE = 30.0


class CacheLeaseConformance(Conformance):
    """Tests that every cache with leases passes. The fixture ``make_cache`` makes one on the same store each time.

    Attributes:
        lease_seconds: seconds after which a lease of a process that no longer runs can be taken.
    """

    lease_seconds = 1.0

    @pytest.fixture
    def make_cache(self) -> Callable[[], Any]:
        """Return what makes a cache; each call in one test uses the same, initially empty, store."""
        raise NotImplementedError("define the fixture make_cache")

    @pytest.fixture
    def caches(self, make_cache: Callable[[], Any]) -> Iterator[tuple[Any, Any]]:
        """Yield two caches on one store and close them."""
        first, second = make_cache(), make_cache()
        yield first, second
        first.close()
        second.close()

    def test_satisfies_the_protocol(self, caches: tuple[Any, Any]) -> None:
        """It has every method."""
        assert isinstance(caches[0], CacheLeases)

    def test_one_holds_the_lease_and_the_other_waits_for_the_answer(self, caches: tuple[Any, Any]) -> None:
        """The second finds out that the lease is held, and the answer is there when it has ended."""
        first, second = caches
        entry = make_entry()
        held, other = first.lease(entry.key), second.lease(entry.key)
        assert (held.held, other.held) == (True, False)
        assert held.thread == other.thread == threading.get_ident()
        end = second.lease_end(other)
        assert not end.done()
        assert first.publish(entry, held)
        end.result(_PATIENCE)
        assert second.get(entry.key) == entry

    def test_event_loops_share_leases_with_threads(self, caches: tuple[Any, Any]) -> None:
        """The asynchronous methods do as the others."""
        first, second = caches
        entry = make_entry()

        async def lead() -> None:
            held = await first.alease(entry.key)
            assert held.held
            assert not second.lease(entry.key).held
            assert await first.apublish(entry, held)

        asyncio.run(lead())
        assert second.get(entry.key) == entry

    def test_a_released_lease_goes_to_the_next(self, caches: tuple[Any, Any]) -> None:
        """Where a call failed, one of those that wait makes it."""
        first, second = caches
        held = first.lease("ab")
        end = second.lease_end(second.lease("ab"))
        first.release(held)
        end.result(_PATIENCE)
        assert second.lease("ab").held
        first.release(held)  # once more, and harmless
        assert not first.lease("ab").held

    def test_a_lease_is_kept_for_as_long_as_its_process_runs(self, caches: tuple[Any, Any]) -> None:
        """A call may take longer than a lease lasts without renewal."""
        first, second = caches
        held = first.lease("ab")
        until = time.monotonic() + 2.5 * self.lease_seconds
        while time.monotonic() < until:
            assert not second.lease("ab").held
            time.sleep(self.lease_seconds / 5)
        assert first.publish(make_entry("ab"), held)

    def test_the_lease_of_a_killed_process_is_taken_over(self, make_cache: Callable[[], Any]) -> None:
        """Those that wait go on soon after the holder was killed."""
        self.require("fork_safe")
        child, reader = _in_child(lambda: make_cache().lease("ab").held)
        assert os.read(reader, 1) == b"1"
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        cache = make_cache()
        lease = cache.lease("ab")
        if not lease.held:
            cache.lease_end(lease).result(_PATIENCE)
            assert cache.lease("ab").held
        cache.close()

    def test_a_holder_that_was_paused_stores_nothing_after_its_lease_was_taken(
        self, make_cache: Callable[[], Any]
    ) -> None:
        """The answer of the later holder stays, and so does the absence of one."""
        self.require("fork_safe")
        for answers in (True, False):
            key = f"{answers:064x}"
            gate_reader, gate = os.pipe()

            def lead(key: str = key, gate_reader: int = gate_reader) -> Callable[[], bool]:
                cache = make_cache()
                lease = cache.lease(key)
                assert lease.held

                def publish() -> bool:
                    os.read(gate_reader, 1)
                    return bool(cache.publish(make_entry(key, outputs=b'{"greeting":"late"}'), lease))

                return publish

            child, reader = _in_child(lambda: True, lead)
            assert os.read(reader, 1) == b"1"
            os.kill(child, signal.SIGSTOP)
            cache = make_cache()
            cache.lease_end(cache.lease(key)).result(_PATIENCE)
            later = cache.lease(key)
            assert later.held
            if answers:
                assert cache.publish(make_entry(key, outputs=b'{"greeting":"later"}'), later)
            else:
                cache.release(later)
                _wait_for(lambda: cache.lease(key).held)  # noqa: B023  # called in this turn
                cache.release(cache.lease(key))
            os.kill(child, signal.SIGCONT)
            os.write(gate, b"1")
            assert os.read(reader, 1) == b"0"
            os.waitpid(child, 0)
            found = cache.get(key)
            assert (None if found is None else found.outputs) == (b'{"greeting":"later"}' if answers else None)
            cache.close()
            for descriptor in (gate_reader, gate, reader):
                os.close(descriptor)

    def test_keys_are_told_apart(self, caches: tuple[Any, Any]) -> None:
        """A lease on one key keeps no one from another."""
        first, second = caches
        assert first.lease("ab").held
        assert second.lease("abc").held


def _in_child(ready: Callable[[], bool], begin: Callable[[], Callable[[], bool]] | None = None) -> tuple[int, int]:
    """Fork; the child writes what ``ready`` returns, and what follows, as "1" or "0" to the pipe that is returned."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        return child, reader
    try:
        follows = None if begin is None else begin()
        os.write(writer, b"1" if ready() else b"0")
        if follows is None:
            time.sleep(_PATIENCE)
        else:
            os.write(writer, b"1" if follows() else b"0")
    finally:
        os._exit(0)


def _wait_for(happened: Callable[[], bool]) -> None:
    until = time.monotonic() + _PATIENCE
    while not happened():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.01)
