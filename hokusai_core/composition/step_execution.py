"""Runs resolved chains and pipelines: each step starts as soon as its inputs are available."""

from __future__ import annotations

import asyncio
import copy
import heapq
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import attrs
from attrs import frozen

from hokusai_core.composition.references import value_of
from hokusai_core.composition.results import ChainResult, StepResult
from hokusai_core.composition.targets import Resolved, ResolvedChain, ResolvedPipeline, ResolvedSignature, ResolvedStep
from hokusai_core.errors import DeadlineExceeded, ExecutionError, HokusaiError
from hokusai_core.runtime.deadline import Deadline

if TYPE_CHECKING:
    from hokusai_core.execution.services import ExecutorServices
    from hokusai_core.execution.state import Options
    from hokusai_core.execution.streaming import StreamEmitter
    from hokusai_core.runtime.window import Permit

__all__ = ["Scope", "arun_target", "run_target"]


@frozen(eq=False)
class Scope:
    """What is the same for everything that one call runs.

    Args:
        services: parts of the executor.
        lm: language model of this call, in place of the executor's.
        options: what the caller asked for, for every execution.
        deadline: when all of it must be over; unbounded where the caller gave no timeout, and each execution then has
            the executor's.
        over: receives the result or error of every finished execution.
        path: names of the steps and branches around, outermost first.
        permit: permit in a window, where all of this is one task of several.
        emitter: makes what emits the events of a step from its name; None where they are not streamed.
    """

    services: ExecutorServices
    lm: Any
    options: Options
    deadline: Deadline
    over: Callable[[Any], None]
    path: tuple[str, ...] = ()
    permit: Permit | None = None
    emitter: Callable[[str], StreamEmitter] | None = None

    def inside(self, name: str) -> Scope:
        """Return the scope of a step or branch."""
        return attrs.evolve(self, path=(*self.path, name))

    @contextmanager
    def own_permit(self) -> Iterator[Permit | None]:
        """Give an execution the permit of its task, or one beside it if it is a step of the task."""
        if self.permit is None or not self.path:
            yield self.permit
            return
        permit = self.permit.beside()
        try:
            yield permit
        finally:
            permit.leave()

    def step_options(self, target: ResolvedSignature) -> Options:
        """Return the options of an execution that begins now.

        Args:
            target: what is executed; its strategy and its parameters go before those of the call.

        Raises:
            DeadlineExceeded: the time is up.
        """
        options = attrs.evolve(self.options, step=".".join(self.path) or None)
        if target.strategy is not None:
            options = attrs.evolve(options, strategy=target.strategy)
        if target.parameters:
            options = attrs.evolve(options, parameters={**options.parameters, **target.parameters})
        remaining = self.deadline.remaining()
        if remaining is None:
            return options
        if remaining <= 0.0:
            raise DeadlineExceeded(
                f"the timeout of {self.deadline.timeout:g} s passed before this began; give it more time with "
                "timeout=..., which bounds the steps together"
            )
        return attrs.evolve(options, timeout=remaining)


def run_target(target: Resolved, inputs: Mapping[str, Any], scope: Scope) -> StepResult:
    """Run a signature, chain or pipeline on ``inputs``, blocking."""
    if isinstance(target, ResolvedSignature):
        try:
            with scope.own_permit() as permit:
                resolved = scope.step_options(target)
                result = scope.services.execute(target.signature, inputs, scope.lm, resolved, permit)
        except Exception as error:
            scope.over(error)
            raise
        scope.over(result)
        return result
    if isinstance(target, ResolvedPipeline):
        branch, chosen = _chosen(target, target.pipeline.choose(inputs), inputs)
        return run_target(branch.target, chosen, scope.inside(branch.branch.name))
    return _run_chain(target, inputs, scope)


async def arun_target(target: Resolved, inputs: Mapping[str, Any], scope: Scope) -> StepResult:
    """Async version of ``run_target``."""
    if isinstance(target, ResolvedSignature):
        try:
            with scope.own_permit() as permit:
                resolved = scope.step_options(target)
                emitter = None if scope.emitter is None else scope.emitter(".".join(scope.path))
                result = await scope.services.aexecute(target.signature, inputs, scope.lm, resolved, permit, emitter)
        except Exception as error:
            scope.over(error)
            raise
        scope.over(result)
        return result
    if isinstance(target, ResolvedPipeline):
        branch, chosen = _chosen(target, await target.pipeline.achoose(inputs), inputs)
        return await arun_target(branch.target, chosen, scope.inside(branch.branch.name))
    return await _arun_chain(target, inputs, scope)


