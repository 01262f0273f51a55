"""A web service with two tenants: each has an executor of its own, and shares nothing with the other.

    python -m uvicorn examples.hosts.two_tenants:app

The settings are made here, so no environment variable changes them. Each tenant has its namespace, and a folder with
all that its executor keeps. `POST /acme/ask` is a route of the host itself; `/acme/api/` is the whole API and page of
`hokusai-serve`, behind the token of the tenant. The spans of executions go to the tracer provider of the host, inside
the span of the request.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from fastapi import FastAPI, HTTPException, Request, Response
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind
from pydantic import BaseModel

from hokusai_core import Executor, Settings
from hokusai_core.errors import HokusaiError, InputError
from hokusai_core.testing.lm import null_lm
from hokusai_otel import OtelTracker
from hokusai_serve import create_app

DATA = Path(os.environ.get("TENANTS_DATA") or tempfile.mkdtemp(prefix="tenants-"))
# A service adds its exporter: TRACES.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
TRACES = TracerProvider(resource=Resource.create({"service.name": "tenants"}))
TOKENS = {"acme": "token-of-acme-0123456789", "globex": "token-of-globex-0123456789"}  # of a secret store


def make_executor(tenant: str) -> Executor:
    """Make the executor of a tenant."""
    settings = Settings(
        lm=null_lm(answers={"answer": f"An answer for {tenant}."}),  # a service names its model: "openai/gpt-5-mini"
        plugins=["teleprompt"],
        namespace=tenant,
        timeout=20,
        max_workers=16,
        data_folder=DATA / tenant,
        trackers={"otel": OtelTracker(tracer_provider=TRACES)},
    )
    executor = Executor(settings)
    executor.register_signature("Ask", "question -> answer")
    return executor


EXECUTORS = {tenant: make_executor(tenant) for tenant in TOKENS}
APIS = {tenant: create_app(executor, token=TOKENS[tenant]) for tenant, executor in EXECUTORS.items()}


@contextlib.asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Begin and end the mounted applications, which a host does itself, and close the executors."""
    async with contextlib.AsyncExitStack() as stack:
        for executor in EXECUTORS.values():
            stack.push_async_callback(executor.aclose)
        for api in APIS.values():
            await stack.enter_async_context(api.router.lifespan_context(api))
        yield


app = FastAPI(lifespan=lifespan)


@app.middleware("http")
async def trace_request(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
    """Begin the span of a request, as the instrumentation of FastAPI does."""
    with TRACES.get_tracer("tenants").start_as_current_span(request.method, kind=SpanKind.SERVER) as span:
        span.set_attribute("url.path", request.url.path)
        return await answer(request)


class Question(BaseModel):
    """What a user of a tenant asks."""

    question: str


@app.post("/{tenant}/ask")
async def ask(tenant: str, asked: Question) -> dict[str, str]:
    """Answer a question. A request that is cancelled cancels its call."""
    executor = EXECUTORS.get(tenant)
    if executor is None:
        raise HTTPException(404, "no such tenant")
    try:
        result = await executor.aexecute_signature("Ask", {"question": asked.question}, tags={"tenant": tenant})
    except InputError as error:
        raise HTTPException(422, str(error)) from error
    except HokusaiError as error:
        raise HTTPException(503, str(error)) from error
    return {"answer": result["answer"]}


for name, api in APIS.items():
    app.mount(f"/{name}/api", api)
