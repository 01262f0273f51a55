"""Batches on a Ray cluster: the conformance suite, and what becomes of rows whose worker, node or driver dies."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from hokusai_core import Executor
from hokusai_core.errors import ConfigurationError
from hokusai_core.testing.backends import KEY_VARIABLE, BackendConformance, executors_on
from hokusai_core.testing.chat_server import ChatServer
from hokusai_ray import RayBackend

MakeExecutor = Callable[..., Executor]

_ANSWER = "[[ ## answer ## ]]\nseen {tag}\n\n[[ ## completed ## ]]"
_NODE = {"node_ip_address": "127.0.0.1", "include_dashboard": False, "object_store_memory": 80 * 2**20}


@pytest.mark.slow
class TestRay(BackendConformance):
    @pytest.fixture
    def backend(self, ray_backend: RayBackend) -> RayBackend:
        return ray_backend


@pytest.fixture
def slow_server() -> Iterator[ChatServer]:
    with ChatServer(_ANSWER, delay=0.3) as server:
        yield server


@pytest.fixture
def make_executor(slow_server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeExecutor]:
    with executors_on(slow_server, monkeypatch) as make:
        yield make


def rows(count: int) -> list[dict[str, str]]:
    return BackendConformance.rows(count)


def counts(results: Any) -> tuple[int, int]:
    """Return the calls that were answered, and those that were lost with a worker."""
    outcomes = [attempt.outcome for result in results for attempt in result.attempts]
    return outcomes.count("ok"), outcomes.count("abandoned")


def when(reached: Callable[[], bool], act: Callable[[], object]) -> threading.Thread:
    """Act once something holds."""

    def wait() -> None:
        until = time.monotonic() + 240
        while not reached() and time.monotonic() < until:
            time.sleep(0.02)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def worker_processes() -> set[psutil.Process]:
    """Return the processes of the workers of this test run's cluster."""
    found = set()
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended since it was listed, or is a zombie
            if any("ray::RowWorker" in part for part in process.cmdline()):
                found.add(process)
    return found


def check_whole(results: Any, server: ChatServer, count: int, most_lost: int) -> None:
    """Every row has its own answer, and what was called more often is in the counts."""
    assert [outcome["answer"] for outcome in results] == [f"seen tag-{number}" for number in range(count)]
    answered, lost = counts(results)
    assert answered == count
    assert 1 <= lost <= most_lost
    assert count <= server.counts.requests <= results.usage.calls == answered + lost


def test_a_worker_that_is_killed_costs_the_rows_that_it_had_and_no_others(
    ray_backend: RayBackend, make_executor: MakeExecutor, slow_server: ChatServer
) -> None:
    executor = make_executor()
    executor.execute_batch("Ask", rows(1), backend=ray_backend, progress=False, cache="off")  # starts the workers
    slow_server.counts.requests = 0
    # More than eight at once: each of the two workers has rows.
    killer = when(
        lambda: slow_server.counts.requests >= 20 and slow_server.counts.in_flight > 8,
        lambda: next(iter(worker_processes())).kill(),
    )
    results = executor.execute_batch("Ask", rows(60), backend=ray_backend, progress=False, cache="off")
    killer.join()
    check_whole(results, slow_server, 60, most_lost=12)


@pytest.mark.soak
def test_a_node_that_is_lost_costs_the_rows_that_it_had_and_no_others(
    cluster: Any, make_executor: MakeExecutor, slow_server: ChatServer
) -> None:
    # Each of the two takes one worker, and the first node of the cluster takes none of them.
    nodes = [cluster.add_node(num_cpus=8, **_NODE) for _ in range(2)]
    backend = RayBackend(
        cluster.address, workers=2, concurrency=8, chunk_size=8, num_cpus=8, environment=[KEY_VARIABLE]
    )
    killer = when(
        lambda: slow_server.counts.requests >= 20, lambda: cluster.remove_node(nodes[0], allow_graceful=False)
    )
    try:
        results = make_executor().execute_batch("Ask", rows(60), backend=backend, progress=False)
        killer.join()
        check_whole(results, slow_server, 60, most_lost=12)
    finally:
        backend.close()
        cluster.remove_node(nodes[1])


