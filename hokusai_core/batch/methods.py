"""What an executor can do with many rows, and with executions that nobody waits for yet."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

from hokusai_core.composition.chain import SignatureChain
from hokusai_core.composition.conditional import ConditionalPipeline
from hokusai_core.errors import BatchError, CompositionError, ConfigurationError
from hokusai_core.settings import UNSET, ExecutionMode, Unset, parse_setting

if TYPE_CHECKING:
    from concurrent.futures import Future

    from hokusai_core.batch.iteration import BatchRows
    from hokusai_core.batch.progress import BatchProgress
    from hokusai_core.batch.results import BatchResult
    from hokusai_core.batch.session import Session
    from hokusai_core.executor import Executor
    from hokusai_core.results import ExecutionResult

__all__ = ["BatchMethods"]

OnError = Literal["return", "raise"]


class BatchMethods:
    """The part of ``Executor`` that runs batches."""

    def execute_batch(
        self,
        signature_name: Any,
        inputs_list: Iterable[Mapping[str, Any]],
        parallel: bool = True,
        batch_size: int | None = None,
        on_error: OnError = "return",
        journal: str | os.PathLike[str] | None = None,
        progress: bool | Callable[[BatchProgress], object] | None = None,
        budget: Any = None,
        backend: Any = "local",
        max_workers: int | None = None,
        **options: Any,
    ) -> BatchResult:
        """Run a signature on many rows and wait for all of them.

        A window of ``max_workers`` slides over the rows: one that is over lets the next begin. Identical rows share
        one call, unless ``cache="off"`` asks for an answer each. Where a provider asks to slow down (HTTP 429), the
        window narrows and the row waits, up to its timeout.

        Args:
            signature_name: name or signature class.
            inputs_list: any iterable of rows, each input field or alias -> value.
            parallel: False runs one row after the other.
            batch_size: rows that are read from ``inputs_list`` at once, such as a page of a database; they do not wait
                for each other.
            on_error: ``return`` gives a ``FailedExecution`` in place of a row that failed; ``raise`` raises at the
                end, when every row is over.
            journal: file that keeps what is over. The same call with the same file goes on where a killed one stopped:
                finished rows are read back, failed and changed ones are run.
            progress: False for none; None for a bar on a terminal or lines in a log once it takes a while; True for
                them from the start; or a callable that gets a ``BatchProgress`` after every row, on any thread.
            budget: what all rows are charged to; rows that find it spent fail without a call.
            backend: where rows run: ``local``, a component's name, or a ``Backend``.
            max_workers: rows that run at once; left out, the executor's.
            **options: those of ``execute_signature``, for every row; ``timeout`` bounds each row from its beginning.

        Returns:
            One outcome a row, in the order of the rows.

        Raises:
            SignatureNotFoundError: no such signature.
            LanguageModelUnavailable: there is no language model to call.
            JournalError: the journal belongs to something else, or cannot be written.
            BatchError: rows failed, and ``on_error`` is ``raise``; has every row in ``.result``.
            BatchInterrupted: Ctrl-C; the rows under way were waited for. Also a ``KeyboardInterrupt``.

        Whatever ends the batch before its time, such as an error of ``inputs_list`` itself, has in ``.result`` the
        rows that are over by then.
        """
        begin = _Beginning(cast("Executor", self), signature_name, options | {"budget": budget}, on_error)
        width = begin.width(max_workers, parallel)
        elsewhere = None if isinstance(backend, str) and backend == "local" else begin.backend(backend)
        session = begin.session(inputs_list, batch_size, journal, progress, width)
        with begin.anchored():
            if elsewhere is None:
                result = session.collect(inputs_list)
            else:
                result = session.collect_on(elsewhere, inputs_list, begin.plan, begin.shipped())
        return begin.checked(result)

    def iter_batch(
        self,
        signature_name: Any,
        inputs_list: Iterable[Mapping[str, Any]],
        parallel: bool = True,
        batch_size: int | None = None,
        journal: str | os.PathLike[str] | None = None,
        progress: bool | Callable[[BatchProgress], object] | None = False,
        budget: Any = None,
        max_workers: int | None = None,
        **options: Any,
    ) -> BatchRows:
        """Run a signature on any number of rows and yield each as it finishes.

        ``inputs_list`` may be endless. It is read on a thread of its own, and never further ahead than there are
        workers; where rows are taken slowly, the batch waits. Arguments are those of ``execute_batch``.

        Returns:
            An iterator of ``BatchRow``: pairs of the row's number and its outcome.

        Raises:
            SignatureNotFoundError: no such signature.
            LanguageModelUnavailable: there is no language model to call.
            JournalError: the journal belongs to something else; also raised at the end where it cannot be written.

        Example:
            >>> from itertools import count
            >>> from hokusai_core import Executor
            >>> with Executor(mode="testing", plugins=[]) as executor:
            ...     executor.register_signature("Ask", "question -> answer")
            ...     with executor.iter_batch("Ask", ({"question": f"{n}?"} for n in count())) as rows:
            ...         index, outcome = next(rows)
            >>> outcome["answer"]
            'Sample answer'
        """
        from hokusai_core.batch.iteration import BatchRows

        begin = _Beginning(cast("Executor", self), signature_name, options | {"budget": budget}, "return")
        session = begin.session(inputs_list, batch_size, journal, progress, begin.width(max_workers, parallel))
        with begin.anchored():
            return BatchRows(session, inputs_list)

    async def aexecute_batch(
        self,
        signature_name: Any,
        inputs_list: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]],
        parallel: bool = True,
        batch_size: int | None = None,
        on_error: OnError = "return",
        journal: str | os.PathLike[str] | None = None,
        progress: bool | Callable[[BatchProgress], object] | None = None,
        budget: Any = None,
        max_workers: int | None = None,
        **options: Any,
    ) -> BatchResult:
        """Do as ``execute_batch`` on the running event loop; cancelling the coroutine cancels every row.

        ``inputs_list`` may be an asynchronous iterable; an ordinary one is read on the event loop.
        """
        executor = cast("Executor", self)
        await executor.services.load_dspy()
        begin = _Beginning(executor, signature_name, options | {"budget": budget}, on_error)
        width = begin.width(max_workers, parallel)
        opened = None if journal is None else await asyncio.to_thread(begin.journal, journal)  # it may be long
        try:
            session = begin.session(inputs_list, batch_size, opened, progress, width, asynchronous=True)
        except BaseException:
            if opened is not None:
                opened.close()
            raise
        with begin.anchored():
            result = await session.acollect(inputs_list)
        return begin.checked(result)

    def execute_async(
        self, signature_name: Any, inputs: Mapping[str, Any], *, lm: Any = None, **options: Any
    ) -> Future[ExecutionResult]:
        """Begin an execution and return its future; the executor runs ``max_workers`` of them at once.

        Its timeout counts from when it begins. Until then ``future.cancel()`` takes it back.

        Args:
            signature_name: name or signature class.
            inputs: input field or alias -> value.
            lm: language model of this call, in place of the executor's.
            **options: those of ``execute_signature``.

        Returns:
            A future of the result; what ``execute_signature`` raises, its ``result()`` raises.
        """
        executor = cast("Executor", self)
        executor.services.check_open()
        chosen = executor.services.options.read(**options)
        with executor.services.observers.anchored():
            return executor.services.tasks.submit(lambda: executor.services.execute(signature_name, inputs, lm, chosen))


class _Beginning:
    """Everything that is decided before the first row is taken."""

    def __init__(self, executor: Executor, signature: Any, options: dict[str, Any], on_error: str) -> None:
        executor.services.check_open()
        if on_error not in ("return", "raise"):
            raise ConfigurationError(f"on_error={on_error!r}: expected 'return' or 'raise'")
        if isinstance(signature, (SignatureChain, ConditionalPipeline)):
            raise CompositionError(
                f"a batch runs one signature; rows of a {type(signature).__name__} are tasks: "
                "ParallelExecutor(executor).execute_all([(it, row) for row in rows])"
            )
        self.executor, self.signature, self.on_error = executor, signature, on_error
        self.lm = options.pop("lm", None)
        self.given = options
        self.operation_id = secrets.token_hex(16)
        refreshes = options.get("cache") == "refresh"
        self.options = executor.services.options.read(
            **options,
            parent_id=self.operation_id,
            parent_kind="batch",
            fresh_since=time.time() if refreshes else None,
        )
        self.testing = executor.mode is ExecutionMode.TESTING
        plans = executor.services.plans
        self.plan = plans.testing_plan(signature) if self.testing else plans.plan(signature, self.lm)

    def width(self, max_workers: int | Unset | None, parallel: bool) -> int:
        """Return how many rows may run at once."""
        if not isinstance(parallel, bool):
            raise ConfigurationError(f"parallel={parallel!r}: expected True or False")
        given = self.executor.services.settings.value("max_workers") if max_workers in (None, UNSET) else max_workers
        width: int = parse_setting("max_workers", given)
        return width if parallel else 1

    def session(
        self,
        source: Any,
        batch_size: int | None,
        journal: Any,
        progress: Any,
        width: int,
        *,
        asynchronous: bool = False,
    ) -> Session:
        """Open the journal and return the batch, ready to begin."""
        from hokusai_core.batch.journal import Journal
        from hokusai_core.batch.progress import ProgressCounter, make_reporter
        from hokusai_core.batch.row_execution import SignatureWork
        from hokusai_core.batch.rows import check_rows, total_of
        from hokusai_core.batch.session import Session

        check_rows(source, asynchronous=asynchronous)
        if batch_size is not None:
            batch_size = _count("batch_size", batch_size)
        plan, total = self.plan, total_of(source)
        reporter = make_reporter(progress, total)
        opened = journal if isinstance(journal, Journal) else self.journal(journal)
        shares = self.options.cache != "off" and self.executor.services.cache is not None
        work = SignatureWork(
            self.executor,
            self.signature,
            plan.spec,
            self.lm,
            self.options,
            opened,
            None if opened is None or shares else Counter(),
        )
        return Session(
            self.executor,
            work,
            plan.name,
            width,
            awaitable=plan.calls is not None and plan.calls.asynchronous,
            meter=ProgressCounter(plan.registered.name, total, reporter),
            operation_id=self.operation_id,
            close=lambda: None if opened is None else opened.close(),
            resume="" if opened is None else f"Run it again with journal={str(opened.path)!r} to go on with the rest",
            batch_size=batch_size,
            tags=self.options.tags,
        )

    def journal(self, path: Any) -> Any:
        """Open the journal, if one is wanted."""
        if path is None:
            return None
        from hokusai_core.batch.journal import Journal

        if not isinstance(path, (str, os.PathLike)):
            raise ConfigurationError(f"journal={path!r}: expected the path of a file, or None")
        return Journal(path, self.plan.spec, self.plan.name, model=self.plan.model_name, testing=self.testing)

    def backend(self, backend: Any) -> Any:
        """Make the backend that rows run on."""
        from hokusai_core.batch.backend import make_backend

        return make_backend(self.executor.plugins, backend)

    def shipped(self) -> dict[str, Any]:
        """Return the options that a backend is given: those that the caller has set."""
        given = self.given | {"lm": self.lm}
        return {name: value for name, value in given.items() if value is not None and value is not UNSET}

    def anchored(self) -> Any:
        """Let trackers note where the batch was called."""
        return self.executor.services.observers.anchored()

    def checked(self, result: BatchResult) -> BatchResult:
        """Return ``result``, or raise where rows failed and the caller asked for that."""
        if self.on_error == "raise" and result.failed:
            raise BatchError.of(result)
        return result


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{name}={value!r}: expected a whole number of at least 1, or None")
    return value
