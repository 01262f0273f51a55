"""ChainRunner: chains, pipelines and tasks of one executor."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

from hokusai_core.composition.checker import resolve_chain, resolve_pipeline
from hokusai_core.composition.definitions import ChainDefinition, PipelineDefinition
from hokusai_core.composition.results import ChainResult
from hokusai_core.composition.step_execution import Scope, arun_target, run_target
from hokusai_core.composition.targets import Resolved
from hokusai_core.errors import CompositionError, ExecutionError
from hokusai_core.events import REDACTED, OperationFinished
from hokusai_core.execution.options import ExecutionOptions
from hokusai_core.execution.services import ExecutorServices
from hokusai_core.execution.streaming import StreamEmitter
from hokusai_core.result_view import plain_values
from hokusai_core.results import Usage, known_cost
from hokusai_core.runtime.deadline import Deadline
from hokusai_core.runtime.drivers import blocking
from hokusai_core.settings import UNSET
from hokusai_core.stream_events import StreamFinished, StreamReceiver, StreamStarted

__all__ = ["ChainRunner"]


class ChainRunner:
    """Runs chains and pipelines for one executor.

    Args:
        services: parts of the executor.
    """

    def __init__(self, services: ExecutorServices) -> None:
        self._services = services

    def execute_chain(self, chain: Any, inputs: Any, options: ExecutionOptions) -> ChainResult:
        """Run a chain and wait for its result; see ``Executor.execute_chain``."""
        result: ChainResult = self._chain(chain, inputs, options).run()
        return result

    async def aexecute_chain(self, chain: Any, inputs: Any, options: ExecutionOptions) -> ChainResult:
        """Async version of ``execute_chain``."""
        await self._services.load_dspy()
        result: ChainResult = await self._chain(chain, inputs, options).arun()
        return result

    async def astream_chain(
        self, chain: Any, inputs: Any, options: ExecutionOptions, receive: StreamReceiver, closed: threading.Event
    ) -> ChainResult:
        """Run a chain and give the events of its steps to ``receive``; see ``Executor.stream_chain``."""
        await self._services.load_dspy()
        operation = self._chain(chain, inputs, options, lambda step: StreamEmitter(receive, closed, step))
        receive(StreamStarted(operation.name))
        result: ChainResult = await operation.arun()
        receive(StreamFinished(result))
        return result

    def execute_pipeline(self, pipeline: Any, inputs: Any, options: ExecutionOptions) -> Any:
        """Run a pipeline and wait for its result; see ``Executor.execute_conditional``."""
        return self._pipeline(pipeline, inputs, options).run()

    async def aexecute_pipeline(self, pipeline: Any, inputs: Any, options: ExecutionOptions) -> Any:
        """Async version of ``execute_pipeline``."""
        await self._services.load_dspy()
        return await self._pipeline(pipeline, inputs, options).arun()

    def _chain(
        self,
        chain: Any,
        inputs: Any,
        options: ExecutionOptions,
        emitter: Callable[[str], StreamEmitter] | None = None,
    ) -> _Operation:
        services = self._services
        services.check_open()
        if not isinstance(chain, ChainDefinition):
            raise CompositionError(f"execute_chain takes a SignatureChain, got {type(chain).__name__}")
        given = _checked_inputs(inputs, "initial_inputs")
        return _Operation(services, "chain", resolve_chain(chain, services.plans, given), given, options, emitter)

    def _pipeline(self, pipeline: Any, inputs: Any, options: ExecutionOptions) -> _Operation:
        services = self._services
        services.check_open()
        if not isinstance(pipeline, PipelineDefinition):
            raise CompositionError(f"execute_conditional takes a ConditionalPipeline, got {type(pipeline).__name__}")
        given = _checked_inputs(inputs, "inputs")
        return _Operation(services, "pipeline", resolve_pipeline(pipeline, services.plans, given), given, options)


def _checked_inputs(inputs: Any, name: str) -> Mapping[str, Any]:
    if inputs is None:
        return {}
    if not isinstance(inputs, Mapping):
        raise CompositionError(f"{name}: expected a mapping of name to value, got {type(inputs).__name__}")
    return dict(inputs)


class _Operation:
    """One run of a chain or pipeline; observers receive an event at its end.

    Args:
        services: parts of the executor.
        kind: ``chain`` or ``pipeline``.
        target: what is run.
        inputs: its inputs.
        options: those of ``execute_signature``.
        emitter: makes what emits the events of a step, None where they are not streamed.
    """

    def __init__(
        self,
        services: ExecutorServices,
        kind: Literal["chain", "pipeline"],
        target: Resolved,
        inputs: Mapping[str, Any],
        options: ExecutionOptions,
        emitter: Callable[[str], StreamEmitter] | None = None,
    ) -> None:
        self._services, self._kind, self._target, self._inputs = services, kind, target, inputs
        self._id = secrets.token_hex(16)
        self._started, self._started_at = time.perf_counter(), time.time()
        self._finished: list[Any] = []
        chosen = services.options.read(**options, parent_id=self._id, parent_kind=kind)
        bound = chosen.timeout if options.get("timeout", UNSET) is not UNSET else None
        # Appending to a list is atomic, so steps may end on any thread.
        self._scope = Scope(
            services, options.get("lm"), chosen, Deadline.after(bound), self._finished.append, emitter=emitter
        )

    @property
    def name(self) -> str:
        """Name of the chain or pipeline; what it is, where it has none."""
        return getattr(self._target, "name", "") or self._kind

    def run(self) -> Any:
        """Run it and wait for the result."""
        try:
            with self._services.anchored(self._id, self._kind, self.name), blocking():
                result = run_target(self._target, self._inputs, self._scope)
        except BaseException as error:
            self._tell(None, error)
            raise
        self._tell(result, None)
        return result

    async def arun(self) -> Any:
        """Async version of ``run``."""
        try:
            with self._services.anchored(self._id, self._kind, self.name):
                result = await arun_target(self._target, self._inputs, self._scope)
        except BaseException as error:
            self._tell(None, error)
            raise
        self._tell(result, None)
        return result

    def _tell(self, result: Any, error: BaseException | None) -> None:
        """Tell observers how it ended; values that are sensitive in any step are left out."""
        over, target = self._finished, self._target
        usages, costs = [], []
        for one in over:
            attempts = one.attempts if isinstance(one, ExecutionError) else ()
            usages += [attempt.usage for attempt in attempts] if isinstance(one, BaseException) else [one.usage]
            costs += [attempt.cost for attempt in attempts] if isinstance(one, BaseException) else [one.cost]
        self._services.operation_finished(
            OperationFinished(
                operation_id=self._id,
                kind=self._kind,
                name=self.name,
                status="ok" if error is None else "failed",
                executions=len(over),
                failures=sum(isinstance(one, BaseException) for one in over),
                usage=sum(usages, Usage()),
                cost=known_cost(costs),
                latency=time.perf_counter() - self._started,
                started_at=self._started_at,
                inputs=_without(self._inputs, target.hidden_inputs(self._inputs)),
                outputs={} if result is None else _without(result, target.hidden_outputs()),
                error_type=None if error is None else type(error).__name__,
                error=None if error is None else str(error),
                tags=self._scope.options.tags,
            )
        )


def _without(values: Mapping[str, Any], hidden: frozenset[str]) -> dict[str, Any]:
    return plain_values({name: REDACTED if name in hidden else value for name, value in values.items()})
