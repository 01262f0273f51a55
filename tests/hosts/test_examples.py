"""The examples of examples/hosts run, and what they claim holds."""

from __future__ import annotations

import ast
import asyncio
import http.client
import importlib
import inspect
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from starlette.testclient import TestClient

from dev import ROOT
from examples.hosts import forking_worker, prefork_server
from examples.hosts.test_tickets import *  # noqa: F403  # the test suite of a host, run as it is
from hokusai_core.errors import ClosedError


@pytest.fixture
def tenants(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    monkeypatch.setenv("HOKUSAI_MODE", "testing")  # which changes nothing: the host makes its settings
    monkeypatch.setenv("TENANTS_DATA", str(tmp_path))
    monkeypatch.delitem(sys.modules, "examples.hosts.two_tenants", raising=False)  # its executors may be closed
    two_tenants = importlib.import_module("examples.hosts.two_tenants")
    yield two_tenants
    for executor in two_tenants.EXECUTORS.values():
        executor.close()


def test_two_tenants_share_nothing(tenants: Any) -> None:
    with TestClient(tenants.app, base_url="http://127.0.0.1") as client:
        answers = {
            name: client.post(f"/{name}/ask", json={"question": "?"}).json()["answer"] for name in tenants.TOKENS
        }
        assert answers == {"acme": "An answer for acme.", "globex": "An answer for globex."}
        body = {"inputs": {"question": "?"}, "collect_feedback": True}
        acme, globex = ({"Authorization": f"Bearer {token}"} for token in tenants.TOKENS.values())
        made = client.post("/acme/api/v1/execute/Ask", json=body, headers=acme)
        assert made.json()["outputs"] == {"answer": "An answer for acme."}
        assert client.post("/acme/api/v1/execute/Ask", json=body, headers=globex).status_code == 401
        assert client.get("/acme/api/").status_code == 200
        kept = f"/v1/executions/{made.json()['execution_id']}"
        assert client.get(f"/acme/api{kept}", headers=acme).status_code == 200
        assert client.get(f"/globex/api{kept}", headers=globex).status_code == 404
        assert client.post("/acme/ask", json={"question": ""}).status_code == 422
    with pytest.raises(ClosedError):  # the lifespan has closed them
        tenants.EXECUTORS["acme"].list_signatures()


def test_spans_of_a_tenant_are_inside_the_span_of_the_request(tenants: Any) -> None:
    exporter = InMemorySpanExporter()
    tenants.TRACES.add_span_processor(SimpleSpanProcessor(exporter))
    token = {"Authorization": f"Bearer {tenants.TOKENS['acme']}"}
    with TestClient(tenants.app, base_url="http://127.0.0.1") as client:
        client.post("/globex/ask", json={"question": "?"})
        client.post("/acme/api/v1/execute/Ask", json={"inputs": {"question": "?"}}, headers=token)
    spans = exporter.get_finished_spans()
    chats, requests = ([span for span in spans if span.kind is kind] for kind in (SpanKind.CLIENT, SpanKind.SERVER))
    paths, tags = ([dict(span.attributes or {}) for span in found] for found in (requests, chats))
    assert [path["url.path"] for path in paths] == ["/globex/ask", "/acme/api/v1/execute/Ask"]
    assert [span.parent for span in chats] == [span.context for span in requests]
    assert [tag.get("hokusai.tag.tenant") for tag in tags] == ["globex", None]
    assert {span.resource.attributes["service.name"] for span in chats} == {"tenants"}


def test_prefork_workers_answer_with_the_executor_of_their_parent() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=32) as listener:
        children = prefork_server.start(2, listener)
        try:
            found = [ask(listener.getsockname()[1], {"question": f"{number}?"}) for number in range(6)]
            assert ask(listener.getsockname()[1], {"question": ""})[0] == 422
        finally:
            for child in children:
                os.kill(child, signal.SIGTERM)
            statuses = [os.waitpid(child, 0)[1] for child in children]
    assert [(status, answer["answer"]) for status, answer in found] == [(200, "fine")] * 6
    assert {answer["worker"] for _, answer in found} <= set(children)
    assert statuses == [0, 0]


def test_a_prefork_worker_that_is_ended_before_it_serves_closes_its_executor() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        children = prefork_server.start(4, listener)
        for child in children:
            os.kill(child, signal.SIGTERM)
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def ask(port: int, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/", json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer: dict[str, Any] = json.loads(response.read())
    connection.close()
    return response.status, answer


def test_a_pool_that_forks_uses_the_executor_of_its_parent() -> None:
    found = forking_worker.run(["A fine day."] * 4)
    assert [label for label, _ in found] == ["praise"] * 4
    assert os.getpid() not in {process for _, process in found}
    assert forking_worker.EXECUTOR is not None
    forking_worker.EXECUTOR.close()
    forking_worker.EXECUTOR = None


def test_the_notebook_runs_in_a_running_event_loop() -> None:
    notebook = json.loads((ROOT / "examples" / "hosts" / "notebook.ipynb").read_text(encoding="utf-8"))
    sources = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    namespace: dict[str, Any] = {}

    async def run() -> list[Any]:
        shown = []
        for source in sources:
            tree = ast.parse(source)
            last = tree.body[-1]
            parts: list[tuple[Any, str]] = [(tree, "exec")]
            if isinstance(last, ast.Expr):  # what a notebook shows
                tree.body.pop()
                parts.append((ast.Expression(last.value), "eval"))
            for part, mode in parts:
                code = compile(part, "cell", mode, flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
                value = eval(code, namespace)  # noqa: S307  # our own example
                value = await value if inspect.isawaitable(value) else value
                shown += [value] if value is not None else []
        return shown

    shown = asyncio.run(run())
    light, kinds = "It scatters blue light.", ["started", "delta", "partial", "finished"]
    assert shown == [light, [light] * 3, kinds, [light] * 3]
