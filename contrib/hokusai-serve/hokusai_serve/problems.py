"""Problem details (RFC 9457): the form of every error that the server answers with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import orjson
from starlette.exceptions import HTTPException
from starlette.responses import Response

from hokusai_core import errors
from hokusai_core.plugin_api import scrub

__all__ = ["MEDIA_TYPE", "PROBLEM_SCHEMA", "Problem", "problem_of", "problem_response"]

MEDIA_TYPE: Final = "application/problem+json"

#: The form as JSON Schema.
PROBLEM_SCHEMA: Final[dict[str, Any]] = {
    "title": "Problem",
    "description": "Problem details (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "description": "Stable kind, such as urn:hokusai:inputs."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What failed, and what to do next."},
        "execution_id": {"type": "string"},
        "retryable": {"type": "boolean", "description": "Whether the same request may succeed later."},
        "errors": {
            "type": "array",
            "description": "Every problem of the request.",
            "items": {
                "type": "object",
                "required": ["field", "code", "message"],
                "properties": {
                    "field": {"type": "string"},
                    "code": {"type": "string"},
                    "message": {"type": "string"},
                },
            },
        },
    },
}

_LONGEST: Final = 2_000


class Problem(HTTPException):
    """A request that cannot be answered.

    Args:
        status: HTTP status.
        kind: stable, machine-readable kind.
        detail: what failed and what to do next; holds no sensitive value.
        headers: further headers of the response.
        more: further members of the problem.
    """

    def __init__(
        self, status: int, kind: str, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.kind, self.more = kind, more

    def to_dict(self) -> dict[str, Any]:
        """Return the problem as JSON-able data."""
        try:
            title = HTTPStatus(self.status_code).phrase
        except ValueError:
            title = "Error"
        detail = self.detail if len(self.detail) <= _LONGEST else f"{self.detail[:_LONGEST]}..."
        known = {"type": f"urn:hokusai:{self.kind}", "title": title, "status": self.status_code, "detail": detail}
        return known | self.more

    def to_json(self) -> bytes:
        """Return the problem as JSON."""
        return orjson.dumps(_valid(self.to_dict()))


def problem_response(problem: Problem) -> Response:
    """Return the response that tells a problem."""
    return Response(problem.to_json(), problem.status_code, problem.headers, MEDIA_TYPE)


#: Class of an error -> status and kind; the first that fits is taken.
_STATUSES: Final[Sequence[tuple[type[Exception], int, str]]] = (
    (errors.InputError, 422, "inputs"),
    (errors.ExecutionNotFoundError, 404, "execution-not-found"),
    (errors.FeedbackError, 422, "feedback"),
    (errors.SignatureNotFoundError, 404, "signature-not-found"),
    (errors.AmbiguousSignatureError, 404, "ambiguous-signature"),
    (errors.LanguageModelUnavailable, 503, "language-model-unavailable"),
    (errors.LanguageModelRefused, 502, "language-model-refused"),
    (errors.RateLimitedError, 503, "language-model-busy"),
    (errors.PromptTooLong, 413, "prompt-too-long"),
    (errors.LanguageModelError, 502, "language-model-failed"),
    (errors.OutputError, 502, "answer"),
    (errors.ToolError, 502, "tool"),
    (errors.DeadlineExceeded, 504, "timeout"),
    (errors.BudgetExceeded, 402, "budget"),
    (errors.ResourcesExhausted, 503, "busy"),
    (errors.ClosedError, 503, "closed"),
    (errors.CassetteMiss, 502, "cassette"),
    (errors.JournalError, 409, "journal"),
)
#: Seconds after which to come back, where nothing better is known.
_RETRY_AFTER: Final = 5


def problem_of(error: Exception) -> Problem:
    """Return the problem of an error; one that Hokusai does not know tells nothing of its text."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException):
        return Problem(error.status_code, _kind_of_status(error.status_code), error.detail, headers=error.headers)
    status, kind = next(
        ((status, kind) for cls, status, kind in _STATUSES if isinstance(error, cls)), (500, "internal")
    )
    if status == 500 and not isinstance(error, errors.HokusaiError):
        return Problem(500, "internal", "the server failed; its log says why")
    more: dict[str, Any] = {}
    if isinstance(error, errors.InputError):
        more["errors"] = [
            {"field": item.field, "code": item.code, "message": item.message} for item in error.problems[:100]
        ]
    if isinstance(error, errors.ExecutionError):
        more |= {"execution_id": error.execution_id} if error.execution_id else {}
        more["retryable"] = error.retryable
    return Problem(status, kind, scrub(str(error)), headers=_retry_after(error, status), **more)


def _retry_after(error: Exception, status: int) -> dict[str, str]:
    if status != 503:
        return {}
    asked = getattr(error, "retry_after", None)
    return {"Retry-After": str(max(1, math.ceil(asked)) if asked else _RETRY_AFTER)}


def _kind_of_status(status: int) -> str:
    return {404: "not-found", 405: "method-not-allowed"}.get(status, f"http-{status}")


def _valid(value: Any) -> Any:
    """Return ``value`` with texts that are valid Unicode: a client may have sent half a character."""
    if isinstance(value, dict):
        return {_valid(name): _valid(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_valid(item) for item in value]
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
