from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from starlette.testclient import TestClient

from hokusai_core import Executor
from hokusai_core.errors import ConfigurationError
from hokusai_core.testing.lm import null_lm
from hokusai_serve import ServeLimits, create_app

MakeClient = Callable[..., TestClient]


def problem(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = response.json()
    assert found["status"] == status
    assert found["type"].startswith("urn:hokusai:")
    assert found["title"]
    assert found["detail"]
    return found


# -- signatures ------------------------------------------------------------------------------------------------------


def test_signatures_are_listed_shown_checked_and_executed(make_client: MakeClient, inputs: dict[str, Any]) -> None:
    client = make_client()
    listed = client.get("/v1/signatures").json()["signatures"]
    assert [item["name"] for item in listed] == ["Ask", "Everything", "Secret"]
    shown = client.get("/v1/signatures/local/Everything").json()
    jsonschema.validate(inputs, shown["inputs"])
    assert shown["inputs"]["required"] == ["text", "count", "mood", "day", "names", "address"]
    assert client.post("/v1/check/Everything", json={"inputs": inputs}).json()["inputs"]["either"] == "ten"
    result = client.post("/v1/execute/Everything", json={"inputs": inputs, "timeout": 5, "tags": {"team": "a"}})
    assert result.status_code == 200, result.text
    jsonschema.validate(result.json()["outputs"], shown["outputs"])
    assert result.json()["usage"]["calls"] == 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"count": "3"}, "inputs.count"),
        ({"count": 10}, "count"),
        ({"names": "Ada, Bob"}, "inputs.names"),
        ({"text": " "}, "text"),
        ({"mood": "bored"}, "inputs.mood"),
        ({"address": {"street": "Main", "number": "7"}}, "inputs.address.number"),
        ({"document": "x"}, "inputs.document"),
        ({"loud": None}, "inputs.loud"),
    ],
)
def test_inputs_that_do_not_fit_are_named(
    make_client: MakeClient, inputs: dict[str, Any], change: dict[str, Any], field: str
) -> None:
    found = problem(make_client().post("/v1/execute/Everything", json={"inputs": inputs | change}), 422)
    assert [item["field"] for item in found["errors"]] == [field]


def test_the_schema_tells_what_the_checks_refuse(make_client: MakeClient, inputs: dict[str, Any]) -> None:
    client = make_client()
    schema = client.get("/v1/signatures/Everything").json()["inputs"]
    wrong: list[dict[str, Any]] = [
        {"count": 10},
        {"text": " "},
        {"names": []},
        {"either": 1.5},
        {"more": 1},
        {"figures": {"a": "b"}},
    ]
    for change in wrong:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(inputs | change, schema)
        problem(client.post("/v1/execute/Everything", json={"inputs": inputs | change}), 422)


def test_a_picture_is_a_data_uri_and_never_a_path(
    make_client: MakeClient, make_executor: Callable[..., Executor], tmp_path: Path
) -> None:
    import dspy

    executor = make_executor(plugins=[])
    executor.register_signature(
        "See", dspy.Signature({"picture": (dspy.Image, dspy.InputField()), "seen": (str, dspy.OutputField())})
    )
    client = make_client(executor)
    content = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGD4DwABBAEAX+XDSwAAAABJRU5ErkJggg=="
    dot = f"data:image/png;base64,{content}"
    assert client.get("/v1/signatures/See").json()["inputs"]["properties"]["picture"]["pattern"] == "^data:image/"
    assert client.post("/v1/execute/See", json={"inputs": {"picture": dot}}).status_code == 200
    for wrong in (
        str(tmp_path / "a.png"),
        "file:///etc/hostname",
        "http://127.0.0.1/a.png",
        "data:image/png;base64,AAAA",
    ):
        problem(client.post("/v1/execute/See", json={"inputs": {"picture": wrong}}), 422)