def _chosen(target: ResolvedPipeline, branch: Any, inputs: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the resolved branch, and the inputs that it takes."""
    resolved = next(one for one in target.branches if one.branch is branch)
    if resolved.sources is None:
        return resolved, {name: inputs[name] for name in resolved.target.choose_inputs(inputs)}
    return resolved, {name: value_of(source, inputs, {}) for name, source in resolved.sources.items()}


# -- chains ---------------------------------------------------------------------------------------------------------


class _Graph:
    """Which steps of a chain are over, and which may begin."""

    def __init__(self, chain: ResolvedChain, inputs: Mapping[str, Any], width: int) -> None:
        self._steps = chain.steps
        self._inputs, self._width = inputs, width
        #: For each step how many that it needs are not over yet, and which steps need it.
        self._missing = [len(step.after) for step in chain.steps]
        self._needed_by: dict[str, list[int]] = {}
        for number, step in enumerate(chain.steps):
            for name in step.after:
                self._needed_by.setdefault(name, []).append(number)
        #: Numbers of the steps that may begin; a heap, so that those added first begin first.
        self._ready = [number for number, missing in enumerate(self._missing) if not missing]
        self.results: dict[str, StepResult] = {}
        self.running = 0
        self.failure: tuple[ResolvedStep, Exception] | None = None

    def ready(self) -> list[ResolvedStep]:
        """Return the steps to begin now, and count them as running."""
        if self.failure is not None:
            return []
        count = min(self._width - self.running, len(self._ready))
        self.running += count
        return [self._steps[heapq.heappop(self._ready)] for _ in range(count)]

    def inputs_of(self, step: ResolvedStep) -> dict[str, Any]:
        """Return the inputs of a step whose turn has come."""
        return {name: value_of(source, self._inputs, self.results) for name, source in step.sources.items()}

    def over(self, step: ResolvedStep, result: StepResult, error: BaseException | None) -> None:
        """Note how a step ended; steps beside a failed one are waited for, as they are paid."""
        if error is not None and not isinstance(error, Exception):
            raise error  # says that everything is to end
        self.running -= 1
        if error is None:
            self.results[step.name] = result
            for number in self._needed_by.get(step.name, ()):
                self._missing[number] -= 1
                if not self._missing[number]:
                    heapq.heappush(self._ready, number)
        elif self.failure is None:
            self.failure = step, error

    def result(self, chain: ResolvedChain, started: float) -> ChainResult:
        """Return the result of the chain, or raise what its step failed with."""
        in_order = {step.name: self.results[step.name] for step in chain.steps if step.name in self.results}
        if self.failure is not None:
            step, error = self.failure
            failure = step_error(step, error, in_order)
            raise failure from failure.__cause__
        return ChainResult(in_order, chain.steps[-1].name, time.perf_counter() - started, self._inputs)


def _run_chain(chain: ResolvedChain, inputs: Mapping[str, Any], scope: Scope) -> ChainResult:
    started = time.perf_counter()
    graph = _Graph(chain, inputs, scope.services.settings.value("max_workers"))
    ended: SimpleQueue[tuple[ResolvedStep, StepResult, BaseException | None]] = SimpleQueue()

    def work(step: ResolvedStep, values: Mapping[str, Any]) -> None:
        try:
            ended.put((step, run_target(step.target, values, scope.inside(step.name)), None))
        except BaseException as error:  # raised where the chain is waited for
            ended.put((step, None, error))

    def begin(step: ResolvedStep, *, alone: bool) -> None:
        try:
            values = graph.inputs_of(step)
        except HokusaiError as error:  # an output that another branch did not give
            ended.put((step, None, error))
            return
        if alone:
            work(step, values)  # nothing else runs meanwhile, so it needs no thread
            return
        try:
            scope.services.threads.submit(lambda: work(step, values))
        except RuntimeError:  # the system has no thread left
            work(step, values)

    while True:
        ready = graph.ready()
        alone = graph.running == len(ready) == 1
        for step in ready:
            begin(step, alone=alone)
        if not graph.running:
            return graph.result(chain, started)
        graph.over(*ended.get())


async def _arun_chain(chain: ResolvedChain, inputs: Mapping[str, Any], scope: Scope) -> ChainResult:
    started = time.perf_counter()
    graph = _Graph(chain, inputs, scope.services.settings.value("max_workers"))

    async def work(step: ResolvedStep) -> tuple[ResolvedStep, StepResult, Exception | None]:
        try:
            return step, await arun_target(step.target, graph.inputs_of(step), scope.inside(step.name)), None
        except Exception as error:
            return step, None, error

    tasks: set[asyncio.Task[tuple[ResolvedStep, StepResult, Exception | None]]] = set()
    try:
        while True:
            tasks |= {asyncio.ensure_future(work(step)) for step in graph.ready()}
            if not tasks:
                return graph.result(chain, started)
            over, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in over:
                graph.over(*task.result())
    finally:
        for task in tasks:  # where the chain itself was cancelled
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def step_error(step: ResolvedStep, error: Exception, results: Mapping[str, StepResult]) -> HokusaiError:
    """Return the error of a step with its name, its inputs' names, and what the other steps gave.

    It is of the same class, so that who catches a timeout or a refusal goes on doing so.
    """
    names = tuple(step.sources)
    if isinstance(error, HokusaiError):
        told, message, inner = copy.copy(error), str(error), error
        told.__traceback__ = None
    else:
        message = f"it raised {type(error).__name__}: {error}"
        told = inner = ExecutionError(message)
        told.__cause__ = error
    told.args = (f"step {step.name!r} ({', '.join(names) or 'no inputs'}): {message}",)
    told.step = step.name if inner.step is None else f"{step.name}.{inner.step}"
    told.step_inputs = names if inner.step is None else inner.step_inputs
    told.steps = {**results, **{f"{step.name}.{name}": result for name, result in inner.steps.items()}}
    return told
