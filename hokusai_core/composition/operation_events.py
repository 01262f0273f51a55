"""The event that observers receive at the end of a chain or pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hokusai_core.batch.results import plain
from hokusai_core.errors import ExecutionError
from hokusai_core.events import REDACTED, OperationFinished
from hokusai_core.results import Usage, known_cost

if TYPE_CHECKING:
    from hokusai_core.composition.targets import Resolved

__all__ = ["operation_event"]


def operation_event(
    operation_id: str,
    kind: Any,
    target: Resolved,
    *,
    inputs: Mapping[str, Any],
    result: Any,
    error: BaseException | None,
    over: Sequence[Any],
    latency: float,
    started_at: float,
    tags: Mapping[str, str],
) -> OperationFinished:
    """Return the event; values that are sensitive in any step are left out of it.

    Args:
        operation_id: the ``parent_id`` of its executions.
        kind: ``chain`` or ``pipeline``.
        target: what was run.
        inputs: what it was given.
        result: what it gave, None where it failed.
        error: what it failed with.
        over: results and errors of its executions.
        latency: seconds.
        started_at: seconds since the epoch.
        tags: tags of the call.
    """
    usages, costs = [], []
    for one in over:
        attempts = one.attempts if isinstance(one, ExecutionError) else ()
        usages += [attempt.usage for attempt in attempts] if isinstance(one, BaseException) else [one.usage]
        costs += [attempt.cost for attempt in attempts] if isinstance(one, BaseException) else [one.cost]
    return OperationFinished(
        operation_id=operation_id,
        kind=kind,
        name=getattr(target, "name", "") or kind,
        status="ok" if error is None else "failed",
        executions=len(over),
        failures=sum(isinstance(one, BaseException) for one in over),
        usage=sum(usages, Usage()),
        cost=known_cost(costs),
        latency=latency,
        started_at=started_at,
        inputs=_without(inputs, target.hidden_inputs(inputs)),
        outputs={} if result is None else _without(result, target.hidden_outputs()),
        error_type=None if error is None else type(error).__name__,
        error=None if error is None else str(error),
        tags=tags,
    )


def _without(values: Mapping[str, Any], hidden: frozenset[str]) -> dict[str, Any]:
    return plain({name: REDACTED if name in hidden else value for name, value in values.items()})