def test_names_that_look_like_files_or_addresses_are_never_read(make_client: MakeClient, tmp_path: Path) -> None:
    client = make_client()
    path = tmp_path / "signature.json"
    path.write_text(json.dumps({"name": "Planted"}))
    for name in (str(path), f"..{path}", "signature.json", "models:/x@champion", "%2e%2e%2fetc%2fpasswd", "local/Nope"):
        assert problem(client.post(f"/v1/execute/{name}", json={"inputs": {}}), 404)["type"].endswith("not-found")


def test_only_included_signatures_are_served(make_client: MakeClient) -> None:
    client = make_client(include=["As*"])
    assert [item["name"] for item in client.get("/v1/signatures").json()["signatures"]] == ["Ask"]
    problem(client.get("/v1/signatures/Secret"), 404)
    assert "/v1/execute/Secret" not in client.get("/openapi.json").json()["paths"]


def test_events_are_streamed_and_end_in_the_result(
    make_client: MakeClient, make_served: Callable[..., Executor]
) -> None:
    lm = null_lm(answers={"answer": "one two three"}, pieces=str.split)
    client = make_client(make_served(lm=lm))
    response = client.post("/v1/stream/Ask", json={"inputs": {"question": "?"}})
    assert response.headers["content-type"].startswith("text/event-stream")
    found = events(response.text)
    assert found[0][0] == "started"
    assert "".join(data["text"] for kind, data in found if kind == "delta") == found[-1][1]["outputs"]["answer"]
    assert found[-1][0] == "finished"


def test_an_error_before_the_first_event_is_a_response_and_a_later_one_an_event(
    make_client: MakeClient, make_served: Callable[..., Executor]
) -> None:
    client = make_client(make_served(lm=null_lm(raw="nothing that fits")))
    problem(client.post("/v1/stream/Ask", json={"inputs": {"question": ""}}), 422)
    kind, data = events(client.post("/v1/stream/Ask", json={"inputs": {"question": "?"}}).text)[-1]
    assert kind == "error"
    assert (data["status"], data["type"]) == (502, "urn:hokusai:answer")
    problem(client.post("/v1/execute/Ask", json={"inputs": {"question": "?"}}), 502)


def events(text: str) -> list[tuple[str, dict[str, Any]]]:
    parts = [dict(line.split(": ", 1) for line in part.split("\n")) for part in text.strip().split("\n\n")]
    return [(part["event"], json.loads(part["data"])) for part in parts]


# -- access ----------------------------------------------------------------------------------------------------------


def test_every_error_is_problem_details(make_client: MakeClient) -> None:
    client = make_client()
    problem(client.get("/nothing"), 404)
    problem(client.put("/v1/execute/Ask", json={}), 405)
    assert client.put("/v1/execute/Ask", json={}).headers["allow"] == "POST"
    assert client.patch("/v1/batches/x", json={}).headers["allow"] == "DELETE, GET"
    problem(client.post("/v1/execute/Ask", content="{", headers={"Content-Type": "application/json"}), 400)
    problem(client.post("/v1/execute/Ask", json=[]), 422)
    problem(client.post("/v1/executions/x/feedback", json={"rating": "5"}), 422)
    problem(client.get("/v1/review?limit=many"), 422)


def test_a_request_needs_the_token(make_client: MakeClient, token: str) -> None:
    client = make_client(token=token)
    for path in ("/v1/signatures", "/metrics", "/openapi.json", "/nothing"):
        problem(client.get(path), 401)
        assert client.get(path).headers["www-authenticate"].startswith("Bearer")
    for wrong in (f"Bearer {token}x", f"Basic {token}", "Bearer", token):
        problem(client.get("/v1/signatures", headers={"Authorization": wrong}), 401)
    assert client.get("/v1/signatures", headers={"Authorization": f"Bearer {token}"}).status_code == 200
    for path in ("/health", "/ready", "/", "/assets/app.js"):
        assert client.get(path).status_code == 200
    with pytest.raises(ConfigurationError, match="at least 16"):
        create_app(None, token="short")  # type: ignore[arg-type]  # noqa: S106


