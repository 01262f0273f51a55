from __future__ import annotations

import threading
from concurrent.futures import wait

import pytest

from hokusai_local.workers import Workers


def test_calls_wait_for_a_thread_and_can_be_cancelled_until_then() -> None:
    workers, release = Workers(2), threading.Event()
    busy = [workers.submit(lambda: release.wait(30)) for _ in range(2)]
    waiting, cancelled = workers.submit(threading.get_ident), workers.submit(threading.get_ident)
    assert cancelled.cancel()
    release.set()
    wait([*busy, waiting], timeout=30)
    assert waiting.result() != threading.get_ident()
    workers.close()


def test_an_error_is_the_callers() -> None:
    workers = Workers(1)
    with pytest.raises(ZeroDivisionError):
        workers.submit(lambda: 1 // 0).result(30)
    assert workers.submit(lambda: 1).result(30) == 1


@pytest.mark.parametrize("forgotten", [False, True])
def test_threads_end_when_they_are_closed_or_forgotten(forgotten: bool) -> None:
    workers = Workers(2)
    threads = [workers.submit(threading.current_thread).result(30) for _ in range(2)]
    if not forgotten:
        workers.close()
    del workers
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
