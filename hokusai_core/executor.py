"""Executor: runs signatures by name, with cache, retries, limits, tracking and plugins."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar, Unpack, overload

from hokusai_core.batch.runner import BatchOptions, BatchRunner, OnError
from hokusai_core.call_advice import method_advice, missing_inputs
from hokusai_core.composition.chain_signature import signature_of_chain
from hokusai_core.composition.definitions import ChainDefinition
from hokusai_core.composition.runner import ChainRunner
from hokusai_core.errors import ConfigurationError
from hokusai_core.execution.event_streams import AsyncEventStream, EventStream, StreamedWork
from hokusai_core.execution.options import ExecutionOptions, execution_options
from hokusai_core.execution.registration import register_signature
from hokusai_core.execution.services import make_services
from hokusai_core.execution.state import ExecutionState
from hokusai_core.execution.streaming import StreamEmitter
from hokusai_core.plugins.failures import describe_error
from hokusai_core.results import TokenCount
from hokusai_core.runtime.deadline import Deadline
from hokusai_core.settings import UNSET, ExecutionMode, ExecutorOptions, Settings, SettingValue, parse_setting

if TYPE_CHECKING:
    import threading
    from concurrent.futures import Future
    from os import PathLike

    from hokusai_core.batch.iterator import BatchRows
    from hokusai_core.batch.progress import BatchProgress
    from hokusai_core.batch.results import BatchResult
    from hokusai_core.composition.chain import SignatureChain
    from hokusai_core.composition.conditional import ConditionalPipeline
    from hokusai_core.composition.results import ChainResult
    from hokusai_core.events import (
        EvaluationFinished,
        FeedbackGiven,
        OptimizationFinished,
        OutcomeRecorded,
        PromptTemplate,
    )
    from hokusai_core.execution.budget import Budget
    from hokusai_core.execution.cache_explanation import CacheExplanation
    from hokusai_core.execution.strategy_resolver import ResolvedStrategy
    from hokusai_core.model import LanguageModel
    from hokusai_core.results import ExecutionResult
    from hokusai_core.signature_registry import RegisteredSignature
    from hokusai_core.stream_events import StreamReceiver

__all__ = ["Executor"]

S = TypeVar("S")

#: Default of inputs that no caller may leave out, so that the error can say how they are given.
_NO_INPUTS: Any = UNSET


class Executor:
    """Runs signatures, one execution at a time or many, on any thread or event loop.

    Everything hangs off the executor: plugins, registered signatures, caches, trackers. Two executors in one process
    share nothing. Close it, or use it as a context manager.

    Args:
        settings: settings that the host has made; then no environment variable is read. Left out, an option that is
            not given is read from its environment variable (``HOKUSAI_TIMEOUT``), and without that has its default.
        environ: environment to read in place of that of the process; ``{}`` for none.
        options: see ``ExecutorOptions``; they go before those of ``settings``.

    ``Executor.config`` shows where each value came from.

    Raises:
        ConfigurationError: an argument or variable has a value that cannot be used.

    Example:
        >>> with Executor(mode="testing", plugins=[]) as executor:
        ...     executor.register_signature("Greet", "name -> greeting")
        ...     executor.execute_signature("Greet", {"name": "Ada"})["greeting"]
        'Sample greeting'
    """

    #: Defaults that a subclass changes.
    defaults: Mapping[str, Any] = {}
    #: Names of caches and trackers that a subclass goes on without, after one warning, where they cannot be had.
    optional: frozenset[str] = frozenset()

    def __init__(
        self,
        settings: Settings | None = None,
        /,
        *,
        environ: Mapping[str, str] | None = None,
        **options: Unpack[ExecutorOptions],
    ) -> None:
        if settings is None:
            settings = Settings.from_environment(environ, **options)
        elif not isinstance(settings, Settings):
            raise ConfigurationError(
                f"Executor({settings!r}): expected Settings; options are keywords, such as Executor(lm=...)"
            )
        else:
            settings = settings.with_options(**options)
        #: What the executor's parts share. Internal: use the methods of the executor.
        self.services = make_services(settings.with_defaults(self.defaults), optional=self.optional)
        self.plugins = self.services.plugins
        self.signatures = self.services.signatures
        self.models = self.services.models
        self._batches = BatchRunner(self.services)
        self._chains = ChainRunner(self.services)
        # The idle threads of an executor that is never closed must end with it.
        weakref.finalize(self, self.services.threads.close)
        weakref.finalize(self, self.services.loop.close)

    # -- one execution ------------------------------------------------------------------------------------------

    @overload
    def execute_signature(
        self, signature_name: type[S], inputs: Mapping[str, Any], **options: Unpack[ExecutionOptions]
    ) -> ExecutionResult[S]: ...

    @overload
    def execute_signature(
        self, signature_name: str | PathLike[str], inputs: Mapping[str, Any], **options: Unpack[ExecutionOptions]
    ) -> ExecutionResult: ...

    def execute_signature(
        self, signature_name: Any, inputs: Mapping[str, Any] = _NO_INPUTS, **options: Unpack[ExecutionOptions]
    ) -> ExecutionResult:
        """Run a signature and wait for its result.

        Args:
            signature_name: name (``"EmailDraft"``, ``"pack/EmailDraft"``), signature class, or file of a saved one.
            inputs: input field or alias -> value.
            options: see ``ExecutionOptions``.

        Returns:
            The outputs as a mapping, and how they came about.

        Raises:
            SignatureNotFoundError: no such signature; names similar ones.
            InputError: the inputs do not fit; carries every problem, and nothing was called.
            LanguageModelUnavailable: there is no language model to call.
            DeadlineExceeded: the timeout passed; also a ``TimeoutError``.
            OutputError: the answer does not fit the signature.
            LanguageModelError: the language model failed.
            BudgetExceeded: the budget is spent.
            ClosedError: the executor was closed.
        """
        if inputs is _NO_INPUTS:
            raise _missing_inputs(signature_name, options)
        lm = options.pop("lm", None)
        return self.services.execute(signature_name, inputs, lm, self.services.options.read(**options))

    @overload
    async def aexecute_signature(
        self, signature_name: type[S], inputs: Mapping[str, Any], **options: Unpack[ExecutionOptions]
    ) -> ExecutionResult[S]: ...

    @overload
    async def aexecute_signature(
        self, signature_name: str | PathLike[str], inputs: Mapping[str, Any], **options: Unpack[ExecutionOptions]
    ) -> ExecutionResult: ...

    async def aexecute_signature(
        self, signature_name: Any, inputs: Mapping[str, Any] = _NO_INPUTS, **options: Unpack[ExecutionOptions]
    ) -> ExecutionResult:
        """Async version of ``execute_signature``; cancelling the coroutine cancels the call."""
        if inputs is _NO_INPUTS:
            raise _missing_inputs(signature_name, options)
        lm = options.pop("lm", None)
        return await self.services.aexecute(signature_name, inputs, lm, self.services.options.read(**options))

    def stream_signature(
        self, signature_name: Any, inputs: Mapping[str, Any] = _NO_INPUTS, **options: Unpack[ExecutionOptions]
    ) -> EventStream:
        """Run a signature and yield what happens, the answer piece by piece.

        The events are those of ``hokusai_core.types``: ``StreamStarted``, ``StreamDelta``, ``StreamPartial``,
        ``StreamRetracted`` and ``StreamFinished``, which has the result. Retries, cache, budget, timeout and tracking
        are those of ``execute_signature``.

        Args:
            signature_name: name, signature class, or file of a saved one.
            inputs: input field or alias -> value.
            **options: those of ``execute_signature``.

        Returns:
            An iterator of events. What ``execute_signature`` raises, it raises. Leaving it early cancels the call.

        Example:
            >>> from hokusai_core import Executor
            >>> with Executor(mode="testing", plugins=[]) as executor:
            ...     executor.register_signature("Ask", "question -> answer")
            ...     with executor.stream_signature("Ask", {"question": "?"}) as events:
            ...         [event.kind for event in events]
            ['started', 'delta', 'partial', 'finished']
        """
        self.services.check_open()
        return EventStream(self.services, self._streamed(signature_name, inputs, options))

    def astream_signature(
        self, signature_name: Any, inputs: Mapping[str, Any] = _NO_INPUTS, **options: Unpack[ExecutionOptions]
    ) -> AsyncEventStream:
        """Async version of ``stream_signature``: an asynchronous iterator, which begins with its first event."""
        self.services.check_open()
        return AsyncEventStream(self._streamed(signature_name, inputs, options))

    def _streamed(self, signature: Any, inputs: Mapping[str, Any], options: ExecutionOptions) -> StreamedWork:
        if inputs is _NO_INPUTS:
            raise _missing_inputs(signature, options)
        services, lm = self.services, options.pop("lm", None)
        read = services.options.read(**options)

        def work(receive: StreamReceiver, closed: threading.Event) -> Coroutine[Any, Any, Any]:
            return services.aexecute(signature, inputs, lm, read, emitter=StreamEmitter(receive, closed))

        return work

    def check_inputs(self, signature_name: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Make every check on ``inputs`` that an execution makes before it calls a language model.

        Returns:
            The inputs as they would be used: by field name, converted, defaults filled in.

        Raises:
            SignatureNotFoundError: no such signature.
            InputError: the inputs do not fit; carries every problem.
        """
        services = self.services
        services.check_open()
        state = ExecutionState(services.plans.testing_plan(signature_name), services.options.default, Deadline())
        return services.pipeline.bind(state, inputs)

    def explain(
        self,
        signature_name: Any,
        inputs: Mapping[str, Any],
        *,
        lm: Any = None,
        strategy: Any = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> CacheExplanation:
        """Explain what the cache would do with an execution: its key, hit or miss, and the reason for a miss.

        Args:
            signature_name: name or signature class.
            inputs: input field or alias -> value.
            lm: language model of this call, in place of the executor's; it is not called. Of a policy the first model
                that would be asked is taken.
            strategy: strategy of this call, in place of the one that the signature declares.
            parameters: parameters of the language model for this call.

        Raises:
            SignatureNotFoundError: no such signature.
            InputError: the inputs do not fit; carries every problem.
            LanguageModelUnavailable: there is no language model, which is part of the key.
        """
        services = self.services
        services.check_open()
        options = services.options.read(strategy=strategy, parameters=parameters)
        state = ExecutionState(services.plan(signature_name, lm, options), options, Deadline())
        services.pipeline.bind(state, inputs)
        return services.pipeline.explain(state)

    def render(
        self,
        signature_name: Any,
        inputs: Mapping[str, Any],
        *,
        lm: Any = None,
        strategy: Any = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the request that an execution would send, byte for byte; nothing is called.

        Demos, the promoted edition of the signature and the adapter are those of the execution. An adapter that asks
        again in another form shows its first request.

        Args:
            signature_name: name or signature class.
            inputs: input field or alias -> value.
            lm: language model of this call, in place of the executor's; it is not called.
            strategy: strategy of this call, in place of the one that the signature declares.
            parameters: parameters of the language model for this call.

        Returns:
            The ``dspy.lm15.Request``.

        Raises:
            SignatureNotFoundError: no such signature.
            InputError: the inputs do not fit; carries every problem.
            LanguageModelUnavailable: there is no language model, whose name and options are part of the request.
            PromptError: the signature is not answered by one request, or only the call itself shows it; says why.

        Example:
            >>> from hokusai_core import Executor
            >>> with Executor(lm="openai/gpt-5-mini", plugins=[]) as executor:
            ...     executor.register_signature("Ask", "question -> answer")
            ...     request = executor.render("Ask", {"question": "Why is the sky blue?"})
            >>> "Why is the sky blue?" in request.messages[-1].text
            True
        """
        state = self._prepared(signature_name, lm, strategy=strategy, parameters=parameters)
        inputs = self.services.pipeline.bind(state, inputs)
        return state.plan.calls.render(inputs, state.plan.parameters)

    def read(
        self,
        signature_name: Any,
        answer: Any,
        inputs: Mapping[str, Any] | None = None,
        *,
        lm: Any = None,
        strategy: Any = None,
    ) -> dict[str, Any]:
        """Return the outputs in an answer to what ``render`` returned; nothing is called.

        Args:
            signature_name: name or signature class.
            answer: the whole text that a model wrote, or the ``dspy.lm15.Response`` of an engine.
            inputs: what was asked. With them, validators and ``transform_outputs`` hooks run as in an execution;
                without them the answer is checked against the types and rules of the outputs only.
            lm: as for ``render``; its adapter decides how the answer is read.
            strategy: as for ``render``.

        Raises:
            SignatureNotFoundError: no such signature.
            InputError: the inputs do not fit, or an output chooses from one of them and they are not given.
            OutputError: the answer cannot be read, is cut off or withheld, or does not fit the signature.
            PromptError: the signature is not answered by one request.
        """
        state = self._prepared(signature_name, lm, strategy=strategy)
        return self.services.pipeline.read(state, answer, inputs)

    def count_tokens(self, request: Any, *, lm: Any = None) -> TokenCount:
        """Count the tokens of a request that ``render`` returned.

        Args:
            request: the request.
            lm: as for ``render``. An engine with a method ``count_tokens(request)`` counts exactly, as the embedded
                model does, which is loaded for it; for others the number is an estimate.

        Raises:
            LanguageModelUnavailable: there is no language model.
        """
        from hokusai_core import dspy_bridge

        tokens, exact = dspy_bridge.count_tokens(self.language_model(lm).lm, request)
        return TokenCount(tokens, exact)

    def prompt_template(
        self, signature_name: Any, *, lm: Any = None, strategy: Any = None, parameters: Mapping[str, Any] | None = None
    ) -> PromptTemplate | None:
        """Return the prompt of a signature with ``{{ name }}`` in place of the value of each input.

        Args:
            signature_name: name or signature class.
            lm: language model of this call, in place of the executor's; it is not called.
            strategy: strategy of this call, in place of the one that the signature declares.
            parameters: parameters of the language model for this call.

        Returns:
            The prompt; None where the signature is not answered by one request, and for an optimized signature with
            sensitive fields, whose instructions may quote examples. Demos of a signature with sensitive fields are left
            out.

        Raises:
            SignatureNotFoundError: no such signature.
            LanguageModelUnavailable: there is no language model, which decides about the format.

        Example:
            >>> from hokusai_core import Executor
            >>> with Executor(lm="openai/gpt-5-mini", plugins=[]) as executor:
            ...     executor.register_signature("Ask", "question -> answer")
            ...     prompt = executor.prompt_template("Ask")
            >>> "{{ question }}" in prompt.messages[-1]["content"]
            True
        """
        return self._prepared(signature_name, lm, strategy=strategy, parameters=parameters).plan.prompt

    def _prepared(self, signature_name: Any, lm: Any, **asked: Any) -> ExecutionState:
        """Return the state of an execution that is not made, with a language model in testing mode, too."""
        services = self.services
        services.check_open()
        options = services.options.read(**asked)
        plan = services.plans.plan(signature_name, services.models.choose(lm), options.strategy, options.parameters)
        return ExecutionState(plan, options, Deadline())

    # -- many executions ----------------------------------------------------------------------------------------

    def execute_batch(
        self,
        signature_name: Any,
        inputs_list: Iterable[Mapping[str, Any]],
        parallel: bool = True,
        batch_size: int | None = None,
        on_error: OnError = "return",
        journal: str | PathLike[str] | None = None,
        progress: bool | Callable[[BatchProgress], object] | None = None,
        backend: Any = "local",
        max_workers: int | None = None,
        **options: Unpack[ExecutionOptions],
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
            backend: where the language model is asked: ``local`` for this process, a component's name such as ``ray``,
                a mapping of its ``name`` and options, or a ``Backend``. What is no data, such as ``lm=`` objects, is
                refused by name before the first row.
            max_workers: rows that run at once; left out, the executor's, or as many as the backend has room for.
            **options: those of ``execute_signature``, for every row. ``timeout`` bounds each row from its beginning.
                All rows are charged to ``budget``; rows that find it spent fail without a call.

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
        batch = BatchOptions(
            parallel=parallel,
            batch_size=batch_size,
            on_error=on_error,
            journal=journal,
            progress=progress,
            backend=backend,
            max_workers=max_workers,
        )
        return self._batches.execute(signature_name, inputs_list, batch, options)

    def iter_batch(
        self,
        signature_name: Any,
        inputs_list: Iterable[Mapping[str, Any]],
        parallel: bool = True,
        batch_size: int | None = None,
        journal: str | PathLike[str] | None = None,
        progress: bool | Callable[[BatchProgress], object] | None = False,
        backend: Any = "local",
        max_workers: int | None = None,
        **options: Unpack[ExecutionOptions],
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
        batch = BatchOptions(
            parallel=parallel,
            batch_size=batch_size,
            journal=journal,
            progress=progress,
            backend=backend,
            max_workers=max_workers,
        )
        return self._batches.iterate(signature_name, inputs_list, batch, options)

    async def aexecute_batch(
        self,
        signature_name: Any,
        inputs_list: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]],
        parallel: bool = True,
        batch_size: int | None = None,
        on_error: OnError = "return",
        journal: str | PathLike[str] | None = None,
        progress: bool | Callable[[BatchProgress], object] | None = None,
        backend: Any = "local",
        max_workers: int | None = None,
        **options: Unpack[ExecutionOptions],
    ) -> BatchResult:
        """Async version of ``execute_batch``; cancelling the coroutine cancels every row.

        ``inputs_list`` may be an asynchronous iterable; an ordinary one is read on the event loop.
        """
        batch = BatchOptions(
            parallel=parallel,
            batch_size=batch_size,
            on_error=on_error,
            journal=journal,
            progress=progress,
            backend=backend,
            max_workers=max_workers,
        )
        return await self._batches.aexecute(signature_name, inputs_list, batch, options)

    @overload
    def execute_async(
        self, signature_name: type[S], inputs: Mapping[str, Any], **options: Unpack[ExecutionOptions]
    ) -> Future[ExecutionResult[S]]: ...

    @overload
    def execute_async(
        self, signature_name: str | PathLike[str], inputs: Mapping[str, Any], **options: Unpack[ExecutionOptions]
    ) -> Future[ExecutionResult]: ...

    def execute_async(
        self, signature_name: Any, inputs: Mapping[str, Any] = _NO_INPUTS, **options: Unpack[ExecutionOptions]
    ) -> Future[ExecutionResult]:
        """Begin an execution and return its future; the executor runs ``max_workers`` of them at once.

        Its timeout counts from when it begins. Until then ``future.cancel()`` takes it back.

        Args:
            signature_name: name or signature class.
            inputs: input field or alias -> value.
            **options: those of ``execute_signature``.

        Returns:
            A future of the result; what ``execute_signature`` raises, its ``result()`` raises.
        """
        if inputs is _NO_INPUTS:
            raise _missing_inputs(signature_name, options)
        return self._batches.submit(signature_name, inputs, options)

    # -- chains and pipelines -----------------------------------------------------------------------------------

    def execute_chain(
        self,
        chain: SignatureChain,
        initial_inputs: Mapping[str, Any] | None = None,
        **options: Unpack[ExecutionOptions],
    ) -> ChainResult:
        """Run a chain and wait for its result.

        Args:
            chain: the chain.
            initial_inputs: name -> value, for what its mappings refer to by name.
            **options: those of ``execute_signature``, for every step; ``timeout`` bounds all steps together. Left
                out, each step has the executor's timeout.

        Returns:
            The outputs of the last step, with the results of all steps in ``.steps``.

        Raises:
            CompositionError: the chain cannot work; lists every problem, and nothing was called.
            ExecutionError: a step failed; its class and message are that of the step, with ``step``, ``step_inputs``
                and, in ``steps``, what the others gave.
        """
        return self._chains.execute_chain(chain, initial_inputs, options)

    async def aexecute_chain(
        self,
        chain: SignatureChain,
        initial_inputs: Mapping[str, Any] | None = None,
        **options: Unpack[ExecutionOptions],
    ) -> ChainResult:
        """Async version of ``execute_chain``; cancelling the coroutine cancels what runs."""
        return await self._chains.aexecute_chain(chain, initial_inputs, options)

    def stream_chain(
        self,
        chain: SignatureChain,
        initial_inputs: Mapping[str, Any] | None = None,
        **options: Unpack[ExecutionOptions],
    ) -> EventStream:
        """Run a chain and yield what happens; events of a step have its name in ``step``.

        Steps that run at once send their events in turn. The last event is the ``finished`` of the chain.

        Args:
            chain: the chain.
            initial_inputs: name -> value, for what its mappings refer to by name.
            **options: those of ``execute_chain``.

        Returns:
            An iterator of events. What ``execute_chain`` raises, it raises. Leaving it early cancels what runs.
        """
        self.services.check_open()
        return EventStream(self.services, self._streamed_chain(chain, initial_inputs, options))

    def astream_chain(
        self,
        chain: SignatureChain,
        initial_inputs: Mapping[str, Any] | None = None,
        **options: Unpack[ExecutionOptions],
    ) -> AsyncEventStream:
        """Async version of ``stream_chain``: an asynchronous iterator, which begins with its first event."""
        self.services.check_open()
        return AsyncEventStream(self._streamed_chain(chain, initial_inputs, options))

    def _streamed_chain(
        self, chain: SignatureChain, inputs: Mapping[str, Any] | None, options: ExecutionOptions
    ) -> StreamedWork:
        return lambda receive, closed: self._chains.astream_chain(chain, inputs, options, receive, closed)

    def execute_conditional(
        self,
        pipeline: ConditionalPipeline,
        inputs: Mapping[str, Any] | None = None,
        **options: Unpack[ExecutionOptions],
    ) -> Any:
        """Run the first branch whose condition holds and wait for its result.

        Args:
            pipeline: the pipeline.
            inputs: name -> value, for the conditions and the branch.
            **options: those of ``execute_signature``.

        Returns:
            The result of the branch: an ``ExecutionResult``, or a ``ChainResult`` where the branch is a chain.

        Raises:
            CompositionError: the pipeline cannot work, a condition raises, or none holds; nothing was called.
            InputError: the inputs do not fit the chosen signature; nothing was called.
            ExecutionError: the branch failed.
        """
        return self._chains.execute_pipeline(pipeline, inputs, options)

    async def aexecute_conditional(
        self,
        pipeline: ConditionalPipeline,
        inputs: Mapping[str, Any] | None = None,
        **options: Unpack[ExecutionOptions],
    ) -> Any:
        """Async version of ``execute_conditional``; conditions may be coroutine functions."""
        return await self._chains.aexecute_pipeline(pipeline, inputs, options)

    # -- signatures ---------------------------------------------------------------------------------------------

    def register_signature(
        self,
        name: str,
        x: Any,
        replace: bool = False,
        *,
        signature: Any = None,
        strategy: Any = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        """Register a signature of the host under ``name``.

        Args:
            name: how it is called; ``local/NAME`` always works too.
            x: a ``BaseSignature`` class, a ``dspy.Signature`` class, a text such as ``"question -> answer: float"``, a
                ``dspy.Module`` instance, a ``SignatureChain``, an optimized signature, the path of a file with a saved
                one, or an address that a plugin reads, such as ``"models:/EmailDraft@champion"``.
            replace: whether it may replace what has that name.
            signature: inputs and outputs of a ``dspy.Module`` that does not tell them itself.
            strategy: how it is answered: the name of a strategy, or a mapping of ``name`` and its options; left out, as
                the signature declares.
            parameters: parameters of the language model, such as ``{"temperature": 0.2}``; left out, those that the
                signature declares.

        Raises:
            ComponentNotFoundError: there is no such strategy, tool or reward; lists those that there are.
            SignatureExistsError: the name is taken and ``replace`` is False.
            SignatureDefinitionError: the signature cannot be run; says why.
        """
        services = self.services
        services.check_open()
        if isinstance(x, ChainDefinition):
            x = signature_of_chain(x, services.plans, name)
        register_signature(
            name,
            x,
            replace=replace,
            signature=signature,
            strategy=strategy,
            parameters=parameters,
            registry=services.signatures,
            plugins=services.plugins,
        )

    def signature(self, signature_name: Any) -> RegisteredSignature:
        """Return the signature that a name means, as data, with its owner and its qualified name.

        Args:
            signature_name: name, signature class, or file of an optimized signature.

        Raises:
            SignatureNotFoundError: no such signature; names similar ones.
        """
        self.services.check_open()
        return self.services.plans.testing_plan(signature_name).registered

    def strategy(self, signature_name: Any, *, strategy: Any = None) -> ResolvedStrategy | None:
        """Return how a signature is answered, with the versions of everything that takes part; None for one call.

        ``SignatureRunner`` runs it without cache and trackers, and has its module.

        Args:
            signature_name: name or signature class.
            strategy: in place of the one that the signature declares.

        Raises:
            ComponentNotFoundError: there is no such strategy, tool or reward; lists those that there are.
            ConfigurationError: the strategy does not take these options.
        """
        services = self.services
        services.check_open()
        return services.plans.strategy(signature_name, services.options.read(strategy=strategy).strategy)

    def list_signatures(self) -> list[str]:
        """Return the names of all signatures, sorted; qualified if a short name is not unique."""
        self.services.check_open()
        return list(self.services.signatures.names())

    # -- state --------------------------------------------------------------------------------------------------

    @property
    def config(self) -> Settings:
        """Every setting with its value and source, and where the language model comes from."""
        settings = self.services.settings
        return settings.shown_with(
            mode=SettingValue(self.mode, settings["mode"].source),
            lm=SettingValue(self.models.describe(), self.models.source()),
        )

    @property
    def mode(self) -> ExecutionMode:
        """The mode; see ``ExecutionMode``."""
        return self.services.state.mode

    def set_mode(self, mode: ExecutionMode | str) -> None:
        """Change the mode; executions under way finish in theirs.

        Raises:
            ConfigurationError: no such mode.
        """
        self.services.state.mode = parse_setting("mode", mode)

    def stats(self) -> dict[str, Any]:
        """Return figures since the executor was made, as a JSON-able dict."""
        services = self.services
        return {
            **services.stats.snapshot(),
            "cache": None if services.cache is None else services.cache.stats(),
            "trackers": services.observers.statuses(),
            "tracker_failures": dict(services.observers.failures),
            "feedback": services.feedback.stats(),
        }

    def language_model(self, lm: Any = None) -> LanguageModel:
        """Return the language model and the adapter that a call would use.

        Args:
            lm: as for ``execute_signature``.

        Raises:
            LanguageModelUnavailable: there is none, or the one asked for cannot be had.
        """
        self.services.check_open()
        return self.services.plans.model(lm)

    @property
    def budget(self) -> Budget | None:
        """The budget of executions that give none, as ``max_cost`` and ``budget_file`` say; None for no bound."""
        return self.services.options.default.budget

    def feedback_given(self, event: FeedbackGiven | OutcomeRecorded) -> None:
        """Notify trackers and ``on_feedback_given`` hooks that a user rated an execution, or trackers of an outcome."""
        self.services.check_open()
        self.services.observers.feedback(event)

    def optimization_finished(self, event: OptimizationFinished) -> None:
        """Notify trackers and ``on_optimization_finished`` hooks that an optimization is over.

        The result was paid for, so a closed executor does not raise: it notifies the trackers that are still open.
        """
        self.services.observers.optimization(event)

    @property
    def notes_evaluations(self) -> bool:
        """Whether a tracker or an ``on_evaluation_finished`` hook is there; if not, no event need be made."""
        return bool(self.services.observers.trackers) or self.plugins.implements("on_evaluation_finished")

    def evaluation_finished(self, event: EvaluationFinished) -> None:
        """Notify trackers and ``on_evaluation_finished`` hooks that an evaluation is over.

        The result was paid for, so a closed executor does not raise: it notifies the trackers that are still open.
        """
        self.services.observers.evaluation(event)

    def flush(self, timeout: float | None = None) -> bool:
        """Deliver what trackers have accepted.

        Args:
            timeout: seconds to wait at most over all trackers, None for as long as it takes.

        Returns:
            Whether everything was delivered.
        """
        end = Deadline.after(timeout)
        return all(delivered for _, delivered in self.services.observers.flush_each(end.remaining))

    def close(self) -> None:
        """Flush and close trackers, caches and language models; calling it twice is harmless.

        Every part is closed, whatever the others raise.

        Raises:
            ExceptionGroup: of every error, each with a note that names the part.
        """
        try:
            self._batches.close()
        finally:
            self.services.close()

    async def aclose(self) -> None:
        """Async version of ``close``: it runs on a thread, so that the event loop goes on."""
        await asyncio.to_thread(self.close)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "an executor cannot be pickled or copied: it holds connections, threads and caches. Pass its settings on, "
            "and make an executor where it is used"
        )

    def __enter__(self) -> Self:
        self.services.check_open()
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        try:
            self.close()
        except Exception as failure:
            _keep_first(error, failure)

    async def __aenter__(self) -> Self:
        self.services.check_open()
        return self

    async def __aexit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        try:
            await self.aclose()
        except Exception as failure:
            _keep_first(error, failure)

    def __getattr__(self, name: str) -> NoReturn:
        advice = method_advice("an executor", name)
        raise AttributeError(advice or f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} mode={self.mode.value} closed={self.services.state.closed}>"


def _missing_inputs(signature: Any, options: Mapping[str, Any]) -> TypeError:
    return missing_inputs(signature, (name for name in options if name not in execution_options()))


def _keep_first(error: BaseException | None, failure: Exception) -> None:
    """Raise the error of closing, unless the ``with`` block itself failed. Its error has priority."""
    if error is None:
        raise failure
    errors = failure.exceptions if isinstance(failure, ExceptionGroup) else (failure,)
    for closing in errors:
        notes = "; ".join(getattr(closing, "__notes__", ()))
        error.add_note(f"closing the executor failed too: {describe_error(closing)} {notes}".rstrip())
