"""ParallelExecutor: runs different signatures concurrently."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self, Unpack

from hokusai_core.batch.results import BatchResult
from hokusai_core.batch.runner import OnError
from hokusai_core.composition.tasks import TaskRunner
from hokusai_core.execution.options import ExecutionOptions
from hokusai_core.executor import Executor

__all__ = ["ParallelExecutor"]


class ParallelExecutor:
    """Runs tasks at the same time, as many as its executor has workers.

    Args:
        executor: what the tasks run on; left out, one of its own, which ``close`` closes.

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
        """The executor that runs the tasks."""
        if self._given is not None:
            return self._given
        if self._own is None:
            self._own = Executor()
        return self._own

    def execute_all(
        self,
        tasks: Iterable[tuple[Any, Mapping[str, Any]]],
        *,
        on_error: OnError = "return",
        **options: Unpack[ExecutionOptions],
    ) -> BatchResult:
        """Run every task and wait for all of them.

        Args:
            tasks: pairs of what is run and its inputs. What is run is a signature's name or class, a
                ``SignatureChain`` or a ``ConditionalPipeline``.
            on_error: ``return`` gives a ``FailedExecution`` in place of a task that failed, and asking that for an
                output raises the task's own error; ``raise`` raises at the end, after every task has ended.
            **options: those of ``execute_signature``, for every task.

        Returns:
            One outcome per task, in the order of the tasks.

        Raises:
            CompositionError: a task cannot work; lists every problem, and nothing was called.
            BatchError: tasks failed, and ``on_error`` is ``raise``; has every task in ``.result``.
        """
        return TaskRunner(self.executor.services).execute(tasks, on_error, options)

    async def aexecute_all(
        self,
        tasks: Iterable[tuple[Any, Mapping[str, Any]]],
        *,
        on_error: OnError = "return",
        **options: Unpack[ExecutionOptions],
    ) -> BatchResult:
        """Async version of ``execute_all``; cancelling the coroutine cancels every task."""
        return await TaskRunner(self.executor.services).aexecute(tasks, on_error, options)

    def close(self) -> None:
        """Close the executor if this object created it."""
        own, self._own = self._own, None
        if own is not None:
            own.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
