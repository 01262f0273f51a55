"""Routes of feedback: rate, correct, record outcomes, and the queue of executions that wait for a review."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

from fastapi import FastAPI, Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.responses import Response

from hokusai_core.errors import SignatureError
from hokusai_core.types import KeptExecution
from hokusai_serve.json_text import json_bytes
from hokusai_serve.problems import Problem
from hokusai_serve.records import kept_record
from hokusai_serve.serving import Serving

__all__ = ["FeedbackRequest", "OutcomeRequest", "add_feedback_routes"]

_STRICT: Final = ConfigDict(strict=True, extra="forbid")
#: The source of feedback that names none.
_SOURCE: Final = "http"


def _whole(value: Any) -> Any:
    """Take 5.0 as 5, as JSON Schema does."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class FeedbackRequest(BaseModel):
    """A rating of an execution."""

    model_config = _STRICT

    rating: Annotated[int, BeforeValidator(_whole)] = Field(ge=1, le=5, description="1 (bad) to 5 (good).")
    corrections: dict[str, Any] = Field({}, description="Output -> what it should have been.")
    comment: str | None = Field(None, max_length=10_000)
    source: str = Field(_SOURCE, min_length=1, max_length=200, pattern=r"\S", description="Who gives it.")
    drawn: bool = Field(False, description="Whether the execution came from the review queue.")


class OutcomeRequest(BaseModel):
    """A number that was measured after an execution."""

    model_config = _STRICT

    name: str = Field(min_length=1, max_length=100, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    value: float = Field(ge=-1e300, le=1e300)
    higher_is_better: bool | None = None
    source: str = Field(_SOURCE, min_length=1, max_length=200, pattern=r"\S", description="Who measured it.")


def add_feedback_routes(app: FastAPI, serving: Serving) -> None:
    """Add the routes of feedback."""
    routes = _FeedbackRoutes(serving)
    for method, path, handler in (
        ("GET", "/v1/executions/{execution_id}", routes.show),
        ("POST", "/v1/executions/{execution_id}/feedback", routes.rate),
        ("POST", "/v1/executions/{execution_id}/outcomes", routes.record_outcome),
        ("GET", "/v1/review", routes.review),
    ):
        app.add_api_route(path, handler, methods=[method], include_in_schema=False)


class _FeedbackRoutes:
    def __init__(self, serving: Serving) -> None:
        self._serving, self._collector = serving, serving.feedback

    async def show(self, execution_id: str) -> Response:
        return _json(kept_record(await self._execution(execution_id)))

    async def rate(self, execution_id: str, asked: FeedbackRequest) -> Response:
        await self._execution(execution_id)
        given = await asyncio.to_thread(
            self._collector.add_feedback,
            execution_id,
            asked.rating,
            asked.corrections or None,
            asked.comment,
            asked.source,
            drawn=asked.drawn,
        )
        return _json({"execution_id": given.execution_id, "rating": given.rating, "source": given.source}, 201)

    async def record_outcome(self, execution_id: str, asked: OutcomeRequest) -> Response:
        await self._execution(execution_id)
        outcome = await asyncio.to_thread(
            self._collector.record_outcome,
            execution_id,
            asked.name,
            asked.value,
            higher_is_better=asked.higher_is_better,
            source=asked.source,
        )
        return _json({"execution_id": outcome.execution_id, "name": outcome.name, "value": outcome.value}, 201)

    async def review(
        self,
        signature: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 10,
    ) -> Response:
        waiting, drawn = await asyncio.to_thread(self._draw, signature, limit)
        return _json({"waiting": waiting, "executions": [kept_record(kept) for kept in drawn]})

    async def _execution(self, execution_id: str) -> KeptExecution:
        """Return an execution of a signature that is served."""
        kept = await asyncio.to_thread(self._collector.execution, execution_id)
        if not self._is_served(kept):
            raise Problem(404, "execution-not-found", f"no execution {execution_id!r} is kept")
        return kept

    def _is_served(self, kept: KeptExecution) -> bool:
        try:
            self._serving.catalog.find(kept.signature)
        except SignatureError:
            return False
        return True

    def _draw(self, signature: str | None, limit: int) -> tuple[int, list[KeptExecution]]:
        """Return how many executions wait for a review, and some of them, drawn at random."""
        name = None if signature is None else self._serving.catalog.find(signature).qualified_name
        waiting = (kept for kept in self._collector.unrated(name) if self._is_served(kept))
        return _sample(waiting, limit)


def _sample(items: Iterable[KeptExecution], size: int) -> tuple[int, list[KeptExecution]]:
    """Return how many items there are, and ``size`` of them, each with the same chance."""
    chosen: list[KeptExecution] = []
    count = 0
    for count, item in enumerate(items, 1):  # the last count is wanted
        if len(chosen) < size:
            chosen.append(item)
        elif (place := random.randrange(count)) < size:  # noqa: S311  # a fair choice, not a secret
            chosen[place] = item
    return count, chosen


def _json(data: Mapping[str, Any], status: int = 200) -> Response:
    return Response(json_bytes(data), status, media_type="application/json")
