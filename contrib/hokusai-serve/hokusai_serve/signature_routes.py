"""Routes of signatures: list, show, check, execute and stream."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from fastapi import FastAPI, Request
from starlette.responses import Response

from hokusai_core.plugin_api import jsonable
from hokusai_core.types import RegisteredSignature
from hokusai_serve.disconnection import cancelled_with_client
from hokusai_serve.event_response import EventResponse
from hokusai_serve.json_text import json_bytes
from hokusai_serve.records import listed_record, result_record, signature_record
from hokusai_serve.schemas import ExecuteRequest
from hokusai_serve.serving import Serving

__all__ = ["add_signature_routes"]

#: Bytes of a body from which on it is read on a thread, so that the event loop goes on.
_LARGE: Final = 256 * 1024


def add_signature_routes(app: FastAPI, serving: Serving) -> None:
    """Add the routes of signatures. They are not in the schema of FastAPI: ``openapi.py`` tells them one by one."""
    routes = _SignatureRoutes(serving)
    for method, path, handler in (
        ("GET", "/v1/signatures", routes.list_signatures),
        ("GET", "/v1/signatures/{name:path}", routes.show),
        ("POST", "/v1/check/{name:path}", routes.check),
        ("POST", "/v1/execute/{name:path}", routes.execute),
        ("POST", "/v1/stream/{name:path}", routes.stream),
    ):
        app.add_api_route(path, handler, methods=[method], include_in_schema=False)


class _SignatureRoutes:
    def __init__(self, serving: Serving) -> None:
        self._serving, self._executor = serving, serving.executor

    async def list_signatures(self) -> Response:
        found = await asyncio.to_thread(self._serving.catalog.list)
        return _json({"signatures": [listed_record(name, entry) for name, entry in found]})

    async def show(self, name: str) -> Response:
        entry = self._serving.catalog.find(name)
        return _json(signature_record(name, entry, self._serving.catalog.schemas(entry)))

    async def check(self, name: str, request: Request) -> Response:
        entry, asked, _ = await self._read(name, request)
        bound = await asyncio.to_thread(self._executor.check_inputs, entry.qualified_name, asked.inputs)
        return _json({"signature": entry.qualified_name, "inputs": jsonable(bound)})

    async def execute(self, name: str, request: Request) -> Response:
        entry, asked, size = await self._read(name, request)
        async with cancelled_with_client(request.receive):
            await self._serving.check_prompt(entry, asked.inputs, size)
            result = await self._executor.aexecute_signature(entry.qualified_name, asked.inputs, **asked.options)
        self._serving.metrics.execution(result)
        return _json(result_record(result, sensitive=bool(entry.spec.sensitive)))

    async def stream(self, name: str, request: Request) -> Response:
        entry, asked, size = await self._read(name, request)
        events = self._executor.astream_signature(entry.qualified_name, asked.inputs, **asked.options)
        async with cancelled_with_client(request.receive):
            await self._serving.check_prompt(entry, asked.inputs, size)
            first = await anext(events)
        return EventResponse(first, events, self._serving.metrics, sensitive=bool(entry.spec.sensitive))

    async def _read(self, name: str, request: Request) -> tuple[RegisteredSignature, ExecuteRequest, int]:
        entry = self._serving.catalog.find(name)
        body = await request.body()
        schemas = self._serving.catalog.schemas(entry)
        asked = await asyncio.to_thread(schemas.read, body) if len(body) > _LARGE else schemas.read(body)
        return entry, asked, len(body)


def _json(data: Any) -> Response:
    return Response(json_bytes(data), media_type="application/json")