#: A process that runs a batch on the cluster, and is killed.
DRIVER = """
import os, sys
from hokusai_core import Executor
from hokusai_ray import RayBackend

address, url, journal, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
table = {"model": "openai/scripted", "api_base": url, "api_key_env": "HOKUSAI_CONFORMANCE_KEY"}
options = {"workers": 1, "concurrency": 8, "prefetch": 0, "num_cpus": 0.5}
backend = RayBackend(address, environment=["HOKUSAI_CONFORMANCE_KEY"], **options)
with Executor(lm="m", models={"m": table}, plugins=[], environ=dict(os.environ)) as executor:
    executor.register_signature("Ask", "question -> answer")
    rows = [{"question": f"tag-{number}?"} for number in range(count)]
    executor.execute_batch("Ask", rows, backend=backend, journal=journal, progress=False)
"""


@pytest.mark.soak
def test_a_driver_that_is_killed_goes_on_from_its_journal(
    cluster: Any, ray_backend: RayBackend, make_executor: MakeExecutor, slow_server: ChatServer, tmp_path: Path
) -> None:
    journal = tmp_path / "j"
    command = [sys.executable, "-c", DRIVER, cluster.address, slow_server.base_url, str(journal), "40"]
    process = subprocess.Popen(command)
    when(lambda: slow_server.counts.requests >= 20 or process.poll() is not None, process.kill).join()
    process.wait()
    time.sleep(0.5)  # what was on its way to the server
    when(lambda: slow_server.counts.in_flight == 0, lambda: None).join()
    before = slow_server.counts.requests
    kept = journal.read_bytes().count(b'"ok":true')
    assert 8 <= kept < 40
    assert before - kept <= 8, "at most what was under way is called again"
    results = make_executor().execute_batch("Ask", rows(40), backend=ray_backend, journal=journal, progress=False)
    assert [outcome["answer"] for outcome in results] == [f"seen tag-{number}" for number in range(40)]
    assert sum(outcome.cached == "journal" for outcome in results.succeeded) == kept
    assert slow_server.counts.requests - before == 40 - kept


def test_what_cannot_work_is_refused_before_anything_starts() -> None:
    with pytest.raises(ConfigurationError, match="workers=0"):
        RayBackend(workers=0)
    with pytest.raises(ConfigurationError, match="NO_SUCH_VARIABLE: not set"):
        RayBackend(environment=["NO_SUCH_VARIABLE"])


_LOCAL = """
import os
from hokusai_core import Executor
from hokusai_core.testing.chat_server import ChatServer

with ChatServer("[[ ## answer ## ]]\\nseen {tag}\\n\\n[[ ## completed ## ]]") as server:
    os.environ["OWN_KEY"] = "k"
    table = {"model": "openai/m", "api_base": server.base_url, "api_key_env": "OWN_KEY"}
    with Executor(lm="m", models={"m": table}, plugins=["ray"], environ=dict(os.environ)) as executor:
        executor.register_signature("Ask", "question -> answer")
        rows = [{"question": f"tag-{number}?"} for number in range(4)]
        results = executor.execute_batch("Ask", rows, backend={"name": "ray", "workers": 1}, progress=False)
        print([result["answer"] for result in results])
        import ray
        print(ray.util.get_node_ip_address(), os.environ["RAY_USAGE_STATS_ENABLED"])
"""


@pytest.mark.soak
def test_a_cluster_of_its_own_by_name_under_uv_run() -> None:
    """The cluster starts and stops with the executor; with ``uv`` on the path, as a child of ``uv run``."""
    uv = shutil.which("uv")
    prefix = [uv, "run", "--no-project", "--no-sync", "--python", sys.executable] if uv else []
    told = subprocess.run(
        [*prefix, sys.executable, "-c", _LOCAL], capture_output=True, text=True, timeout=120, check=True
    ).stdout
    assert "['seen tag-0', 'seen tag-1', 'seen tag-2', 'seen tag-3']" in told
    assert "127.0.0.1 0" in told
