"""What an outage of the tracking server does to callers and to their records.

A real MLflow server is stopped for the middle third of a run of executions and then started again. Reported is what
recording cost the caller in each third, and what MLflow's table holds in the end. Needs the whole of MLflow.

    python benchmarks/tracking_outage.py --executions 3000
"""

from __future__ import annotations

import argparse
import os
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executions", type=int, default=3000)
    parser.add_argument("--pause", type=float, default=0.005, help="seconds between executions")
    arguments = parser.parse_args()
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    from mlflow import MlflowClient

    from hokusai_mlflow import MlflowTracker
    from hokusai_mlflow.loading import read_rows

    with tempfile.TemporaryDirectory(prefix="hokusai-outage-", ignore_cleanup_errors=True) as name:
        server = Server(Path(name))
        server.start()
        try:
            tracker = MlflowTracker(tracking_uri=server.uri, spool_folder=f"{name}/spool", experiment="Outage")
            recorded: list[str] = []
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                for phase, change in (("up", None), ("down", server.stop), ("up again", server.start)):
                    if change is not None:
                        change()
                    ids, times = record(tracker, arguments.executions // 3, arguments.pause)
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
            print(f"  {len(recorded)} recorded, lost {len(lost)}, twice {twice}, warnings {len(said)}")
            print(f"  delivered {delivered}, traces included, {waited:.1f} s after the end")
            tracker.close()
        finally:
            server.stop()


if __name__ == "__main__":
    main()
