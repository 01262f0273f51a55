"""``async_twin``: the blocking method on a thread, with the caller's context, that lets a cancelled caller go."""

from __future__ import annotations

import asyncio
import threading
import time
from contextvars import ContextVar

import pytest

from hokusai_core.plugin_api import async_twin

TENANT: ContextVar[str] = ContextVar("tenant", default="none")


class Shelf:
    def __init__(self) -> None:
        self.release = threading.Event()

    def get(self, key: str, *, wait: float = 0.0) -> tuple[str, str, int]:
        self.release.wait(wait)
        if key == "bad":
            raise LookupError(key)
        return key, TENANT.get(), threading.get_ident()

    aget = async_twin(get, threads=2)


class Shouting(Shelf):
    def get(self, key: str, *, wait: float = 0.0) -> tuple[str, str, int]:
        return super().get(key.upper(), wait=wait)


def test_it_runs_the_method_on_a_thread_in_the_callers_context() -> None:
    async def main() -> None:
        TENANT.set("acme")
        key, tenant, thread = await Shelf().aget("a")
        assert (key, tenant) == ("a", "acme")
        assert thread != threading.get_ident()
        assert (await Shouting().aget("a"))[0] == "A"
        with pytest.raises(LookupError):
            await Shelf().aget("bad")

    asyncio.run(main())
    assert asyncio.iscoroutinefunction(Shelf.aget)
    assert (Shelf.aget.__name__, Shelf.aget.__doc__) == ("aget", "Async version of ``get``.")


def test_a_cancelled_caller_goes_on_and_the_loop_ends_while_the_call_hangs() -> None:
    shelf = Shelf()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await shelf.aget("a", wait=60.0)

    began = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - began < 5
    shelf.release.set()


def test_no_more_calls_run_at_once_than_were_asked_for() -> None:
    running, most, lock = 0, 0, threading.Lock()

    class Counted:
        def work(self) -> None:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.01)
            with lock:
                running -= 1

        awork = async_twin(work, threads=3)

    async def main() -> None:
        counted = Counted()
        await asyncio.gather(*(counted.awork() for _ in range(12)))

    asyncio.run(main())
    assert most == 3
