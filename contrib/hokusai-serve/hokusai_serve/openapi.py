"""ApiDescription: the OpenAPI document, exact for each route of each signature."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel

from hokusai_core.types import RegisteredSignature
from hokusai_serve.access import Access
from hokusai_serve.catalog import Catalog
from hokusai_serve.feedback_routes import FeedbackRequest, OutcomeRequest
from hokusai_serve.problems import MEDIA_TYPE, PROBLEM_SCHEMA

__all__ = ["ApiDescription"]

_Json = dict[str, Any]

_JSON: Final = "application/json"
#: Status -> what it means, for errors that any request may get.
_ANY: Final = {
    400: "The request is not well-formed.",
    403: "Another web site has made the browser send the request.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    421: "The server does not answer under this host name.",
    422: "The request does not fit; tells every problem.",
    500: "The server failed.",
    503: "The server cannot answer now.",
}
_BODY: Final = {415: "The body is not JSON."}
_FOUND: Final = {404: "There is no such thing."}
_EXECUTES: Final = {
    402: "The budget of the server is spent.",
    429: "Too many executions run.",
    502: "The language model failed, or its answer does not fit.",
    504: "The timeout passed.",
}
_BATCHES: Final = {501: "This server keeps no batches."}

_TEXT: Final[_Json] = {"type": "string"}
_NUMBER: Final[_Json] = {"type": "number"}
_COUNT: Final[_Json] = {"type": "integer", "minimum": 0}
_FLAG: Final[_Json] = {"type": "boolean"}


def _or_null(schema: _Json) -> _Json:
    return {"anyOf": [schema, {"type": "null"}]}


def _object(properties: _Json, *, optional: tuple[str, ...] = ()) -> _Json:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _list(items: _Json) -> _Json:
    return {"type": "array", "items": items}


def _ref(name: str) -> _Json:
    return {"$ref": f"#/components/schemas/{name}"}


_LISTED: Final = {
    "name": _TEXT,
    "qualified_name": _TEXT,
    "version": _TEXT,
    "summary": _TEXT,
    "category": _TEXT,
    "tags": _list(_TEXT),
    "deprecated": _or_null(_TEXT),
}
_SCHEMAS: Final[_Json] = {
    "Problem": PROBLEM_SCHEMA,
    "Usage": _object(
        dict.fromkeys(("input_tokens", "output_tokens", "calls", "cached_tokens", "reasoning_tokens"), _COUNT)
    ),
    "ListedSignature": _object(_LISTED),
    "Signature": _object(
        {
            **_LISTED,
            "fingerprint": _TEXT,
            "instructions": _TEXT,
            "aliases": _list(_TEXT),
            "strategy": _or_null(_TEXT),
            "promoted": _FLAG,
            "inputs": {"type": "object", "description": "JSON Schema of the inputs."},
            "outputs": {"type": "object", "description": "JSON Schema of the outputs."},
            "examples": _list({"type": "object"}),
        }
    ),
    "Batch": _object(
        {
            "id": _TEXT,
            "signature": _TEXT,
            "rows": _COUNT,
            "state": {"enum": ["queued", "running", "finished", "failed", "lost"]},
            "done": _COUNT,
            "failed": _COUNT,
            "created_at": _NUMBER,
            "finished_at": _or_null(_NUMBER),
            "error": _or_null(_TEXT),
        }
    ),
    "KeptExecution": _object(
        {
            "execution_id": _TEXT,
            "signature": _TEXT,
            "signature_version": _TEXT,
            "model": _TEXT,
            "started_at": _NUMBER,
            "inputs": {"type": "object"},
            "outputs": {"type": "object"},
            "feedback": _list({"type": "object"}),
            "outcomes": _list({"type": "object"}),
        }
    ),
    "Event": {
        "description": "One server-sent event; its data is a text of JSON.",
        "type": "object",
        "required": ["event", "data"],
        "properties": {
            "event": {"enum": ["started", "thought", "delta", "partial", "retracted", "finished", "error"]},
            "data": {"type": "string", "contentMediaType": "application/json"},
        },
    },
    "ListedReport": {
        "type": "object",
        "required": ["id", "kind", "title", "file", "metric", "score", "modified_at"],
        "properties": {
            "id": _TEXT,
            "kind": {"enum": ["evaluation", "optimization"]},
            "title": _TEXT,
            "file": _TEXT,
            "metric": _TEXT,
            "score": _or_null(_NUMBER),
            "promoted": _FLAG,
            "modified_at": _NUMBER,
        },
    },
}


class ApiDescription:
    """Makes the document, again when the signatures have changed.

    Args:
        catalog: the signatures that are served.
        access: whether a token is needed.
    """

    def __init__(self, catalog: Catalog, access: Access) -> None:
        self._catalog, self._access = catalog, access
        self._made: tuple[tuple[tuple[str, str], ...], _Json] | None = None

    def document(self) -> _Json:
        """Return the OpenAPI 3.1 document."""
        served = self._catalog.list()
        state = tuple((name, entry.spec.fingerprint + entry.spec.version) for name, entry in served)
        if self._made is None or self._made[0] != state:
            self._made = state, self._document(dict(served))
        return self._made[1]

    def _document(self, served: Mapping[str, RegisteredSignature]) -> _Json:
        schemas = dict(_SCHEMAS)
        paths: dict[str, _Json] = dict(_fixed_paths(schemas))
        for name, entry in served.items():
            paths |= dict(self._signature_paths(name, entry, schemas))
        for path, operations in paths.items():
            for method, operation in operations.items():
                if method == "parameters":
                    continue
                if self._access.needs_token and path not in ("/health", "/ready"):
                    operation["security"] = [{"token": []}]
                    operation["responses"]["401"] = _problem("A token is needed.")
                operation.setdefault("operationId", f"{method} {path}")
        components: _Json = {"schemas": schemas}
        if self._access.needs_token:
            components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        info = {"title": "Hokusai", "version": "1", "description": "Signatures of Hokusai over HTTP."}
        return {"openapi": "3.1.0", "info": info, "paths": paths, "components": components}

    def _signature_paths(self, name: str, entry: RegisteredSignature, schemas: _Json) -> Iterator[tuple[str, _Json]]:
        prefix = f"{name.replace('/', '.')}."
        ref = f"#/components/schemas/{prefix}{{model}}"
        made = self._catalog.schemas(entry)
        parts = {"Request": made.request(ref), "Batch": made.batch(ref), "Outputs": made.outputs(ref)}
        for part, schema in parts.items():
            schemas |= {f"{prefix}{key}": value for key, value in schema.pop("$defs", {}).items()}
            schemas[f"{prefix}_{part}"] = schema
        bound = {"type": "object", "description": "The inputs as they would be used."}
        schemas[f"{prefix}_Result"] = _object(
            {
                "execution_id": _TEXT,
                "signature": _TEXT,
                "signature_version": _TEXT,
                "fingerprint": _TEXT,
                "outputs": _ref(f"{prefix}_Outputs"),
                "model": _TEXT,
                "usage": _ref("Usage"),
                "cost": _or_null(_NUMBER),
                "latency": _NUMBER,
                "cached": _or_null(_TEXT),
                "attempts": _COUNT,
                "strategy": _or_null(_TEXT),
                "extras": {"type": "object"},
            }
        )
        request, result = _ref(f"{prefix}_Request"), _ref(f"{prefix}_Result")
        events = {"text/event-stream": {"schema": _ref("Event")}}
        tag = {"tags": [name]}
        yield f"/v1/signatures/{name}", {"get": _operation("Show the signature", _json(_ref("Signature"))) | tag}
        checked = _json(_object({"signature": _TEXT, "inputs": bound}))
        yield f"/v1/check/{name}", {"post": _operation("Check inputs without a call", checked, request) | tag}
        executed = _operation("Execute the signature", _json(result), request, problems=_EXECUTES)
        yield f"/v1/execute/{name}", {"post": executed | tag}
        streamed = _operation("Execute the signature and stream its events", events, request, problems=_EXECUTES)
        yield f"/v1/stream/{name}", {"post": streamed | tag}
        batch = _operation(
            "Submit a batch",
            _json(_ref("Batch")),
            _ref(f"{prefix}_Batch"),
            status=202,
            problems={429: "Too many batches wait.", **_BATCHES},
        )
        yield f"/v1/batch/{name}", {"post": batch | tag}


def _fixed_paths(schemas: _Json) -> Iterator[tuple[str, _Json]]:
    for model in (FeedbackRequest, OutcomeRequest):
        schemas[model.__name__] = _model_schema(model)
    batch, execution, report = (_in_path(name) for name in ("batch_id", "execution_id", "report_id"))
    status = _json(_object({"status": _TEXT}))
    yield "/health", {"get": _operation("Tell whether the server runs", status)}
    yield "/ready", {"get": _operation("Tell whether requests are answered", status)}
    yield "/metrics", {"get": _operation("Figures for Prometheus", {"text/plain": {"schema": _TEXT}})}
    listed = _json(_object({"signatures": _list(_ref("ListedSignature"))}))
    yield "/v1/signatures", {"get": _operation("List the signatures", listed)}
    batches = _json(_object({"batches": _list(_ref("Batch"))}))
    yield "/v1/batches", {"get": _operation("List the batches", batches, problems=_BATCHES)}
    found = {**_FOUND, **_BATCHES}
    yield (
        "/v1/batches/{batch_id}",
        {
            "parameters": [batch],
            "get": _operation("Show a batch", _json(_ref("Batch")), problems=found),
            "delete": _operation("Remove a batch", None, status=204, problems=found),
        },
    )
    lines = {"application/x-ndjson": {"schema": _TEXT}}
    results = _operation("Read the results of a batch", lines, problems={409: "It has none (yet).", **found})
    yield "/v1/batches/{batch_id}/results", {"parameters": [batch], "get": results}
    kept = _operation("Show an execution that is kept", _json(_ref("KeptExecution")), problems=_FOUND)
    yield "/v1/executions/{execution_id}", {"parameters": [execution], "get": kept}
    for what, summary, answer in (
        ("Feedback", "Rate and correct an execution", {"rating": _COUNT, "source": _TEXT}),
        ("Outcome", "Record what came of an execution", {"name": _TEXT, "value": _NUMBER}),
    ):
        stored = _json(_object({"execution_id": _TEXT, **answer}))
        operation = _operation(summary, stored, _ref(f"{what}Request"), status=201, problems=_FOUND)
        end = "feedback" if what == "Feedback" else "outcomes"
        yield f"/v1/executions/{{execution_id}}/{end}", {"parameters": [execution], "post": operation}
    queue = _json(_object({"waiting": _COUNT, "executions": _list(_ref("KeptExecution"))}))
    query = [
        {"name": "signature", "in": "query", "schema": {"type": "string", "minLength": 1, "maxLength": 200}},
        {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 10}},
    ]
    drawn = _operation("Draw executions that wait for a review", queue, problems=_FOUND)
    yield "/v1/review", {"get": drawn | {"parameters": query}}
    reports = _json(_object({"reports": _list(_ref("ListedReport"))}))
    yield "/v1/reports", {"get": _operation("List the reports", reports)}
    shown = _operation("Show a report", _json({"type": "object"}), problems=_FOUND)
    yield "/v1/reports/{report_id}", {"parameters": [report], "get": shown}
    plot = _operation("Show the plot of a report", {"image/svg+xml": {"schema": _TEXT}}, problems=_FOUND)
    yield "/v1/reports/{report_id}/plot", {"parameters": [report], "get": plot}


def _operation(
    summary: str,
    answer: _Json | None,
    body: _Json | None = None,
    *,
    status: int = 200,
    problems: Mapping[int, str] | None = None,
) -> _Json:
    told = {**_ANY, **(_BODY if body is not None else {}), **(problems or {})}
    responses: _Json = {str(status): {"description": "Done.", **({} if answer is None else {"content": answer})}}
    responses |= {str(code): _problem(text) for code, text in sorted(told.items())}
    operation: _Json = {"summary": summary, "responses": responses}
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {_JSON: {"schema": body}}}
    return operation


def _problem(text: str) -> _Json:
    return {"description": text, "content": {MEDIA_TYPE: {"schema": _ref("Problem")}}}


def _json(schema: _Json) -> _Json:
    return {_JSON: {"schema": schema}}


def _in_path(name: str) -> _Json:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _model_schema(model: type[BaseModel]) -> _Json:
    schema: _Json = json.loads(json.dumps(model.model_json_schema()))
    return schema
