"""What only a real server shows: slow and large requests, clients that go away, and the end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from click.testing import CliRunner

from hokusai_core import Executor
from hokusai_core.testing.lm import null_lm
from hokusai_serve import ServeLimits
from hokusai_serve.serve_command import serve

Served = Callable[..., Executor]
BODY = {"inputs": {"question": "?"}}


def connect(address: str) -> socket.socket:
    where = urlsplit(address)
    return socket.create_connection((where.hostname or "", where.port or 0), timeout=10)


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_slow_clients_are_cut_off(make_served: Served, running: Callable[..., Any]) -> None:
    limits = ServeLimits(header_seconds=0.3, body_seconds=0.3)
    head = (
        b"POST /v1/execute/Ask HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 90\r\n"
    )
    with running(make_served(), limits) as (address, _):
        for start, answer in ((b"", b""), (head, b""), (head + b"\r\n{", b"408")):
            with connect(address) as connection:
                started = time.monotonic()
                connection.sendall(start)
                received = b""
                while True:
                    if answer == b"" and start:  # a header every now and then keeps no connection
                        try:
                            connection.sendall(b"X-More: 1\r\n")
                        except OSError:
                            break
                    connection.settimeout(0.05)
                    try:
                        piece = connection.recv(4096)
                    except TimeoutError:
                        assert time.monotonic() - started < 5
                        continue
                    except OSError:
                        break
                    if not piece:
                        break
                    received += piece
                assert answer in received
                assert time.monotonic() - started < 5
        assert httpx.get(f"{address}/health").status_code == 200


def test_what_is_no_http_gets_problem_details(make_served: Served, running: Callable[..., Any]) -> None:
    with running(make_served()) as (address, _), connect(address) as connection:
        connection.sendall(b"NONSENSE\r\n\r\n")
        assert b"application/problem+json" in connection.recv(4096)


@pytest.mark.parametrize("size", [8 * 2**20, pytest.param(2**30, marks=pytest.mark.soak)])
@pytest.mark.parametrize("declared", [True, False])
def test_a_body_that_is_too_large_is_not_read(
    make_served: Served, running: Callable[..., Any], size: int, declared: bool
) -> None:
    sent = 0

    def body() -> Any:
        nonlocal sent
        while sent < size:
            sent += 2**16
            yield b" " * 2**16

    headers = {"Content-Type": "application/json"} | ({"Content-Length": str(size)} if declared else {})
    with running(make_served(), ServeLimits(body_bytes=100_000)) as (address, server):
        try:
            response = httpx.post(f"{address}/v1/execute/Ask", content=body(), headers=headers)
            assert response.status_code == 413
            assert response.json()["type"] == "urn:hokusai:body-too-large"
        except httpx.WriteError:
            assert size > 64 * 2**20  # beyond that the server does not listen to the end
        assert httpx.get(f"{address}/health").status_code == 200
    assert server.config.app.state.gate.executing == 0


def test_a_client_that_goes_away_cancels_its_call(make_served: Served, running: Callable[..., Any]) -> None:
    lm = null_lm(delay=30.0, asynchronous=True)
    with running(make_served(lm=lm)) as (address, server):
        for path in ("execute", "stream"):
            started = time.monotonic()
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(f"{address}/v1/{path}/Ask", json=BODY, timeout=httpx.Timeout(5, read=0.3))
            until(lambda: server.config.app.state.gate.active == 0)
            assert lm.engine.in_flight == 0
            assert time.monotonic() - started < 5


def test_more_than_the_limit_is_refused_and_told_when_to_come_back(
    make_served: Served, running: Callable[..., Any]
) -> None:
    with running(make_served(lm=null_lm(delay=0.5)), ServeLimits(concurrency=2)) as (address, server):
        threads = [
            threading.Thread(
                target=httpx.post,
                args=(f"{address}/v1/execute/Ask",),
                kwargs={"json": {"inputs": {"question": f"{n}?"}}},
            )
            for n in range(2)
        ]
        for thread in threads:
            thread.start()
        until(lambda: server.config.app.state.gate.executing == 2)
        refused = httpx.post(f"{address}/v1/execute/Ask", json=BODY)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert httpx.get(f"{address}/v1/signatures").status_code == 200
        for thread in threads:
            thread.join()


def test_at_the_end_requests_in_flight_finish_and_new_ones_are_refused(
    make_served: Served, running: Callable[..., Any]
) -> None:
    found: list[int] = []
    with running(make_served(lm=null_lm(delay=0.6))) as (address, server), httpx.Client() as second:
        assert second.get(f"{address}/health").status_code == 200
        url = f"{address}/v1/execute/Ask"
        first = threading.Thread(target=lambda: found.append(httpx.post(url, json=BODY).status_code))
        first.start()
        until(lambda: server.config.app.state.gate.executing == 1)
        server.handle_exit(signal.SIGTERM, None)
        refused = second.post(url, json=BODY)
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:hokusai:draining")
        assert httpx.get(f"{address}/ready").status_code == 503
        first.join()
    assert found == [200]


def test_the_end_is_bounded(make_served: Served, running: Callable[..., Any]) -> None:
    lm = null_lm(delay=30.0, asynchronous=True)
    with running(make_served(lm=lm), ServeLimits(drain_seconds=0.3)) as (address, server):

        def ask() -> None:
            with pytest.raises(httpx.HTTPError):
                httpx.post(f"{address}/v1/execute/Ask", json=BODY, timeout=20).raise_for_status()

        thread = threading.Thread(target=ask)
        thread.start()
        until(lambda: server.config.app.state.gate.executing == 1)
        started = time.monotonic()
        server.handle_exit(signal.SIGTERM, None)
        thread.join()
        assert time.monotonic() - started < 5


def test_the_command_serves_until_sigterm(tmp_path: Any) -> None:
    environment = {**os.environ, "HOKUSAI_DATA_DIR": str(tmp_path), "HOKUSAI_SERVE_TOKEN": "x" * 32}
    command = [sys.executable, "-m", "hokusai", "serve", "--port", "0", "--mode", "testing", "--include", "EmailDraft"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        address = process.stderr.readline().split(" on ")[1].split()[0]
        headers = {"Authorization": f"Bearer {'x' * 32}"}
        inputs = {"recipient": "Ada", "subject": "Ships", "key_points": ["They sail"]}
        answer = httpx.post(f"{address}/v1/execute/EmailDraft", json={"inputs": inputs}, headers=headers, timeout=60)
        assert answer.status_code == 200, answer.text
        assert "email_body" in json.dumps(answer.json()["outputs"])
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_without_a_token_only_this_machine_is_served(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.delenv("HOKUSAI_SERVE_TOKEN", raising=False)
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):  # noqa: S104  # refused
        refused = CliRunner().invoke(serve, ["--host", host])
        assert (refused.exit_code, "--token-file" in refused.output) == (2, True)
    empty = tmp_path / "tokens"
    empty.write_text("\n")
    refused = CliRunner().invoke(serve, ["--host", "192.0.2.1", "--token-file", str(empty)])
    assert (refused.exit_code, "holds no token" in refused.output) == (1, True)
