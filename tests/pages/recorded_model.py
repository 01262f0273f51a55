"""Recorded answers of the embedded model: checking the commands of a page takes no computing.

Whatever was not recorded is asked of the model itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from threading import Event, Lock
from typing import Any

from dspy.lm15 import Message, Request, Response, TextPart, Usage

from hokusai_local.engine import LlamaEngine

__all__ = ["install"]


def install(path: str, *, replay: bool, record: bool) -> None:
    """Let the embedded model of this process answer from a file.

    Args:
        path: the file.
        replay: whether to answer from it.
        record: whether to write there what the model itself has answered.
    """
    known = _read(Path(path)) if replay else {}
    original: Callable[[LlamaEngine, Request, Event], Response] = LlamaEngine.complete_unless
    writing = Lock()

    def complete_unless(engine: LlamaEngine, request: Request, cancelled: Event) -> Response:
        key = hashlib.sha256(repr(request).encode()).hexdigest()[:24]
        found = known.get(key)
        if found is not None:
            return _response(request, found)
        response = original(engine, request, cancelled)
        if record:
            with writing, open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps([key, _facts(response)], ensure_ascii=False) + "\n")
        return response

    # The one way into the model.
    setattr(LlamaEngine, "complete_unless", complete_unless)  # noqa: B010  # mypy takes no assignment of a method


def _read(path: Path) -> dict[str, dict[str, Any]]:
    return dict(map(json.loads, path.read_text(encoding="utf-8").splitlines())) if path.exists() else {}


def _facts(response: Response) -> dict[str, Any]:
    usage = response.usage
    return {
        "text": "".join(part.text for part in response.message.parts if isinstance(part, TextPart)),
        "finish_reason": response.finish_reason,
        "tokens": [usage.input_tokens, usage.output_tokens, usage.cache_read_tokens],
        "details": json.loads(json.dumps(response.provider_data, default=str)),
    }


def _response(request: Request, facts: dict[str, Any]) -> Response:
    prompt, answer, reused = facts["tokens"]
    return Response(
        id=None,
        model=request.model,
        message=Message.assistant([TextPart(facts["text"])]),
        finish_reason=facts["finish_reason"],
        usage=Usage(input_tokens=prompt, output_tokens=answer, cache_read_tokens=reused),
        provider_data=facts["details"],
    )
