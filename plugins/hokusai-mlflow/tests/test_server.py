from __future__ import annotations

import contextlib
import http.server
import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hokusai_core.testing.trackers import make_event, make_failure, make_feedback
from hokusai_core.types import PromptTemplate
from hokusai_mlflow import TrackingWarning
from hokusai_mlflow.spool_status import read_status

pytestmark = pytest.mark.slow

#: Seconds that a busy machine is given; every wait ends with the event that it waits for.
PATIENCE = 600.0


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


#: Imports the tracking server, which takes seconds, and starts and stops it at a line of stdin.
_PROGRAM = """
import os, signal, sys
import uvicorn
from mlflow.server.fastapi_app import app

child = 0
for line in sys.stdin:
    if line == "start\\n":
        child = os.fork()
        if child == 0:
            os.dup2(2, 1)  # libraries print there, too
            uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
            os._exit(0)
    else:
        if child:
            os.kill(child, signal.SIGTERM)
            os.waitpid(child, 0)
            child = 0
        print("stopped", flush=True)
"""


class Server:
    """A tracking server process that can be stopped and started again on its port."""

    def __init__(self, store: str, artifacts: Path) -> None:
        self.port = _free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        environment = {
            **os.environ,
            "_MLFLOW_SERVER_FILE_STORE": store,
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(artifacts),
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            # The job runner and litellm's loading of prices wait for each other where there is no network.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }
        environment.pop("MLFLOW_TRACKING_URI", None)
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(self.port)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
        )

    def start(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("start\n")
        end = time.monotonic() + PATIENCE
        while not self._is_up():
            assert self._process.poll() is None, "the tracking server ended"
            assert time.monotonic() < end, "the tracking server does not answer"
            time.sleep(0.1)

    def stop(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("stop\n")
        while (line := self._process.stdout.readline()) != "stopped\n":  # litellm prints what it does not know
            assert line, "the tracking server ended"

    def close(self) -> None:
        self.stop()
        self._process.communicate(timeout=PATIENCE)

    def _is_up(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=10) as answer:  # noqa: S310  # our own address
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Iterator[Server]:
    """One server for all tests here: it takes seconds to start. Each test has an experiment of its own."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(template, folder / "mlflow.db")
    made = Server(f"sqlite:///{folder}/mlflow.db", folder / "artifacts")
    made.start()
    yield made
    made.close()


def _records(place: Any, tracker: Any, uri: str) -> None:
    """Record one of each kind and look at what the store has of them."""
    from mlflow import MlflowClient

    messages = ({"role": "user", "content": "Greet {{ name }}."},)
    prompt = PromptTemplate("0a1b", "pack/Greet", "1.2.0", "0123", messages, "FastChatAdapter")
    tracker.record(event := make_event(collect_feedback=True, inputs={"name": "A\x00da"}, prompt=prompt))
    tracker.record(failure := make_failure())
    tracker.record(make_feedback(event.execution_id))
    tracker.close()
    assert place.deliver(PATIENCE)
    there = type(place)(place.spool, uri)
    assert [row["execution_id"] for row in there.rows()] == [event.execution_id, failure.execution_id]
    (run,) = there.runs()
    assert run.info.status == "FINISHED"
    assert run.data.metrics["hokusai/failures"] == 1
    trace = MlflowClient(uri).get_trace(f"tr-{event.execution_id}")
    assert [span.name for span in trace.data.spans] == ["Greet", "bind", "language_model"]
    assert trace.info.token_usage["total_tokens"] == 17
    assert {assessment.name for assessment in trace.info.assessments} == {"rating", "corrected_greeting"}
    (version,) = MlflowClient(uri).search_prompt_versions("pack.Greet")
    assert version.template == list(messages)
    named = f"pack.Greet/{version.version}"
    found = MlflowClient(uri).search_traces(locations=[run.info.experiment_id], filter_string=f"prompt = '{named}'")
    assert [one.info.trace_id for one in found] == [trace.info.trace_id]


def _until_warned(place: Any, tracker: Any, record: Callable[[], object]) -> None:
    """Record something, and wait for the warning, which may come meanwhile."""
    record()
    place.wait_until(lambda: tracker._recording.supervisor.has_warned, PATIENCE)


def test_a_tracking_server_gets_everything(place: Any, server: Server) -> None:
    _records(place, place.tracker(tracking_uri=server.uri), server.uri)


def test_what_ran_during_an_outage_is_delivered_once(place: Any, server: Server) -> None:
    tracker = place.tracker(tracking_uri=server.uri, experiment="Outage", writer="process", sampling=0.05)
    ids = []

    def run(count: int) -> None:
        for _ in range(count):
            tracker.record(event := make_event())
            ids.append(event.execution_id)
            time.sleep(0.001)

    run(200)
    assert tracker.flush(PATIENCE)
    server.stop()
    with pytest.warns(TrackingWarning, match="does not take executions"):
        _until_warned(place, tracker, lambda: run(200))
    assert not tracker.flush(0.1)
    status = tracker.status()
    assert status["backlog"] == 200
    assert status["lag"] > 0
    assert status["last_error"]["uri"] == server.uri
    server.start()
    run(200)
    assert tracker.flush(PATIENCE)
    tracker.close()
    there = type(place)(place.spool, server.uri)
    assert Counter(row["execution_id"] for row in there.rows("Outage")) == Counter(ids)
    assert there.runs("Outage")[0].data.metrics["hokusai/executions"] == 600


class _Refusing(http.server.BaseHTTPRequestHandler):
    def _refuse(self) -> None:
        self.send_response(401)
        self.end_headers()
        self.wfile.write(b'{"error_code": "UNAUTHENTICATED", "message": "who are you"}')

    do_GET = do_POST = do_PUT = _refuse

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


def test_a_server_that_refuses_costs_an_execution_nothing(place: Any) -> None:
    refusing = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Refusing)
    thread = threading.Thread(target=refusing.serve_forever)
    thread.start()
    try:
        tracker = place.tracker(tracking_uri=f"http://127.0.0.1:{refusing.server_port}")
        for _ in range(3):
            tracker.record(make_event())
        assert not place.deliver(timeout=2)
        status = tracker.status()
        assert status["backlog"] == 3
        assert status["refused"] == 0
        assert "UNAUTHENTICATED" in status["last_error"]["error"]
    finally:
        refusing.shutdown()
        thread.join()
        refusing.server_close()


class _Hanging(http.server.BaseHTTPRequestHandler):
    released = threading.Event()

    def _hang(self) -> None:
        self.released.wait(PATIENCE)

    do_GET = do_POST = do_PUT = _hang

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def hanging() -> Iterator[str]:
    """The address of a server that takes requests and never answers."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hanging)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    _Hanging.released.set()
    server.shutdown()
    thread.join()
    server.server_close()
    _Hanging.released.clear()


def test_a_server_that_hangs_is_warned_about_like_one_that_refuses(place: Any, hanging: str) -> None:
    tracker = place.tracker(tracking_uri=hanging, writer="process", exit_timeout=3)
    with pytest.warns(TrackingWarning, match="127.0.0.1"):
        _until_warned(place, tracker, lambda: tracker.record(make_event()))
    assert tracker.status()["backlog"] == 1
    tracker.close()


def test_a_short_program_hears_of_a_server_that_hangs(place: Any, hanging: str) -> None:
    tracker = place.tracker(tracking_uri=hanging, writer="process", exit_timeout=3)
    tracker.record(make_event())
    place.wait_until(lambda: read_status(place.spool).get("contact") == hanging, PATIENCE)
    with pytest.warns(TrackingWarning, match="executions waiting: 1"):
        tracker.close()


# -- PostgreSQL --------------------------------------------------------------------------------------------------------


def _postgres_programs() -> Path | None:
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


@pytest.fixture
def postgres() -> Iterator[str]:
    """A PostgreSQL server of the test's own; it refuses to run as root."""
    import tempfile

    programs = _postgres_programs()
    if programs is None:
        pytest.skip("no PostgreSQL here")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed")
    user: Callable[..., Any] = dict
    owner: Any = None
    if os.getuid() == 0:
        try:
            owner = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL refuses root, and there is no user postgres")
        user = lambda: {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}  # noqa: E731
    folder = Path(tempfile.mkdtemp(prefix="hokusai-pg-"))
    if owner is not None:
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    port = _free_port()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    data = folder / "data"
    options = ["-D", str(data), "-p", str(port), "-k", str(folder), "-h", "127.0.0.1", "-F"]
    subprocess.run([programs / "initdb", "-D", data, "-A", "trust", "-U", "mlflow"], check=True, **quiet, **user())  # type: ignore[call-overload]
    process = subprocess.Popen([programs / "postgres", *options], **quiet, **user())  # type: ignore[call-overload]
    try:
        uri = f"postgresql+psycopg://mlflow@127.0.0.1:{port}/postgres"
        _wait_for_postgres(port)
        yield uri
    finally:
        process.terminate()
        process.wait(PATIENCE)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for_postgres(port: int) -> None:
    import psycopg

    end = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(host="127.0.0.1", port=port, user="mlflow", dbname="postgres").close()
            return
        assert time.monotonic() < end, "PostgreSQL does not answer"
        time.sleep(0.1)


@pytest.mark.soak  # the server of the other tests, on the store that takes longest to make
def test_a_tracking_server_on_postgresql_gets_everything(place: Any, postgres: str, tmp_path: Path) -> None:
    server = Server(postgres, tmp_path / "server-artifacts")
    server.start()
    try:
        _records(place, place.tracker(tracking_uri=server.uri), server.uri)
    finally:
        server.close()
