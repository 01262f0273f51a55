"""What kills and outages do to what was recorded: nothing may be lost, and nothing be there twice.

Two experiments. Executions run in ten processes, each killed with SIGKILL at a random moment. And a real MLflow server
is stopped for the middle third of a run of executions, and then started again. Needs the whole of MLflow.

    python benchmarks/tracking_durability.py --executions 10000
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from tracking import Setup, end_writers, verdict


def measure_crash(setup: Setup, count: int, kills: int = 10) -> None:
    print(f"\n== crash: {count} executions in {kills} processes that are killed with SIGKILL at random moments ==")
    from hokusai_core.testing.trackers import make_event

    accepted: list[str] = []
    for _ in range(kills):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            tracker = setup.tracker("crash")
            for number in range(count * 10):
                tracker.record(event := make_event())
                os.write(writer, f"{event.execution_id}\n".encode())
                if number > count // kills * 11 // 10:
                    time.sleep(0.001)
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as lines:
            # The pipe keeps the parent close behind: it kills after a random number of what was accepted.
            wanted = random.randint(count // kills, count // kills * 11 // 10)
            accepted += [lines.readline().strip() for _ in range(wanted)]
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            accepted += [line.strip() for line in lines]
    successor = setup.tracker("crash")
    successor.record(make_event())
    flushed = successor.flush(600)
    counts = setup.delivered("crash")
    lost = [identifier for identifier in accepted if identifier not in counts]
    twice = sum(n > 1 for n in counts.values())
    print(
        f"  accepted {len(accepted)}, lost {len(lost)}, twice {twice}, delivered {flushed} "
        f"(goal: none lost, none twice: {verdict(flushed and not lost and not twice)})"
    )
    successor.close()


class Server:
    """An MLflow server process on a port of its own."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self._port}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {
            **os.environ,
            "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{self._folder}/server.db",
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(self._folder / "artifacts"),
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }
        command = [sys.executable, "-m", "uvicorn", "mlflow.server.fastapi_app:app", "--host", "127.0.0.1"]
        self._process = subprocess.Popen(
            [*command, "--port", str(self._port), "--log-level", "error"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not self._answers():
            if self._process.poll() is not None:
                raise SystemExit("the tracking server ended; is the whole of mlflow installed?")
            time.sleep(0.2)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=1):  # noqa: S310  # our own address
                return True
        except (urllib.error.URLError, OSError):
            return False


def record(tracker: Any, count: int, pause: float) -> tuple[list[str], list[float]]:
    from hokusai_core.testing.trackers import make_event

    ids, times = [], []
    for _ in range(count):
        event = make_event()
        started = time.perf_counter()
        tracker.record(event)
        times.append((time.perf_counter() - started) * 1e6)
        ids.append(event.execution_id)
        time.sleep(pause)
    return ids, times


def measure_outage(folder: Path, count: int, pause: float) -> None:
    print(f"\n== outage: {count} executions, the server stopped for the middle third ==")
    from mlflow import MlflowClient

    from hokusai_mlflow import MlflowTracker
    from hokusai_mlflow.loading import read_rows

    server = Server(folder)
    server.start()
    try:
        tracker = MlflowTracker(tracking_uri=server.uri, spool_folder=folder / "spool-outage", experiment="Outage")
        recorded: list[str] = []
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            for phase, change in (("up", None), ("down", server.stop), ("up again", server.start)):
                if change is not None:
                    change()
                ids, times = record(tracker, count // 3, pause)
                recorded += ids
                high = sorted(times)[int(len(times) * 0.99)]
                print(f"  {phase:9} record() median {statistics.median(times):6.1f} us   p99 {high:7.1f} us")
            ended = time.perf_counter()
            delivered = tracker.flush(300)
            waited = time.perf_counter() - ended
        client = MlflowClient(server.uri)
        runs = client.search_runs([client.get_experiment_by_name("Outage").experiment_id])
        counts = Counter(row["execution_id"] for run in runs for row in read_rows(client, run.info.run_id))
        lost, twice = set(recorded) - counts.keys(), sum(n > 1 for n in counts.values())
        print(
            f"  accepted {len(recorded)}, lost {len(lost)}, twice {twice}, delivered {delivered} "
            f"(goal: none lost, none twice: {verdict(delivered and not lost and not twice)})"
        )
        print(f"  complete {waited:.1f} s after the end, traces included; warnings: {len(said)}")
        tracker.close()
    finally:
        server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executions", type=int, default=3000)
    parser.add_argument("--pause", type=float, default=0.005, help="seconds between executions around the outage")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hokusai-durability-", ignore_cleanup_errors=True) as name:
        setup = Setup(Path(name))
        measure_crash(setup, arguments.executions)  # first: it forks, and nothing else runs yet
        measure_outage(Path(name), arguments.executions, arguments.pause)
        end_writers(Path(name))


if __name__ == "__main__":
    main()
