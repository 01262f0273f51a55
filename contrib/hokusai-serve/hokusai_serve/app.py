"""``create_app``: an executor as an ASGI application."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from hokusai_core import Executor
from hokusai_core.errors import HokusaiError
from hokusai_serve.access import LOOPBACK_HOSTS, Access
from hokusai_serve.batch_queue import BatchQueue
from hokusai_serve.batch_routes import add_batch_routes
from hokusai_serve.catalog import Catalog
from hokusai_serve.feedback_routes import add_feedback_routes
from hokusai_serve.gate import Gate
from hokusai_serve.guard import Guard
from hokusai_serve.limits import ServeLimits
from hokusai_serve.metrics import ServerMetrics
from hokusai_serve.openapi import ApiDescription
from hokusai_serve.problems import Problem, problem_of, problem_response
from hokusai_serve.report_routes import add_report_routes
from hokusai_serve.reports import ReportFolder
from hokusai_serve.service_routes import add_service_routes
from hokusai_serve.serving import Serving
from hokusai_serve.signature_routes import add_signature_routes
from hokusai_teleprompt import FeedbackCollector

__all__ = ["create_app"]


def create_app(
    executor: Executor,
    *,
    token: str | Sequence[str] = (),
    include: Sequence[str] = (),
    allowed_hosts: Sequence[str] | None = None,
    limits: ServeLimits | None = None,
    data_folder: str | os.PathLike[str] | None = None,
    reports: str | os.PathLike[str] | None = None,
    sensitive: bool = False,
) -> FastAPI:
    """Return an application that serves the signatures of an executor over HTTP, with a page for people.

    The executor stays the caller's: the application does not close it.

    Args:
        executor: runs the signatures; its settings bound costs, rates and times.
        token: the token, or several of them, any of which opens the server; empty for none.
        include: names or patterns of the signatures to serve, such as ``"Email*"``; empty for all.
        allowed_hosts: host names that requests may have. Left out, any with a token, and those of this machine without
            one, so that no web site reaches the server through a name of its own.
        limits: bounds of requests.
        data_folder: folder for batches, which one application at a time uses; None for no batches.
        reports: folder with saved evaluations and optimized signatures; None for none.
        sensitive: whether the results of batches hold values of sensitive fields.

    Returns:
        An application for any ASGI server. ``app.state.gate.drain()`` refuses new requests before the end.

    Raises:
        ConfigurationError: a token is too short, or another application uses the folder.

    Example::

        executor = Executor(lm="openai/gpt-5-mini")
        app = create_app(executor, token=os.environ["TOKEN"], include=["EmailDraft"])
    """
    tokens = [token] if isinstance(token, str) and token else list(token)
    hosts = LOOPBACK_HOSTS if allowed_hosts is None and not tokens else allowed_hosts
    bounds, metrics = limits or ServeLimits(), ServerMetrics()
    catalog, gate = Catalog(executor, include, bounds), Gate(bounds)
    batches = None
    if data_folder is not None:
        batches = BatchQueue(executor, catalog, Path(data_folder), bounds, metrics, gate, sensitive=sensitive)
    serving = Serving(
        executor=executor,
        limits=bounds,
        access=Access(tokens, hosts),
        catalog=catalog,
        gate=gate,
        metrics=metrics,
        reports=ReportFolder(None if reports is None else Path(reports)),
        batches=batches,
        feedback=FeedbackCollector(executor=executor),
    )
    metrics.watch("hokusai_requests_active", "Requests in flight", lambda: gate.active)
    metrics.watch("hokusai_executions_active", "Executions in flight", lambda: gate.executing)
    return _assembled(serving)


def _assembled(serving: Serving) -> FastAPI:
    description = ApiDescription(serving.catalog, serving.access)
    app = FastAPI(
        title="Hokusai",
        lifespan=_lifespan(serving),
        openapi_url=None,  # it is one of our own routes, behind the token
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.gate = serving.gate
    for add_routes in (add_signature_routes, add_batch_routes, add_feedback_routes, add_report_routes):
        add_routes(app, serving)
    add_service_routes(app, serving, description)
    app.add_middleware(Guard, access=serving.access, gate=serving.gate, limits=serving.limits, metrics=serving.metrics)
    app.add_exception_handler(RequestValidationError, _unfit)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(HokusaiError, _error)
    return app


def _lifespan(serving: Serving) -> Any:
    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(_prepare, serving)
        try:
            yield
        finally:
            serving.gate.drain()
            if serving.batches is not None:
                await asyncio.to_thread(serving.batches.close)
            serving.feedback.close()

    return lifespan


def _prepare(serving: Serving) -> None:
    """Load what the first request would load."""
    for _, entry in serving.catalog.list():
        serving.catalog.schemas(entry)
    if serving.executor.mode.value != "testing":
        with contextlib.suppress(HokusaiError):  # the requests say what is wrong
            serving.executor.language_model()
    if serving.batches is not None:
        serving.batches.resume()


async def _error(_request: Request, error: Exception) -> Response:
    return problem_response(problem_of(error))


async def _http_error(request: Request, error: Any) -> Response:
    problem = problem_of(error)
    if problem.status_code == 405:
        problem.headers = {**(problem.headers or {}), "Allow": ", ".join(_methods(request))}
    if problem.detail == "There was an error parsing the body":
        problem = Problem(400, "json", "the body is not JSON")
    return problem_response(problem)


async def _unfit(_request: Request, error: Any) -> Response:
    found = [
        {
            "field": ".".join(str(part) for part in item["loc"] if part not in ("body", "query", "path")) or "body",
            "code": str(item["type"]),
            "message": str(item["msg"]),
        }
        for item in error.errors()
    ]
    if any(item["code"] == "json_invalid" for item in found):
        return problem_response(Problem(400, "json", "the body is not JSON"))
    names = ", ".join(dict.fromkeys(item["field"] for item in found))
    return problem_response(Problem(422, "request", f"the request does not fit: {names}", errors=found[:50]))


def _methods(request: Request) -> list[str]:
    """Return the methods of every route that has the path of the request."""
    routes = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in routes for method in getattr(route, "methods", None) or ()})