def test_other_sites_reach_nothing(make_client: MakeClient) -> None:
    client, body = make_client(), {"inputs": {"question": "?"}}
    problem(client.post("/v1/execute/Ask", json=body, headers={"Host": "evil.example"}), 421)  # DNS rebinding
    problem(client.get("/", headers={"Host": "evil.example"}), 421)
    problem(client.post("/v1/execute/Ask", json=body, headers={"Origin": "https://evil.example"}), 403)
    problem(client.post("/v1/execute/Ask", json=body, headers={"Origin": "null"}), 403)
    problem(client.post("/v1/execute/Ask", json=body, headers={"Sec-Fetch-Site": "cross-site"}), 403)
    plain = {"Content-Type": "text/plain"}  # what a form or a fetch of another site may send without asking
    problem(client.post("/v1/execute/Ask", content=json.dumps(body), headers=plain), 415)
    own = client.post("/v1/execute/Ask", json=body, headers={"Origin": "http://127.0.0.1"})
    assert own.status_code == 200
    assert "access-control-allow-origin" not in own.headers
    assert "frame-ancestors 'none'" in client.get("/").headers["content-security-policy"]


def test_bounds_of_body_prompt_and_rows(make_client: MakeClient, tmp_path: Path) -> None:
    limits = ServeLimits(body_bytes=2_000, prompt_tokens=200, rows=3)
    client = make_client(limits=limits, data_folder=tmp_path)
    url = "/v1/execute/Ask"
    problem(client.post(url, json={"inputs": {"question": "x" * 2_000}}), 413)
    chunks = (b"x" * 500 for _ in range(10))  # no Content-Length
    problem(client.post(url, content=chunks, headers={"Content-Type": "application/json"}), 413)
    assert problem(client.post(url, json={"inputs": {"question": "word " * 300}}), 413)["type"].endswith(
        "prompt-too-long"
    )
    rows = [{"question": str(number)} for number in range(4)]
    problem(client.post("/v1/batch/Ask", json={"rows": rows}), 422)
    problem(client.post("/v1/batch/Ask", json={"rows": []}), 422)
    problem(client.post(url, json={"inputs": {"question": "?"}, "timeout": 10_000}), 422)


def test_state_of_the_server(make_client: MakeClient, make_executor: Callable[..., Executor]) -> None:
    client = make_client()
    client.post("/v1/execute/Ask", json={"inputs": {"question": "?"}})
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json() == {"status": "ready"}
    text = client.get("/metrics").text
    assert 'hokusai_executions_total{cached="no",signature="local/Ask"} 1.0' in text
    assert 'route="/v1/execute/{name:path}"' in text
    app: Any = client.app
    app.state.gate.drain()
    assert client.get("/health").status_code == 200
    problem(client.get("/ready"), 503)
    assert "retry-after" in client.get("/ready").headers
    problem(client.post("/v1/execute/Ask", json={"inputs": {"question": "?"}}), 503)
    without = make_client(make_executor(plugins=[], lm="local"))
    problem(without.get("/ready"), 503)


# -- feedback and reports --------------------------------------------------------------------------------------------


def test_executions_are_rated_corrected_and_reviewed(
    make_client: MakeClient, make_served: Callable[..., Executor]
) -> None:
    client = make_client(make_served(plugins=["teleprompt"]))
    ids = [
        client.post("/v1/execute/Ask", json={"inputs": {"question": f"{n}?"}, "collect_feedback": True}).json()[
            "execution_id"
        ]
        for n in range(3)
    ]
    assert client.get("/v1/review?signature=Ask").json()["waiting"] == 3
    given = {"rating": 2, "corrections": {"answer": "Better"}, "comment": "no", "drawn": True}
    assert client.post(f"/v1/executions/{ids[0]}/feedback", json=given).status_code == 201
    assert client.post(f"/v1/executions/{ids[1]}/outcomes", json={"name": "minutes", "value": 3}).status_code == 201
    kept = client.get(f"/v1/executions/{ids[0]}").json()
    assert kept["feedback"][0]["corrections"] == {"answer": "Better"}
    assert client.get(f"/v1/executions/{ids[1]}").json()["outcomes"][0]["value"] == 3.0
    queue = client.get("/v1/review").json()
    assert {item["execution_id"] for item in queue["executions"]} == set(ids[1:])
    problem(client.post(f"/v1/executions/{ids[0]}/feedback", json={"rating": 3, "corrections": {"nope": 1}}), 422)
    problem(client.post("/v1/executions/unknown/feedback", json={"rating": 3}), 404)


