"""ChainRunner: chains, pipelines and tasks of one executor."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any

from hokusai_core.composition.checker import resolve_chain, resolve_pipeline
from hokusai_core.composition.definitions import ChainDefinition, PipelineDefinition
from hokusai_core.composition.operation_events import operation_event
from hokusai_core.composition.results import ChainResult
from hokusai_core.composition.step_execution import Scope, arun_target, run_target
from hokusai_core.composition.targets import Resolved
from hokusai_core.errors import CompositionError
from hokusai_core.execution.options import ExecutionOptions
from hokusai_core.execution.services import ExecutorServices
from hokusai_core.runtime.deadline import Deadline
from hokusai_core.runtime.drivers import blocking
from hokusai_core.settings import UNSET

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

    def execute_pipeline(self, pipeline: Any, inputs: Any, options: ExecutionOptions) -> Any:
        """Run a pipeline and wait for its result; see ``Executor.execute_conditional``."""
        return self._pipeline(pipeline, inputs, options).run()

    async def aexecute_pipeline(self, pipeline: Any, inputs: Any, options: ExecutionOptions) -> Any:
        """Async version of ``execute_pipeline``."""
        await self._services.load_dspy()
        return await self._pipeline(pipeline, inputs, options).arun()

    def _chain(self, chain: Any, inputs: Any, options: ExecutionOptions) -> _Operation:
        services = self._services
        services.check_open()
        if not isinstance(chain, ChainDefinition):
            raise CompositionError(f"execute_chain takes a SignatureChain, got {type(chain).__name__}")
        given = _checked_inputs(inputs, "initial_inputs")
        return _Operation(services, "chain", resolve_chain(chain, services.plans, given), given, options)

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
    """

    def __init__(
        self,
        services: ExecutorServices,
        kind: str,
        target: Resolved,
        inputs: Mapping[str, Any],
        options: ExecutionOptions,
    ) -> None:
        self._services, self._kind, self._target, self._inputs = services, kind, target, inputs
        self._id = secrets.token_hex(16)
        self._started, self._started_at = time.perf_counter(), time.time()
        self._finished: list[Any] = []
        chosen = services.options.read(**options, parent_id=self._id, parent_kind=kind)
        bound = chosen.timeout if options.get("timeout", UNSET) is not UNSET else None
        # Appending to a list is atomic, so steps may end on any thread.
        self._scope = Scope(services, options.get("lm"), chosen, Deadline.after(bound), self._finished.append)

    def run(self) -> Any:
        """Run it and wait for the result."""
        try:
            with self._services.observers.anchored(), blocking():
                result = run_target(self._target, self._inputs, self._scope)
        except BaseException as error:
            self._tell(None, error)
            raise
        self._tell(result, None)
        return result

    async def arun(self) -> Any:
        """Async version of ``run``."""
        try:
            with self._services.observers.anchored():
                result = await arun_target(self._target, self._inputs, self._scope)
        except BaseException as error:
            self._tell(None, error)
            raise
        self._tell(result, None)
        return result

    def _tell(self, result: Any, error: BaseException | None) -> None:
        self._services.operation_finished(
            operation_event(
                self._id,
                self._kind,
                self._target,
                inputs=self._inputs,
                result=result,
                error=error,
                over=self._finished,
                latency=time.perf_counter() - self._started,
                started_at=self._started_at,
                tags=self._scope.options.tags,
            )
        )
