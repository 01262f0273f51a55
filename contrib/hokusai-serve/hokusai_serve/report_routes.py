"""Routes of the reports of evaluations and optimizations."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import FastAPI
from starlette.responses import Response

from hokusai_serve.json_text import json_bytes
from hokusai_serve.serving import Serving

__all__ = ["add_report_routes"]


def add_report_routes(app: FastAPI, serving: Serving) -> None:
    """Add the routes of reports."""
    routes = _ReportRoutes(serving)
    for path, handler in (
        ("/v1/reports", routes.list_reports),
        ("/v1/reports/{report_id}", routes.show),
        ("/v1/reports/{report_id}/plot", routes.plot),
    ):
        app.add_api_route(path, handler, methods=["GET"], include_in_schema=False)


class _ReportRoutes:
    def __init__(self, serving: Serving) -> None:
        self._reports = serving.reports

    async def list_reports(self) -> Response:
        return _json({"reports": await asyncio.to_thread(self._reports.list)})

    async def show(self, report_id: str) -> Response:
        return _json(await asyncio.to_thread(self._reports.show, report_id))

    async def plot(self, report_id: str) -> Response:
        return Response(await asyncio.to_thread(self._reports.plot, report_id), media_type="image/svg+xml")


def _json(data: Any) -> Response:
    return Response(json_bytes(data), media_type="application/json")
