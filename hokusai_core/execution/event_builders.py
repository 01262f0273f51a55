"""Builds the events of an execution. Only this module passes values of inputs and outputs to observers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from attrs import evolve

from hokusai_core.events import REDACTED, ExecutionFinished, ExecutionStarted
from hokusai_core.json_encoding import jsonable
from hokusai_core.results import ModelExchange

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hokusai_core.events import PromptTemplate
    from hokusai_core.execution.state import ExecutionState
    from hokusai_core.results import ExecutionResult

__all__ = ["failed_event", "finished_event", "started_event", "withheld"]


def started_event(state: ExecutionState) -> ExecutionStarted:
    """Return the event of an execution that passed input validation."""
    plan = state.plan
    return ExecutionStarted(
        execution_id=state.execution_id,
        signature=plan.name,
        signature_version=plan.spec.version,
        fingerprint=plan.spec.fingerprint,
        inputs=_plain(plan.spec.redact(state.inputs)),
        started_at=state.started_at,
        parent_id=state.options.parent_id,
        tags=state.options.tags,
    )


def finished_event(
    state: ExecutionState, result: ExecutionResult, prompt: PromptTemplate | None = None
) -> ExecutionFinished:
    """Return the event of an execution that succeeded; ``prompt`` is that of its signature."""
    return _finished(
        state,
        prompt=prompt,
        status="ok",
        outputs=_plain(state.plan.spec.redact(result.outputs)),
        cost=result.cost,
        latency=result.latency,
        cached=result.cached,
    )


def failed_event(
    state: ExecutionState, error: BaseException, prompt: PromptTemplate | None = None
) -> ExecutionFinished:
    """Return the event of an execution that failed; ``prompt`` is that of its signature."""
    return _finished(
        state,
        prompt=prompt,
        status="failed",
        outputs={},
        cost=state.cost,
        latency=time.perf_counter() - state.started,
        cached=None,
        error_type=type(error).__name__,
        error=str(error),
    )


def _finished(state: ExecutionState, *, outputs: Mapping[str, Any], **facts: Any) -> ExecutionFinished:
    plan = state.plan
    return ExecutionFinished(
        execution_id=state.execution_id,
        signature=plan.name,
        signature_version=plan.spec.version,
        fingerprint=plan.spec.fingerprint,
        inputs=_plain(plan.spec.redact(state.inputs)),
        outputs=outputs,
        model=plan.model_name,
        model_parameters=plan.model_parameters,
        usage=state.usage,
        attempts=state.attempts,
        stages=state.timings,
        started_at=state.started_at,
        parent_id=state.options.parent_id,
        parent_kind=state.options.parent_kind,
        step=state.options.step,
        tags=state.options.tags,
        collect_feedback=state.options.collect_feedback,
        exchanges=state.exchanges,
        strategy=None if plan.strategy is None else plan.strategy.choice.identity,
        extras={} if plan.spec.sensitive else state.extras,
        **facts,
    )


def withheld(exchange: ModelExchange) -> ModelExchange:
    """Return an exchange without any text: that of a prompt may hold sensitive values anywhere."""
    messages = tuple({"role": message.get("role", ""), "content": REDACTED} for message in exchange.messages)
    return evolve(exchange, messages=messages, completions=(REDACTED,) * len(exchange.completions))


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as JSON-able ones; one that has no JSON form by its type, as it must not cost the execution."""
    try:
        plain: dict[str, Any] = jsonable(values)
        return plain
    except (TypeError, ValueError):
        return {name: _plain_value(value) for name, value in values.items()}


def _plain_value(value: Any) -> Any:
    try:
        return jsonable(value)
    except (TypeError, ValueError):
        return f"<{type(value).__name__}>"
