"""Routes of batches: submit, poll, read the results, remove."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final

from fastapi import FastAPI, Request
from starlette.responses import FileResponse, Response

from hokusai_core.errors import InputError
from hokusai_core.types import RegisteredSignature
from hokusai_serve.batch_files import BatchRecord
from hokusai_serve.batch_queue import BatchQueue
from hokusai_serve.json_text import json_bytes
from hokusai_serve.problems import Problem
from hokusai_serve.serving import Serving

__all__ = ["add_batch_routes"]

#: Problems of rows that an error lists.
_TOLD: Final = 50


def add_batch_routes(app: FastAPI, serving: Serving) -> None:
    """Add the routes of batches."""
    routes = _BatchRoutes(serving)
    for method, path, handler in (
        ("POST", "/v1/batch/{name:path}", routes.submit),
        ("GET", "/v1/batches", routes.list_batches),
        ("GET", "/v1/batches/{batch_id}", routes.show),
        ("GET", "/v1/batches/{batch_id}/results", routes.results),
        ("DELETE", "/v1/batches/{batch_id}", routes.remove),
    ):
        app.add_api_route(path, handler, methods=[method], include_in_schema=False)


class _BatchRoutes:
    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    @property
    def _queue(self) -> BatchQueue:
        if self._serving.batches is None:
            raise Problem(501, "no-batches", "this server keeps no batches: its create_app was given no data_folder")
        return self._serving.batches

    async def submit(self, name: str, request: Request) -> Response:
        entry = self._serving.catalog.find(name)
        queue = self._queue
        body = await request.body()
        asked = await asyncio.to_thread(self._serving.catalog.schemas(entry).read, body, batch=True)
        await asyncio.to_thread(self._check_rows, entry, asked.rows)
        record = await asyncio.to_thread(queue.submit, entry, asked.rows, asked.options)
        place = f"{request.scope.get('root_path', '')}/v1/batches/{record.id}"
        return _json(record.to_dict(), 202, {"Location": place, "Retry-After": "1"})

    def _check_rows(self, entry: RegisteredSignature, rows: Iterable[Mapping[str, Any]]) -> None:
        """Refuse a batch with rows that no execution would take, before anything is paid."""
        found: list[dict[str, str]] = []
        for number, row in enumerate(rows):
            try:
                self._serving.executor.check_inputs(entry.qualified_name, row)
            except InputError as error:
                found += (
                    {"field": f"rows.{number}.{item.field}", "code": item.code, "message": item.message}
                    for item in error.problems
                )
            if len(found) >= _TOLD:
                break
        if found:
            names = ", ".join(item["field"] for item in found[:5])
            raise Problem(422, "inputs", f"rows do not fit {entry.name}: {names}", errors=found[:_TOLD])

    async def list_batches(self) -> Response:
        return _json({"batches": [record.to_dict() for record in self._queue.list()]}, 200, {})

    async def show(self, batch_id: str) -> Response:
        return _json(self._queue.find(batch_id).to_dict(), 200, _again(self._queue.find(batch_id)))

    async def results(self, batch_id: str) -> Response:
        return FileResponse(self._queue.results(batch_id), media_type="application/x-ndjson")

    async def remove(self, batch_id: str) -> Response:
        await asyncio.to_thread(self._queue.remove, batch_id)
        return Response(status_code=204)


def _again(record: BatchRecord) -> Mapping[str, str]:
    return {} if record.over else {"Retry-After": "1"}


def _json(data: Any, status: int, headers: Mapping[str, str]) -> Response:
    return Response(json_bytes(data), status, headers, "application/json")
