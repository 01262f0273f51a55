"""Routes of the service itself: health, readiness, figures, the description of the API, and the page."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from starlette.responses import FileResponse, Response

from hokusai_core.errors import LanguageModelUnavailable
from hokusai_serve.json_text import json_bytes
from hokusai_serve.metrics import CONTENT_TYPE_LATEST
from hokusai_serve.openapi import ApiDescription
from hokusai_serve.problems import Problem
from hokusai_serve.serving import Serving

__all__ = ["add_service_routes"]

_PAGE: Final = Path(__file__).parent / "page"
_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def add_service_routes(app: FastAPI, serving: Serving, description: ApiDescription) -> None:
    """Add the routes of the service."""
    routes = _ServiceRoutes(serving, description)
    for path, handler in (
        ("/health", routes.health),
        ("/ready", routes.ready),
        ("/metrics", routes.metrics),
        ("/openapi.json", routes.openapi),
        ("/", routes.page),
        ("/assets/{name}", routes.asset),
    ):
        app.add_api_route(path, handler, methods=["GET"], include_in_schema=False)


class _ServiceRoutes:
    def __init__(self, serving: Serving, description: ApiDescription) -> None:
        self._serving, self._description = serving, description
        self._assets = {path.name: path for path in _PAGE.iterdir() if path.suffix in _TYPES}

    async def health(self) -> Response:
        return _json({"status": "ok"})

    async def ready(self) -> Response:
        headers = {"Retry-After": "5"}
        if self._serving.gate.draining:
            raise Problem(503, "draining", "the server is about to end", headers=headers)
        if self._serving.executor.mode.value != "testing":
            try:
                await asyncio.to_thread(self._serving.executor.language_model)
            except LanguageModelUnavailable:
                detail = "there is no language model; the log of the server says why"
                raise Problem(503, "language-model-unavailable", detail, headers=headers) from None
        return _json({"status": "ready"})

    async def metrics(self) -> Response:
        return Response(self._serving.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    async def openapi(self) -> Response:
        return _json(await asyncio.to_thread(self._description.document))

    async def page(self) -> Response:
        return FileResponse(_PAGE / "index.html", media_type="text/html")

    async def asset(self, name: str) -> Response:
        path = self._assets.get(name)
        if path is None:
            raise Problem(404, "not-found", "there is no such file")
        return FileResponse(path, media_type=_TYPES[path.suffix])


def _json(data: Any) -> Response:
    return Response(json_bytes(data), media_type="application/json")
