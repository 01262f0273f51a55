"""What an executor can do with chains and pipelines."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from hokusai_core.errors import CompositionError
from hokusai_core.settings import UNSET

if TYPE_CHECKING:
    from hokusai_core.composition.chain import SignatureChain
    from hokusai_core.composition.conditional import ConditionalPipeline
    from hokusai_core.composition.results import ChainResult
    from hokusai_core.composition.targets import Resolved
    from hokusai_core.executor import Executor

__all__ = ["CompositionMethods", "Operation"]


class CompositionMethods:
    """The part of ``Executor`` that runs compositions."""

    def execute_chain(
        self, chain: SignatureChain, initial_inputs: Mapping[str, Any] | None = None, **options: Any
    ) -> ChainResult:
        """Run a chain and wait for its result.

        Args:
            chain: the chain.
            initial_inputs: what its mappings refer to by name.
            **options: those of ``execute_signature``, for every step; ``timeout`` bounds all steps together. Left
                out, each step has the executor's timeout.

        Returns:
            The outputs of the last step, with the results of all steps in ``.steps``.

        Raises:
            CompositionError: the chain cannot work; lists every problem, and nothing was called.
            ExecutionError: a step failed; its class and message are that of the step, with ``step``, ``step_inputs``
                and, in ``steps``, what the others gave.
        """
        operation = _chain_operation(cast("Executor", self), chain, initial_inputs, options)
        return operation.run()  # type: ignore[no-any-return]

    async def aexecute_chain(
        self, chain: SignatureChain, initial_inputs: Mapping[str, Any] | None = None, **options: Any
    ) -> ChainResult:
        """Do as ``execute_chain`` on the running event loop; cancelling the coroutine cancels what runs."""
        executor = cast("Executor", self)
        await executor.services.load_dspy()
        operation = _chain_operation(executor, chain, initial_inputs, options)
        return await operation.arun()  # type: ignore[no-any-return]

    def execute_conditional(
        self, pipeline: ConditionalPipeline, inputs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """Run the first branch whose condition holds and wait for its result.

        Args:
            pipeline: the pipeline.
            inputs: what the conditions are asked with, and the branch is fed from.
            **options: those of ``execute_signature``.

        Returns:
            The result of the branch: an ``ExecutionResult``, or a ``ChainResult`` where the branch is a chain.

        Raises:
            CompositionError: the pipeline cannot work, a condition raises, or none holds; nothing was called.
            InputError: the inputs do not fit the chosen signature; nothing was called.
            ExecutionError: the branch failed.
        """
        return _pipeline_operation(cast("Executor", self), pipeline, inputs, options).run()

    async def aexecute_conditional(
        self, pipeline: ConditionalPipeline, inputs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """Do as ``execute_conditional`` on the running event loop; conditions may be coroutine functions."""
        executor = cast("Executor", self)
        await executor.services.load_dspy()
        return await _pipeline_operation(executor, pipeline, inputs, options).arun()


def _chain_operation(executor: Executor, chain: Any, inputs: Any, options: dict[str, Any]) -> Operation:
    from hokusai_core.composition.chain import SignatureChain
    from hokusai_core.composition.checker import resolve_chain

    executor.services.check_open()
    if not isinstance(chain, SignatureChain):
        raise CompositionError(f"execute_chain takes a SignatureChain, got {type(chain).__name__}")
    given = _inputs(inputs, "initial_inputs")
    return Operation(executor, "chain", resolve_chain(chain, executor, given), given, options)


def _pipeline_operation(executor: Executor, pipeline: Any, inputs: Any, options: dict[str, Any]) -> Operation:
    from hokusai_core.composition.checker import resolve_pipeline
    from hokusai_core.composition.conditional import ConditionalPipeline

    executor.services.check_open()
    if not isinstance(pipeline, ConditionalPipeline):
        raise CompositionError(f"execute_conditional takes a ConditionalPipeline, got {type(pipeline).__name__}")
    given = _inputs(inputs, "inputs")
    return Operation(executor, "pipeline", resolve_pipeline(pipeline, executor, given), given, options)


def _inputs(inputs: Any, name: str) -> Mapping[str, Any]:
    if inputs is None:
        return {}
    if not isinstance(inputs, Mapping):
        raise CompositionError(f"{name}: expected a mapping of name to value, got {type(inputs).__name__}")
    return dict(inputs)


class Operation:
    """A chain or pipeline that is run once, and told of to observers when it is over.

    Args:
        executor: runs it.
        kind: ``chain`` or ``pipeline``.
        target: what is run.
        inputs: what it is given.
        options: those of ``execute_signature``.
    """

    def __init__(
        self, executor: Executor, kind: str, target: Resolved, inputs: Mapping[str, Any], options: dict[str, Any]
    ) -> None:
        from hokusai_core.composition.runner import Scope
        from hokusai_core.runtime.deadline import Deadline

        self._executor, self._kind, self._target, self._inputs = executor, kind, target, inputs
        self._id = secrets.token_hex(16)
        self._started, self._started_at = time.perf_counter(), time.time()
        self._over: list[Any] = []
        given = dict(options)
        lm = given.pop("lm", None)
        resolved = executor.services.options.read(**given, parent_id=self._id, parent_kind=kind)
        bound = resolved.timeout if given.get("timeout", UNSET) is not UNSET else None
        # Appending to a list is atomic, so steps may end on any thread.
        self._scope = Scope(executor, lm, resolved, Deadline.after(bound), self._over.append)

    def run(self) -> Any:
        """Run it and wait for the result."""
        from hokusai_core.composition.runner import run_target
        from hokusai_core.runtime.drivers import blocking

        try:
            with self._executor.services.observers.anchored(), blocking():
                result = run_target(self._target, self._inputs, self._scope)
        except BaseException as error:
            self._tell(None, error)
            raise
        self._tell(result, None)
        return result

    async def arun(self) -> Any:
        """Do as ``run`` without blocking the event loop."""
        from hokusai_core.composition.runner import arun_target

        try:
            with self._executor.services.observers.anchored():
                result = await arun_target(self._target, self._inputs, self._scope)
        except BaseException as error:
            self._tell(None, error)
            raise
        self._tell(result, None)
        return result

    def _tell(self, result: Any, error: BaseException | None) -> None:
        from hokusai_core.composition.operation_events import operation_event

        self._executor.services.operation_finished(
            operation_event(
                self._id,
                self._kind,
                self._target,
                inputs=self._inputs,
                result=result,
                error=error,
                over=self._over,
                latency=time.perf_counter() - self._started,
                started_at=self._started_at,
                tags=self._scope.options.tags,
            )
        )
