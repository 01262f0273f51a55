"""Executor: run signatures by name, with everything that makes a program of them."""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from hokusai_core.batch.methods import BatchMethods
from hokusai_core.composition.methods import CompositionMethods
from hokusai_core.errors import (
    ClosedError,
    ConfigurationError,
)
from hokusai_core.execution.budget import Budget
from hokusai_core.execution.call_plan import CallPlanCache
from hokusai_core.execution.feedback_stage import FeedbackStage
from hokusai_core.execution.model_resolver import ModelResolver
from hokusai_core.execution.observers import Observers
from hokusai_core.execution.options import OptionReader
from hokusai_core.execution.parts import PartsMaker
from hokusai_core.execution.pipeline import ExecutionPipeline
from hokusai_core.execution.rate_limits import RateLimits
from hokusai_core.execution.state import ExecutionState, Options
from hokusai_core.execution.stats import Stats
from hokusai_core.improvement import Improvements
from hokusai_core.plugins import PluginManager
from hokusai_core.runtime.deadline import Deadline
from hokusai_core.runtime.drivers import adrive, drive
from hokusai_core.runtime.event_loop import EventLoopThread
from hokusai_core.runtime.task_pool import TaskPool
from hokusai_core.runtime.worker_threads import WorkerThreads
from hokusai_core.settings import UNSET, Config, ExecutionMode, SettingValue, Unset, parse_setting, read_settings
from hokusai_core.signature_methods import SignatureMethods
from hokusai_core.signatures import SignatureRegistry

if TYPE_CHECKING:
    from hokusai_core.caching.explain import CacheExplanation
    from hokusai_core.events import FeedbackGiven, OperationFinished, OptimizationFinished
    from hokusai_core.execution.state import CacheUse
    from hokusai_core.model import LanguageModel
    from hokusai_core.protocols import Tracker, Validator
    from hokusai_core.results import ExecutionResult
    from hokusai_core.runtime.window import Permit

__all__ = ["Executor"]


