"""Batches on a Ray cluster of several nodes on loopback, beside the same number of rows at once in this process.

Rows go to a model that takes 50 ms, as a provider would; every process notes its calls in one file, so that
what was called twice is seen. ``nodes`` compares 1, 2, 3 and 4 nodes with one process that runs as many rows at once.
``kills`` kills a node, and then the process that began the batch, and counts.

    python benchmarks/ray_batch.py [--rows 2000] [--only nodes kills] [--concurrency 32]
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

DELAY = 0.05

#: A plugin with the model. It is on the path of every process, as an installed one would be.
PLUGIN = """
import asyncio, os, re
from dspy import LM
from dspy.lm15 import Message, Response, TextPart, Usage
from hokusai_core.plugin_api import Component, LanguageModel, hookimpl

CALLS = os.open(os.environ["RAY_BATCH_CALLS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
DELAY = float(os.environ["RAY_BATCH_DELAY"])


class Blocking:
    supports_function_calling = supports_reasoning = supports_response_schema = False
    supported_params = frozenset()
    free = True

    def complete(self, request):
        return asyncio.run(Engine().complete(request))


class Engine(Blocking):
    async def complete(self, request):
        tag = re.findall(r"tag-\\d+", request.messages[-1].text)[-1]
        os.write(CALLS, (tag + "\\n").encode())
        await asyncio.sleep(DELAY)
        text = f"[[ ## answer ## ]]\\nseen {tag}\\n\\n[[ ## completed ## ]]"
        message = Message(role="assistant", parts=(TextPart(text),))
        usage = Usage(input_tokens=10, output_tokens=5, total_tokens=15)
        return Response(id=None, model=request.model, message=message, finish_reason="stop", usage=usage)


class Provider:
    def available(self):
        return None

    def load(self, name, **options):
        return LanguageModel(LM("waiting/model", engine=Blocking(), async_engine=Engine()), identity="waiting 1")

    def close(self): ...


@hookimpl
def provide_language_models():
    return [Component(name="waiting", target=Provider)]
"""

#: Runs a batch in a process that may be killed.
DRIVER = """
import sys
sys.path.insert(0, sys.argv[1])
import ray_batch
ray_batch.drive(sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5]))
"""
NODE = {"node_ip_address": "127.0.0.1", "include_dashboard": False, "object_store_memory": 80 * 2**20}


def rows(count: int) -> list[dict[str, str]]:
    """Return rows, each with another question."""
    return [{"question": f"tag-{number}?"} for number in range(count)]


def make_executor(**options: Any) -> Any:
    """Return an executor on the model."""
    from hokusai_core import Executor

    executor = Executor(lm="waiting/model", plugins=["waiting-model"], environ={}, cache_enabled=False, **options)
    executor.register_signature("Ask", "question -> answer")
    return executor


def drive(address: str, workers: int, journal: str, count: int) -> None:
    """Run a batch on a cluster, as the process that will be killed."""
    from hokusai_ray import RayBackend

    backend = RayBackend(address, workers=workers, concurrency=32, num_cpus=1)
    with make_executor() as executor:
        executor.execute_batch("Ask", rows(count), backend=backend, journal=journal, progress=False)


@contextmanager
def cluster(nodes: int) -> Iterator[Any]:
    """Yield a cluster of a head without CPUs, and nodes with one CPU each."""
    from hokusai_ray.connection import imported_ray

    os.environ |= {"RAY_health_check_period_ms": "1000", "RAY_health_check_failure_threshold": "5"}
    ray = imported_ray(local=True)
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **NODE})
    for _ in range(nodes):
        made.add_node(num_cpus=1, **NODE)
    made.wait_for_nodes()
    try:
        yield made
    finally:
        if ray.is_initialized():
            ray.shutdown()
        made.shutdown()


def cpu_of_children() -> float:
    """Return the CPU seconds of the processes that this one has started, and of theirs."""
    total = 0.0
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            times = child.cpu_times()
            total += times.user + times.system
    return total


class Calls:
    """The calls that all processes have noted."""

    def __init__(self, path: Path) -> None:
        self._path, self._seen = path, 0

    def since(self) -> Counter[str]:
        """Return the calls of each row since the last time."""
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        new, self._seen = lines[self._seen :], len(lines)
        return Counter(new)

    def count(self) -> int:
        """Return how many there are now."""
        return self._path.read_bytes().count(b"\n") if self._path.exists() else 0

    def when(self, share: Callable[[], bool], act: Callable[[], None]) -> threading.Thread:
        """Act once something holds."""

        def wait() -> None:
            while not share():
                time.sleep(0.01)
            act()

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        return thread


def compare_nodes(count: int, concurrency: int, rounds: int, calls: Calls, chosen: list[int]) -> None:
    """Measure some numbers of nodes beside one process."""
    from hokusai_ray import RayBackend

    for nodes in chosen:
        width = nodes * concurrency
        with cluster(nodes) as made, make_executor() as executor:
            backend = RayBackend(made.address, workers=nodes, concurrency=concurrency, num_cpus=1)
            executor.execute_batch("Ask", rows(width), backend=backend, progress=False)  # starts and warms the workers
            executor.execute_batch("Ask", rows(width), max_workers=width, progress=False)
            calls.since()
            here: list[float] = []
            there: list[float] = []
            cpu = {id(here): 0.0, id(there): 0.0}
            children = 0.0
            for _ in range(rounds):
                for told, options in ((here, {"max_workers": width}), (there, {"backend": backend})):
                    began, used, others = time.perf_counter(), time.process_time(), cpu_of_children()
                    results = executor.execute_batch("Ask", rows(count), progress=False, **options)
                    told.append(time.perf_counter() - began)
                    cpu[id(told)] = (time.process_time() - used) / count * 1e6
                    children = (cpu_of_children() - others) / count * 1e6
                    if len(results.succeeded) != count or set(calls.since().values()) != {1}:
                        raise SystemExit("a row failed, or was called twice")
            backend.close()
        ideal, local, remote = count * DELAY / width, statistics.median(here), statistics.median(there)
        print(
            f"{nodes} nodes, {width} rows at once: ideal {ideal:.2f} s, one process {local:.2f} s, Ray {remote:.2f} s, "
            f"ratio {remote / local:.2f}; CPU per row: one process {cpu[id(here)]:.0f} us; on Ray "
            f"{cpu[id(there)]:.0f} us where the batch began, {children:.0f} us in workers and Ray's own processes"
        )


def count_kills(count: int, calls: Calls) -> None:
    """Kill a node, then the process that began the batch, and count what was called."""
    from hokusai_ray import RayBackend

    with cluster(3) as made, make_executor() as executor:
        backend = RayBackend(made.address, workers=3, concurrency=32, num_cpus=1)
        executor.execute_batch("Ask", rows(96), backend=backend, progress=False)
        calls.since()
        half = calls.count() + count // 2
        node = next(iter(made.worker_nodes))
        killer = calls.when(lambda: calls.count() >= half, lambda: made.remove_node(node, allow_graceful=False))
        began = time.perf_counter()
        results = executor.execute_batch("Ask", rows(count), backend=backend, progress=False)
        took = time.perf_counter() - began
        killer.join()
        made_calls = calls.since()
        lost = sum(attempt.outcome == "abandoned" for result in results for attempt in result.attempts)
        print(
            f"node killed: {len(results.succeeded)} of {count} rows answered in {took:.1f} s, "
            f"{sum(made_calls.values())} calls, {sum(number - 1 for number in made_calls.values())} rows called "
            f"again, {lost} counted as lost, usage says {results.usage.calls} calls"
        )
        backend.close()
        with tempfile.TemporaryDirectory() as folder:
            journal = f"{folder}/j"
            command = [sys.executable, "-c", DRIVER, str(Path(__file__).parent), made.address, "2", journal, str(count)]
            kills = 0
            for part in (0.3, 0.6):
                process = subprocess.Popen(command)
                while finished_rows(journal) < count * part and process.poll() is None:
                    time.sleep(0.02)
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
            kept = finished_rows(journal)
            process = subprocess.Popen(command)
            process.wait()
            made_calls = calls.since()
            again = sum(number - 1 for number in made_calls.values())
            print(
                f"driver killed {kills} times: {finished_rows(journal)} of {count} rows in the journal ({kept} "
                f"before the last run), {sum(made_calls.values())} calls, {again} rows called again; at most the "
                f"{2 * 48} that two workers had for each kill"
            )


def finished_rows(journal: str) -> int:
    """Return how many rows a journal has."""
    try:
        return Path(journal).read_bytes().count(b'"ok":true')
    except FileNotFoundError:
        return 0


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=["nodes", "kills"], default=["nodes", "kills"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder)
        (site / "waiting_model.py").write_text(PLUGIN)
        info = site / "waiting_model-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: waiting-model\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[hokusai]\nwaiting-model = waiting_model\n")
        os.environ |= {
            "RAY_BATCH_CALLS": f"{folder}/calls",
            "RAY_BATCH_DELAY": str(DELAY),
            "PYTHONPATH": os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")])),
        }
        sys.path.insert(0, folder)
        calls = Calls(site / "calls")
        if "nodes" in options.only:
            compare_nodes(options.rows, options.concurrency, options.rounds, calls, options.nodes)
        if "kills" in options.only:
            count_kills(options.rows, calls)


if __name__ == "__main__":
    main()