def test_values_of_sensitive_fields_reach_the_caller_alone(
    make_client: MakeClient, make_served: Callable[..., Executor], tmp_path: Path
) -> None:
    executor = make_served(plugins=["teleprompt"], lm=null_lm(answers={"answer": "Canary-out"}))
    client = make_client(executor, data_folder=tmp_path / "data")
    inputs = {"code": "Canary-in"}
    result = client.post("/v1/execute/Secret", json={"inputs": inputs, "collect_feedback": True}).json()
    assert result["outputs"] == {"answer": "Canary-out"}
    assert "Canary" not in client.get(f"/v1/executions/{result['execution_id']}").text
    assert "Canary" not in client.post("/v1/execute/Secret", json={"inputs": {"code": ["Canary-in"]}}).text
    batch = client.post("/v1/batch/Secret", json={"rows": [inputs]}).json()["id"]
    assert "[redacted]" in results_of(client, batch)
    assert not any(b"Canary" in path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file())


def results_of(client: TestClient, batch: str) -> str:
    end = time.monotonic() + 30
    while client.get(f"/v1/batches/{batch}").json()["state"] in ("queued", "running"):
        assert time.monotonic() < end
        time.sleep(0.01)
    return client.get(f"/v1/batches/{batch}/results").text


def test_reports_are_named_by_id_and_have_plots(
    make_client: MakeClient, tmp_path: Path, write_reports: Callable[[Path], None]
) -> None:
    write_reports(tmp_path)
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "other.json").write_text("[]")
    client = make_client(reports=tmp_path)
    listed = client.get("/v1/reports").json()["reports"]
    assert {item["kind"] for item in listed} == {"evaluation", "optimization"}
    for item in listed:
        shown = client.get(f"/v1/reports/{item['id']}").json()
        assert shown["title"] == item["title"]
        assert client.get(f"/v1/reports/{item['id']}/plot").text.startswith("<svg")
    for wrong in ("..%2Fbroken.json", "broken.json", "0" * 16):
        problem(client.get(f"/v1/reports/{wrong}"), 404)


def test_numbers_are_exact_and_hostile_json_is_refused(
    make_client: MakeClient, make_executor: Callable[..., Executor]
) -> None:
    executor = make_executor(plugins=[])
    executor.register_signature("Count", "number: int, ratio: float, data: list[Any] -> answer")
    client = make_client(executor)

    def check(body: str) -> Any:
        return client.post("/v1/check/Count", content=body, headers={"Content-Type": "application/json"})

    big = check('{"inputs": {"number": 123456789012345678901234567890, "ratio": 1, "data": [1]}}')
    assert big.json()["inputs"]["number"] == 123456789012345678901234567890
    whole = check('{"inputs": {"number": 5.0, "ratio": 1, "data": [1]}}').json()["inputs"]["number"]
    assert (whole, type(whole)) == (5, int)
    problem(check('{"inputs": {"number": 5.5, "ratio": 1, "data": [1]}}'), 422)
    problem(check('{"inputs": {"number": 1, "ratio": NaN, "data": [1]}}'), 400)
    problem(check('{"inputs": {"number": 1, "ratio": 1e999, "data": [1]}}'), 422)
    for depth in (150, 900, 100_000):
        deep = check('{"inputs": {"number": 1, "ratio": 1, "data": ' + "[" * depth + "]" * depth + "}}")
        assert deep.status_code in (200, 400, 422), deep.text
    problem(check("\ud800".encode("utf-8", "surrogatepass").decode("latin-1")), 400)