class Executor(SignatureMethods, BatchMethods, CompositionMethods):
    """Runs signatures, one execution at a time or many, on any thread or event loop.

    Everything hangs off the executor: plugins, registered signatures, caches, trackers. Two executors in one process
    share nothing. Close it, or use it as a context manager.

    Args:
        lm: language model: a name (``"openai/gpt-5-mini"``, ``"local"``), a ``dspy.LM`` or a ``LanguageModel``. Left
            out, the first that is there: the host's ``dspy.settings.lm``, ``HOKUSAI_LM``, an embedded one.
        adapter: DSPy adapter for every call; left out, the model's own, the host's ``dspy.settings.adapter``, or the
            core's ``FastChatAdapter``.
        cache_enabled: whether answers are stored and served.
        cache: persistent cache behind the memory cache: a component's name, or an object that satisfies ``Cache``.
        cache_ttl: seconds for which a stored answer is served.
        cache_entries: answers that the memory cache holds at most.
        cache_bytes: bytes that the memory cache holds at most.
        namespace: part of every cache key, to keep tenants apart.
        timeout: seconds that bound one execution, retries included; None for no bound.
        max_workers: rows and tasks that run at the same time.
        retry_on_failure: whether failed calls are tried again.
        max_retries: tries after the first, where retries are on.
        requests_per_minute: language-model calls per minute and model.
        tokens_per_minute: tokens per minute and model.
        mode: see ``ExecutionMode``.
        trackers: names of tracker components, or trackers by name.
        plugins: the only plugins that are used.
        disable_plugins: plugins that are not even imported.
        strict_plugins: whether a plugin that fails is an error instead of a warning.
        extra_plugins: plugin modules or objects of the host's own, used beside the installed ones.
        prefer: short name -> ``pack/Name``, where several packs have a signature of that name.
        promotions: whether signatures that were promoted in this namespace stand in for their originals; left out,
            not where the executor is made in testing mode.
        feedback_store: where executions are kept for feedback: a component's name, or an object that satisfies
            ``FeedbackStore``; left out, the one that is installed.

    Every argument but ``lm``, ``adapter`` and ``extra_plugins`` can also be given as an environment variable
    (``HOKUSAI_TIMEOUT``); ``Executor.config`` shows where each value came from.

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
        *,
        lm: Any = None,
        adapter: Any = None,
        cache_enabled: bool | Unset = UNSET,
        cache: Any = UNSET,
        cache_ttl: float | Unset | None = UNSET,
        cache_entries: int | Unset = UNSET,
        cache_bytes: int | Unset = UNSET,
        namespace: str | Unset = UNSET,
        timeout: float | Unset | None = UNSET,
        max_workers: int | Unset = UNSET,
        retry_on_failure: bool | Unset = UNSET,
        max_retries: int | Unset = UNSET,
        requests_per_minute: float | Unset | None = UNSET,
        tokens_per_minute: float | Unset | None = UNSET,
        mode: ExecutionMode | str | Unset = UNSET,
        trackers: Sequence[str] | Mapping[str, Tracker] | Unset = UNSET,
        plugins: Sequence[str] | Unset | None = UNSET,
        disable_plugins: Sequence[str] | Unset = UNSET,
        strict_plugins: bool | Unset = UNSET,
        extra_plugins: Iterable[object] = (),
        prefer: Mapping[str, str] | Unset = UNSET,
        promotions: bool | Unset = UNSET,
        feedback_store: Any = UNSET,
    ) -> None:
        given_trackers = dict(trackers) if isinstance(trackers, Mapping) else None
        for name, tracker in (given_trackers or {}).items():
            if not callable(getattr(tracker, "record", None)):
                raise ConfigurationError(
                    f"trackers[{name!r}]: {type(tracker).__name__} is no Tracker: it has no record()"
                )
        arguments = {
            "cache_enabled": cache_enabled,
            "cache": cache,
            "cache_ttl": cache_ttl,
            "cache_entries": cache_entries,
            "cache_bytes": cache_bytes,
            "namespace": namespace,
            "timeout": timeout,
            "max_workers": max_workers,
            "retry_on_failure": retry_on_failure,
            "max_retries": max_retries,
            "requests_per_minute": requests_per_minute,
            "tokens_per_minute": tokens_per_minute,
            "mode": mode,
            "trackers": trackers if given_trackers is None else tuple(given_trackers),
            "plugins": plugins,
            "disable_plugins": disable_plugins,
            "strict_plugins": strict_plugins,
            "prefer": prefer,
            "promotions": promotions,
            "feedback_store": feedback_store,
        }
        self._settings = read_settings(arguments, defaults=self.defaults)
        value = self._settings.value
        self._mode: ExecutionMode = value("mode")
        self._closed = False
        self.plugins = PluginManager(
            only=value("plugins"),
            disable=value("disable_plugins"),
            strict=value("strict_plugins"),
            extra=tuple(extra_plugins),
        )
        if value("strict_plugins"):  # who asks for this wants to hear of it at the start
            self.plugins.load()
        self._improvements = Improvements.of(self._settings)
        self.signatures = SignatureRegistry(
            lambda: self._improvements.applied(self.plugins.signature_packs), value("prefer")
        )
        self.models = ModelResolver(self.plugins, lm, os.environ)
        self._validators: Mapping[str, Validator] | None = None
        self._stats = Stats()
        self._threads = WorkerThreads(keep=max(32, value("max_workers")))
        parts = PartsMaker(self.plugins, self._settings, self.optional)
        self._cache = parts.cache()
        self._observers = Observers(
            self.plugins,
            parts.trackers() if given_trackers is None else given_trackers,
            replaceable=given_trackers is None,
        )
        rates = value("requests_per_minute"), value("tokens_per_minute")
        limits = RateLimits(*rates) if any(rates) else None
        self._plans = CallPlanCache(
            self.signatures,
            self.models,
            adapter=adapter,
            namespace=value("namespace"),
            cache_ttl=value("cache_ttl"),
            secret=self._secret,
            read_file=lambda path: self._improvements.from_file(self.signatures, path),
        )
        self._feedback = FeedbackStage(self.plugins, value("feedback_store"))
        self._path = ExecutionPipeline(
            plugins=self.plugins,
            cache=self._cache,
            observers=self._observers,
            stats=self._stats,
            threads=self._threads,
            limits=limits,
            validators=self._all_validators,
            feedback=self._feedback,
        )
        self._options = OptionReader(self._settings).read
        self._loop = EventLoopThread()
        self._tasks = TaskPool(self._threads, value("max_workers"))
        # An executor that nobody closed must not keep its idle threads for ever.
        weakref.finalize(self, self._threads.close)
        weakref.finalize(self, self._loop.close)

    # -- one execution ------------------------------------------------------------------------------------------

    def execute_signature(
        self,
        signature_name: Any,
        inputs: Mapping[str, Any],
        *,
        lm: Any = None,
        cache: CacheUse = "use",
        cache_ttl: float | Unset | None = UNSET,
        timeout: float | Unset | None = UNSET,
        retry_on_failure: bool | Unset = UNSET,
        max_retries: int | Unset = UNSET,
        collect_feedback: bool = False,
        tags: Mapping[str, str] | None = None,
        budget: Budget | None = None,
    ) -> ExecutionResult:
        """Run a signature and wait for its result.

        Args:
            signature_name: name (``"EmailDraft"``, ``"pack/EmailDraft"``), or a signature class.
            inputs: input field or alias -> value.
            lm: language model of this call, in place of the executor's.
            cache: ``"use"``; ``"refresh"`` to call and store the new answer; ``"off"``.
            cache_ttl: seconds for which the answer is served; left out, the signature's, else the executor's.
            timeout: seconds for the whole execution, retries included; None for no bound; left out, the executor's.
            retry_on_failure: whether a failed call is tried again; left out, the executor's.
            max_retries: tries after the first; giving it does not turn retries on.
            collect_feedback: keep this execution so that ``FeedbackCollector`` can take feedback on it.
            tags: free tags for trackers.
            budget: what the calls are charged to.

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
        options = self._options(
            cache=cache,
            cache_ttl=cache_ttl,
            timeout=timeout,
            retry_on_failure=retry_on_failure,
            max_retries=max_retries,
            collect_feedback=collect_feedback,
            tags=tags,
            budget=budget,
        )
        return self._execute(signature_name, inputs, lm, options)

    async def aexecute_signature(
        self,
        signature_name: Any,
        inputs: Mapping[str, Any],
        *,
        lm: Any = None,
        cache: CacheUse = "use",
        cache_ttl: float | Unset | None = UNSET,
        timeout: float | Unset | None = UNSET,
        retry_on_failure: bool | Unset = UNSET,
        max_retries: int | Unset = UNSET,
        collect_feedback: bool = False,
        tags: Mapping[str, str] | None = None,
        budget: Budget | None = None,
    ) -> ExecutionResult:
        """Do as ``execute_signature`` on the running event loop; cancelling the coroutine cancels the call."""
        options = self._options(
            cache=cache,
            cache_ttl=cache_ttl,
            timeout=timeout,
            retry_on_failure=retry_on_failure,
            max_retries=max_retries,
            collect_feedback=collect_feedback,
            tags=tags,
            budget=budget,
        )
        return await self._aexecute(signature_name, inputs, lm, options)

    def check_inputs(self, signature_name: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Make every check on ``inputs`` that an execution makes before it calls a language model.

        Returns:
            The inputs as they would be used: by field name, converted, defaults filled in.

        Raises:
            SignatureNotFoundError: no such signature.
            InputError: the inputs do not fit; carries every problem.
        """
        self._open()
        state = ExecutionState(self._plans.testing_plan(signature_name), self._options(), Deadline())
        return self._path.bind(state, inputs)

    def explain(self, signature_name: Any, inputs: Mapping[str, Any], *, lm: Any = None) -> CacheExplanation:
        """Tell what the cache would do with an execution: which key, hit or miss, and what a miss differs in.

        Args:
            signature_name: name or signature class.
            inputs: input field or alias -> value.
            lm: language model of this call, in place of the executor's; it is not called.

        Raises:
            SignatureNotFoundError: no such signature.
            InputError: the inputs do not fit; carries every problem.
            LanguageModelUnavailable: there is no language model, which is part of the key.
        """
        self._open()
        testing = self._mode is ExecutionMode.TESTING
        plan = self._plans.testing_plan(signature_name) if testing else self._plans.plan(signature_name, lm)
        state = ExecutionState(plan, self._options(), Deadline())
        self._path.bind(state, inputs)
        return self._path.explain(state)

    # -- state --------------------------------------------------------------------------------------------------

    @property
    def config(self) -> Config:
        """Every setting with its value and source, and where the language model comes from."""
        values = dict(self._settings.items())
        values["mode"] = SettingValue(self._mode, values["mode"].source)
        values["lm"] = SettingValue(self.models.describe(), self.models.source())
        return Config(values)

    @property
    def mode(self) -> ExecutionMode:
        """The mode; see ``ExecutionMode``."""
        return self._mode

    def set_mode(self, mode: ExecutionMode | str) -> None:
        """Change the mode; executions under way finish in theirs.

        Raises:
            ConfigurationError: no such mode.
        """
        self._mode = parse_setting("mode", mode)

    def stats(self) -> dict[str, Any]:
        """Return figures since the executor was made, as a JSON-able dict."""
        return {
            **self._stats.snapshot(),
            "cache": None if self._cache is None else self._cache.stats(),
            "trackers": self._observers.statuses(),
            "tracker_failures": dict(self._observers.failures),
            "feedback": self._feedback.stats(),
        }

    def language_model(self, lm: Any = None) -> LanguageModel:
        """Return the language model that a call would use, and the adapter that would go with it.

        Args:
            lm: as for ``execute_signature``.

        Raises:
            LanguageModelUnavailable: there is none, or the one asked for cannot be had.
        """
        self._open()
        return self._plans.model(lm)

    def feedback_given(self, event: FeedbackGiven) -> None:
        """Tell trackers and ``on_feedback_given`` hooks that somebody rated an execution."""
        self._open()
        self._observers.feedback(event)

    def optimization_finished(self, event: OptimizationFinished) -> None:
        """Tell trackers and ``on_optimization_finished`` hooks that an optimization is over.

        What it came to was paid for, so a closed executor tells those that still listen, instead of raising.
        """
        self._observers.optimization(event)

    def flush(self, timeout: float | None = None) -> bool:
        """Deliver what trackers have accepted.

        Args:
            timeout: seconds to wait at most over all trackers, None for as long as it takes.

        Returns:
            Whether everything was delivered.
        """
        end = Deadline.after(timeout)
        return all(delivered for _, delivered in self._observers.flush_each(end.remaining))

    def close(self) -> None:
        """Flush and close trackers, caches and language models; calling it twice is harmless."""
        if self._closed:
            return
        self._closed = True
        closers: list[Callable[[], None]] = [self._loop.close, self._observers.close]
        if self._cache is not None:
            closers.append(self._cache.close)
        closers.append(self._feedback.close)
        closers += [self.models.close, self._threads.close, self.plugins.close]
        errors: list[Exception] = []
        for close in closers:
            try:
                close()
            except Exception as error:  # the others have to be closed all the same
                errors.append(error)
        if errors:
            raise ExceptionGroup("closing the executor", errors)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} mode={self._mode.value} closed={self._closed}>"

    # -- inside -------------------------------------------------------------------------------------------------

    def _execute(
        self, signature: Any, inputs: Mapping[str, Any], lm: Any, options: Options, permit: Permit | None = None
    ) -> ExecutionResult:
        state, result = self._begin(signature, inputs, lm, options, permit)
        if result is not None:
            return result
        path = self._path.answer(state, keep_trace=self._mode is ExecutionMode.DEVELOPMENT)
        if permit is not None:
            permit.path = path
        return drive(path)

    async def _aexecute(
        self, signature: Any, inputs: Mapping[str, Any], lm: Any, options: Options, permit: Permit | None = None
    ) -> ExecutionResult:
        await self._load()
        if self._mode is not ExecutionMode.TESTING and not self.models.at_hand(lm):
            await asyncio.to_thread(self.models.resolve, lm)
        state, result = self._begin(signature, inputs, lm, options, permit)
        if result is not None:
            return result
        return await adrive(self._path.answer(state, keep_trace=self._mode is ExecutionMode.DEVELOPMENT))

    async def _load(self) -> None:
        if "dspy" not in sys.modules and self._mode is not ExecutionMode.TESTING:
            # Importing it takes a second, which the event loop must not stand still for.
            await asyncio.to_thread(importlib.import_module, "hokusai_core.dspy_bridge")

    def _operation_over(self, event: OperationFinished) -> None:
        if self._mode is not ExecutionMode.TESTING:
            self._observers.operation(event)

    def _begin(
        self, signature: Any, inputs: Mapping[str, Any], lm: Any, options: Options, permit: Permit | None
    ) -> tuple[ExecutionState, ExecutionResult | None]:
        self._open()
        if self._mode is ExecutionMode.TESTING:
            state = ExecutionState(self._plans.testing_plan(signature), options, Deadline())
            return state, self._path.sample_outputs(state, inputs)
        started, started_at = time.perf_counter(), time.time()
        plan = self._plans.plan(signature, lm)
        state = ExecutionState(plan, options, _UNBOUNDED, permit, started=started, started_at=started_at)
        result = self._path.begin(state, inputs, keep_trace=self._mode is ExecutionMode.DEVELOPMENT)
        if result is None:  # nothing was waited for yet, but loading the model may have taken its time
            state.deadline = Deadline.after(options.timeout, elapsed=state.latency)
        return state, result

    def _all_validators(self) -> Mapping[str, Validator]:
        if self._validators is None:
            self._validators = {
                component.qualified_name: self.plugins.create("validator", component.qualified_name)
                for component in self.plugins.components("validator")
            }
        return self._validators

    def _secret(self) -> bytes:
        return b"" if self._cache is None else self._cache.secret

    def _open(self) -> None:
        if self._closed:
            raise ClosedError("this executor is closed; make a new one, or keep it open for as long as it is used")


_UNBOUNDED = Deadline()
