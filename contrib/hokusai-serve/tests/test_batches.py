from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from hokusai_core import Executor
from hokusai_core.errors import ConfigurationError
from hokusai_core.testing.lm import null_lm
from hokusai_serve import ServeLimits, create_app

MakeClient = Callable[..., TestClient]


def wait(client: TestClient, batch: str, until: Callable[[dict[str, Any]], bool] | None = None) -> dict[str, Any]:
    end = time.monotonic() + 60
    while True:
        found: dict[str, Any] = client.get(f"/v1/batches/{batch}").json()
        if until(found) if until else found["state"] not in ("queued", "running"):
            return found
        assert time.monotonic() < end, found
        time.sleep(0.005)


def lines(client: TestClient, batch: str) -> list[dict[str, Any]]:
    response = client.get(f"/v1/batches/{batch}/results")
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


@pytest.mark.parametrize("count", [200, pytest.param(10_000, marks=pytest.mark.soak)])
def test_rows_come_back_in_their_order_as_lines(
    make_client: MakeClient, make_served: Callable[..., Executor], tmp_path: Path, count: int
) -> None:
    lm = null_lm(answers={"answer": lambda prompt: prompt.split("number ")[1].split("?")[0]})
    client = make_client(make_served(lm=lm), data_folder=tmp_path)
    rows = [{"question": f"Which number {number}?"} for number in range(count)]
    submitted = client.post("/v1/batch/Ask", json={"rows": rows, "tags": {"a": "b"}})
    assert submitted.status_code == 202
    batch = submitted.json()["id"]
    assert submitted.headers["location"] == f"/v1/batches/{batch}"
    record = wait(client, batch)
    assert (record["state"], record["done"], record["failed"]) == ("finished", count, 0)
    found = lines(client, batch)
    assert [line["index"] for line in found] == list(range(count))
    assert [line["outputs"]["answer"] for line in found] == [str(number) for number in range(count)]
    assert [item["id"] for item in client.get("/v1/batches").json()["batches"]] == [batch]
    assert client.delete(f"/v1/batches/{batch}").status_code == 204
    assert client.get(f"/v1/batches/{batch}").status_code == 404
    assert not (tmp_path / batch).exists()


def test_a_batch_goes_on_after_a_restart_and_pays_nothing_twice(
    make_client: MakeClient, make_served: Callable[..., Executor], tmp_path: Path
) -> None:
    lm = null_lm(delay=0.02)
    rows = [{"question": f"{number}?"} for number in range(60)]
    app = create_app(make_served(lm=lm, max_workers=4), data_folder=tmp_path)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        batch = client.post("/v1/batch/Ask", json={"rows": rows}).json()["id"]
        wait(client, batch, lambda record: record["done"] >= 5)
        assert client.get(f"/v1/batches/{batch}/results").status_code == 409
    assert 5 <= lm.engine.calls < 60  # leaving the block has ended the first server
    client = make_client(make_served(lm=lm, max_workers=4), data_folder=tmp_path)
    assert wait(client, batch)["state"] == "finished"
    assert [line["index"] for line in lines(client, batch)] == list(range(60))
    assert lm.engine.calls == 60


def test_rows_that_fail_are_told_and_stop_no_other(
    make_client: MakeClient, make_served: Callable[..., Executor], tmp_path: Path
) -> None:
    lm = null_lm(
        raw=lambda prompt: "nonsense" if "2?" in prompt else "[[ ## answer ## ]]\nfine\n\n[[ ## completed ## ]]"
    )
    client = make_client(make_served(lm=lm), data_folder=tmp_path)
    batch = client.post("/v1/batch/Ask", json={"rows": [{"question": f"{n}?"} for n in range(4)]}).json()["id"]
    assert wait(client, batch)["failed"] == 1
    assert [line.get("error", {}).get("type") for line in lines(client, batch)] == [None, None, "OutputError", None]


def test_a_batch_that_runs_can_be_removed(
    make_client: MakeClient, make_served: Callable[..., Executor], tmp_path: Path
) -> None:
    lm = null_lm(delay=0.02)
    client = make_client(make_served(lm=lm, max_workers=2), data_folder=tmp_path)
    batch = client.post("/v1/batch/Ask", json={"rows": [{"question": f"{n}?"} for n in range(200)]}).json()["id"]
    wait(client, batch, lambda record: record["done"] >= 1)
    assert client.delete(f"/v1/batches/{batch}").status_code == 204
    end = time.monotonic() + 30
    while (tmp_path / batch).exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    assert lm.engine.calls < 100


def test_rows_with_sensitive_fields_are_lost_with_the_server_and_said_to_be(
    make_client: MakeClient, make_served: Callable[..., Executor], tmp_path: Path
) -> None:
    app = create_app(make_served(lm=null_lm(delay=0.05), max_workers=1), data_folder=tmp_path)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        batch = client.post("/v1/batch/Secret", json={"rows": [{"code": f"Canary{n}"} for n in range(30)]}).json()["id"]
        wait(client, batch, lambda record: record["done"] >= 1)
    assert not any(b"Canary" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    found = wait(make_client(data_folder=tmp_path), batch)
    assert found["state"] == "lost"
    assert "submit them again" in found["error"]


def test_batches_are_bounded_and_their_folder_has_one_server(
    make_client: MakeClient, make_served: Callable[..., Executor], tmp_path: Path
) -> None:
    executor = make_served(lm=null_lm(delay=0.1), max_workers=1)
    client = make_client(executor, data_folder=tmp_path, limits=ServeLimits(batches=1))
    body = {"rows": [{"question": "1?"}, {"question": "2?"}]}
    assert client.post("/v1/batch/Ask", json=body).status_code == 202
    refused = client.post("/v1/batch/Ask", json=body)
    assert (refused.status_code, "retry-after" in refused.headers) == (429, True)
    with pytest.raises(ConfigurationError, match="another server"):
        create_app(executor, data_folder=tmp_path)
    assert make_client(executor).get("/v1/batches").status_code == 501
