"""JSON forms of results, events, executions that are kept, and signatures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hokusai_core.plugin_api import KeptExecution, jsonable
from hokusai_core.types import ExecutionResult, RegisteredSignature, StreamEvent
from hokusai_serve.schemas import SignatureSchemas

__all__ = ["event_record", "kept_record", "listed_record", "result_record", "signature_record"]


def result_record(result: ExecutionResult, *, sensitive: bool) -> dict[str, Any]:
    """Return a result as JSON-able data.

    Args:
        result: the result; its outputs are what the client has asked for.
        sensitive: whether a field of the signature is sensitive: extras may quote it, and are left out.
    """
    return {
        "execution_id": result.execution_id,
        "signature": result.signature,
        "signature_version": result.signature_version,
        "fingerprint": result.fingerprint,
        "outputs": {name: jsonable(value) for name, value in result.items()},
        "model": result.model,
        "usage": result.usage.to_dict(),
        "cost": result.cost,
        "latency": result.latency,
        "cached": result.cached,
        "attempts": len(result.attempts),
        "strategy": result.strategy or None,
        "extras": {} if sensitive else jsonable(dict(result.extras)),
    }


def event_record(event: StreamEvent, *, sensitive: bool) -> dict[str, Any]:
    """Return an event of a stream as JSON-able data; see ``result_record``."""
    record: dict[str, Any] = {} if event.step is None else {"step": event.step}
    if event.kind == "started":
        return {"signature": event.signature, "execution_id": event.execution_id, **record}
    if event.kind == "delta":
        return {"field": event.field, "text": event.text, **record}
    if event.kind == "thought":
        return {"name": event.name, "text": event.text, **record}
    if event.kind == "partial":
        return {"outputs": {name: jsonable(value) for name, value in event.outputs.items()}, **record}
    if event.kind == "retracted":
        return {"reason": event.reason, **record}
    if event.step is not None:  # a step is no concern of the client, and its signature may have sensitive fields
        return {"signature": event.result.signature, "execution_id": event.result.execution_id, **record}
    return result_record(event.result, sensitive=sensitive)


def listed_record(name: str, entry: RegisteredSignature) -> dict[str, Any]:
    """Return what a list tells of a signature."""
    spec = entry.spec
    return {
        "name": name,
        "qualified_name": entry.qualified_name,
        "version": spec.version,
        "summary": " ".join(spec.instructions.split())[:200],
        "category": spec.category,
        "tags": list(spec.tags),
        "deprecated": spec.deprecated,
    }


def signature_record(name: str, entry: RegisteredSignature, schemas: SignatureSchemas) -> dict[str, Any]:
    """Return everything that a client needs to call a signature."""
    spec = entry.spec
    return {
        **listed_record(name, entry),
        "fingerprint": spec.fingerprint,
        "instructions": spec.instructions,
        "aliases": list(spec.aliases),
        "strategy": None if spec.strategy is None else spec.strategy.name,
        "promoted": entry.edition is not None,
        "inputs": schemas.inputs(),
        "outputs": schemas.outputs(),
        "examples": [
            {part: _values(spec.redact(values)) for part, values in example.items()} for example in spec.examples
        ],
    }


def _values(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: jsonable(value) for name, value in values.items()}


def kept_record(kept: KeptExecution) -> dict[str, Any]:
    """Return an execution that is kept, with the feedback on it; sensitive values were never kept."""
    return {
        "execution_id": kept.execution_id,
        "signature": kept.signature,
        "signature_version": kept.signature_version,
        "model": kept.model,
        "started_at": kept.started_at,
        "inputs": jsonable(dict(kept.inputs)),
        "outputs": jsonable(dict(kept.outputs)),
        "feedback": [
            {
                "rating": given.rating,
                "corrections": jsonable(dict(given.corrections)),
                "comment": given.comment,
                "source": given.source,
                "given_at": given.given_at,
            }
            for given in kept.feedback
        ],
        "outcomes": [
            {
                "name": outcome.name,
                "value": outcome.value,
                "higher_is_better": outcome.higher_is_better,
                "source": outcome.source,
                "recorded_at": outcome.recorded_at,
            }
            for outcome in kept.outcomes
        ],
    }
