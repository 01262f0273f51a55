"""TaskRunner: runs different signatures, chains and pipelines concurrently."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import attrs
from attrs import define, frozen

from hokusai_core.batch.operation import BatchOperation
from hokusai_core.batch.progress import ProgressCounter
from hokusai_core.batch.results import BatchResult, Outcome
from hokusai_core.batch.rows import Row
from hokusai_core.batch.runner import OnError, check_on_error, checked_result
from hokusai_core.composition.checker import resolve_target
from hokusai_core.composition.step_execution import Scope, arun_target, run_target
from hokusai_core.composition.targets import Resolved, ResolvedSignature
from hokusai_core.errors import CompositionError
from hokusai_core.execution.call_plan import CallPlanCache
from hokusai_core.execution.options import ExecutionOptions
from hokusai_core.execution.services import ExecutorServices
from hokusai_core.runtime.deadline import Deadline
from hokusai_core.runtime.window import Permit
from hokusai_core.settings import UNSET

__all__ = ["TaskRunner"]


class TaskRunner:
    """Runs tasks at the same time for one executor.

    Args:
        services: parts of the executor.
    """

    def __init__(self, services: ExecutorServices) -> None:
        self._services = services

    def execute(self, tasks: Any, on_error: OnError, options: ExecutionOptions) -> BatchResult:
        """Run every task and wait for all of them; see ``ParallelExecutor.execute_all``."""
        operation, rows = self._operation(tasks, on_error, options)
        with self._services.anchored(operation.operation_id, operation.kind, operation.name):
            result = operation.collect(rows)
        return checked_result(result, on_error)

    async def aexecute(self, tasks: Any, on_error: OnError, options: ExecutionOptions) -> BatchResult:
        """Async version of ``execute``."""
        await self._services.load_dspy()
        operation, rows = self._operation(tasks, on_error, options)
        with self._services.anchored(operation.operation_id, operation.kind, operation.name):
            result = await operation.acollect(rows)
        return checked_result(result, on_error)

    def _operation(self, tasks: Any, on_error: str, options: ExecutionOptions) -> tuple[BatchOperation, list[Any]]:
        services = self._services
        services.check_open()
        check_on_error(on_error)
        resolved = _resolved(services.plans, tasks)
        operation_id = secrets.token_hex(16)
        bound = options.get("timeout", UNSET) is not UNSET
        chosen = services.options.read(**options, parent_id=operation_id, parent_kind="parallel")
        scope = Scope(services, options.get("lm"), chosen, Deadline(), _ignore)
        operation = BatchOperation(
            services,
            _TaskExecution(scope, resolved, chosen.timeout if bound else None),
            _joined_names(resolved),
            max(1, min(len(resolved), services.settings.value("max_workers"))),
            awaitable=False,
            counter=ProgressCounter("tasks", len(resolved), None),
            operation_id=operation_id,
            kind="parallel",
            tags=chosen.tags,
        )
        return operation, [task.inputs for task in resolved]


@frozen(eq=False)
class _Task:
    """A checked task."""

    name: str
    target: Resolved
    inputs: Mapping[str, Any]


@define(eq=False)
class _TaskExecution:
    """Runs the tasks, each of which is a row."""

    scope: Scope
    tasks: list[_Task]
    timeout: float | None
    resumable: bool = False  # a chain has several calls, each with a thread that can be given up

    def prepare(self, row: Row) -> Outcome | None:
        return None

    def run(self, row: Row, permit: Permit) -> Outcome:
        task = self.tasks[row.index]
        with self._counted(task, permit):
            outcome: Outcome = run_target(task.target, task.inputs, self._scope(permit))
            return outcome

    async def arun(self, row: Row, permit: Permit) -> Outcome:
        task = self.tasks[row.index]
        with self._counted(task, permit):
            outcome: Outcome = await arun_target(task.target, task.inputs, self._scope(permit))
            return outcome

    def ends_batch(self, error: Exception) -> bool:
        """Return False: each task fails for itself."""
        return False

    def over(self, row: Row, outcome: Outcome) -> None:
        """Keep nothing."""

    def hidden(self, row: Row) -> frozenset[str]:
        """Return the names of the task's sensitive inputs and outputs."""
        task = self.tasks[row.index]
        return task.target.hidden_inputs(task.inputs) | task.target.hidden_outputs()

    def _scope(self, permit: Permit) -> Scope:
        return attrs.evolve(self.scope, deadline=Deadline.after(self.timeout), permit=permit)

    def _counted(self, task: _Task, permit: Permit) -> AbstractContextManager[None]:
        # What a chain or pipeline calls are its steps, each with a permit beside this one.
        return nullcontext() if isinstance(task.target, ResolvedSignature) else permit.aside()


def _resolved(plans: CallPlanCache, tasks: Any) -> list[_Task]:
    if isinstance(tasks, (str, bytes, Mapping)) or not isinstance(tasks, Iterable):
        raise CompositionError(f"tasks: expected pairs of signature and inputs, got {type(tasks).__name__}")
    resolved, problems = [], []
    for number, task in enumerate(tasks):
        if not isinstance(task, (tuple, list)) or len(task) != 2 or not isinstance(task[1], Mapping):
            problems.append(f"task {number}: expected a pair of a signature and a mapping of its inputs")
            continue
        target, inputs = task
        name = str(getattr(target, "name", None) or getattr(target, "__name__", target))
        try:
            found = resolve_target(target, plans, dict(inputs), f"task {number} ({name})")
        except CompositionError as error:
            problems.append(str(error))
        else:
            resolved.append(_Task(name, found, dict(inputs)))
    if problems:
        raise CompositionError("\n".join(problems))
    return resolved


def _joined_names(tasks: list[_Task], limit: int = 20) -> str:
    names = list(dict.fromkeys(task.name for task in tasks))
    return ", ".join(names[:limit] + [f"{len(names) - limit} more"] * (len(names) > limit)) or "nothing"


def _ignore(_: object) -> None:
    """The batch counts its tasks itself."""
