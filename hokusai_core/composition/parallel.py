"""ParallelExecutor: different signatures side by side."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Self

from attrs import define, frozen

from hokusai_core.batch.row_execution import failed
from hokusai_core.errors import BatchError, CompositionError, ConfigurationError

if TYPE_CHECKING:
    from hokusai_core.batch.operation import BatchOperation
    from hokusai_core.batch.results import BatchResult, Outcome
    from hokusai_core.batch.rows import Row
    from hokusai_core.composition.runner import Scope
    from hokusai_core.composition.targets import Resolved
    from hokusai_core.executor import Executor
    from hokusai_core.runtime.window import Permit

__all__ = ["ParallelExecutor"]


class ParallelExecutor:
    """Runs tasks at the same time, as many as its executor has workers.

    Args:
        executor: what it runs on; left out, one of its own, which ``close`` closes.

    Example:
        >>> from hokusai_core import Executor
        >>> with Executor(mode="testing", plugins=[]) as executor:
        ...     executor.register_signature("Summarize", "text -> summary")
        ...     executor.register_signature("Rate", "text -> stars: int")
        ...     results = ParallelExecutor(executor).execute_all(
        ...         [("Summarize", {"text": "Good."}), ("Rate", {"text": "Good."})]
        ...     )
        >>> results[0]["summary"], results[1]["stars"]
        ('Sample summary', 1)
    """

    def __init__(self, executor: Executor | None = None) -> None:
        self._given = executor
        self._own: Executor | None = None

    @property
    def executor(self) -> Executor:
        """What it runs on."""
        if self._given is not None:
            return self._given
        if self._own is None:
            self._own = self._make_executor()
        return self._own

    def execute_all(
        self, tasks: Iterable[tuple[Any, Mapping[str, Any]]], *, on_error: str = "return", **options: Any
    ) -> BatchResult:
        """Run every task and wait for all of them.

        Args:
            tasks: pairs of what is run and its inputs. What is run is a signature's name or class, a
                ``SignatureChain`` or a ``ConditionalPipeline``.
            on_error: ``return`` gives a ``FailedExecution`` in place of a task that failed, and asking that for an
                output raises the task's own error; ``raise`` raises at the end, when every task is over.
            **options: those of ``execute_signature``, for every task.

        Returns:
            One outcome a task, in the order of the tasks.

        Raises:
            CompositionError: a task cannot work; lists every problem, and nothing was called.
            BatchError: tasks failed, and ``on_error`` is ``raise``; has every task in ``.result``.
        """
        operation, rows = self._operation(tasks, on_error, options)
        with self.executor.services.observers.anchored():
            result = operation.collect(rows)
        return _checked(result, on_error)

    async def aexecute_all(
        self, tasks: Iterable[tuple[Any, Mapping[str, Any]]], *, on_error: str = "return", **options: Any
    ) -> BatchResult:
        """Do as ``execute_all`` on the running event loop; cancelling the coroutine cancels every task."""
        await self.executor.services.load_dspy()
        operation, rows = self._operation(tasks, on_error, options)
        with self.executor.services.observers.anchored():
            result = await operation.acollect(rows)
        return _checked(result, on_error)

    def close(self) -> None:
        """Close the executor, where it is its own."""
        own, self._own = self._own, None
        if own is not None:
            own.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _make_executor(self) -> Executor:
        from hokusai_core.executor import Executor

        return Executor()

    def _operation(self, tasks: Any, on_error: str, options: dict[str, Any]) -> tuple[BatchOperation, list[Any]]:
        from hokusai_core.batch.operation import BatchOperation
        from hokusai_core.batch.progress import ProgressCounter
        from hokusai_core.composition.runner import Scope
        from hokusai_core.runtime.deadline import Deadline
        from hokusai_core.settings import UNSET

        services = self.executor.services
        services.check_open()
        if on_error not in ("return", "raise"):
            raise ConfigurationError(f"on_error={on_error!r}: expected 'return' or 'raise'")
        resolved = _resolved(self.executor, tasks)
        operation_id = secrets.token_hex(16)
        given = dict(options)
        lm = given.pop("lm", None)
        bound = given.get("timeout", UNSET) is not UNSET
        chosen = services.options.read(**given, parent_id=operation_id, parent_kind="parallel")
        scope = Scope(self.executor, lm, chosen, Deadline(), _nobody)
        operation = BatchOperation(
            services,
            _TaskWork(scope, resolved, chosen.timeout if bound else None),
            ", ".join(dict.fromkeys(task.name for task in resolved)) or "nothing",
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
    """A task with everything worked out."""

    name: str
    target: Resolved
    inputs: Mapping[str, Any]


@define(eq=False)
class _TaskWork:
    """Runs the tasks, each of which is a row."""

    scope: Scope
    tasks: list[_Task]
    timeout: float | None
    resumable: bool = False

    def prepare(self, row: Row) -> Outcome | None:
        return None

    def run(self, row: Row, permit: Permit) -> Outcome:
        from hokusai_core.composition.runner import run_target

        task = self.tasks[row.index]
        try:
            with self._counted(task, permit):
                return run_target(task.target, task.inputs, self._scope(permit))  # type: ignore[no-any-return]
        except Exception as error:
            return failed(row, error, self.hidden(row))

    def go_on(self, row: Row, permit: Permit) -> Outcome:
        raise NotImplementedError("a chain has several calls, each with a thread that can be given up")

    async def arun(self, row: Row, permit: Permit) -> Outcome:
        from hokusai_core.composition.runner import arun_target

        task = self.tasks[row.index]
        try:
            with self._counted(task, permit):
                return await arun_target(task.target, task.inputs, self._scope(permit))  # type: ignore[no-any-return]
        except Exception as error:
            return failed(row, error, self.hidden(row))

    def over(self, row: Row, outcome: Outcome) -> None:
        """Keep nothing."""

    def hidden(self, row: Row) -> frozenset[str]:
        """Return the names of the task's sensitive inputs and outputs."""
        task = self.tasks[row.index]
        return task.target.hidden_inputs(task.inputs) | task.target.hidden_outputs()

    def _scope(self, permit: Permit) -> Scope:
        import attrs

        from hokusai_core.runtime.deadline import Deadline

        return attrs.evolve(self.scope, deadline=Deadline.after(self.timeout), place=permit)

    def _counted(self, task: _Task, permit: Permit) -> AbstractContextManager[None]:
        from hokusai_core.composition.targets import ResolvedSignature

        # What a chain or pipeline calls are its steps, each with a place beside this one.
        return nullcontext() if isinstance(task.target, ResolvedSignature) else permit.aside()


def _resolved(executor: Executor, tasks: Any) -> list[_Task]:
    from hokusai_core.composition.checker import resolve_target

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
            found = resolve_target(target, executor, dict(inputs), f"task {number} ({name})")
        except CompositionError as error:
            problems.append(str(error))
        else:
            resolved.append(_Task(name, found, dict(inputs)))
    if problems:
        raise CompositionError("\n".join(problems))
    return resolved


def _checked(result: BatchResult, on_error: str) -> BatchResult:
    if on_error == "raise" and result.failed:
        raise BatchError.of(result)
    return result


def _nobody(_: object) -> None:
    """Hear nothing: the operation counts."""
