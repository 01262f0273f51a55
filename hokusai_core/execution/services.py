"""ExecutorServices: the objects that the parts of one executor share.

``Executor`` makes one ``ExecutorServices`` and hands it to everything that runs something: batches, chains, pipelines
and parallel tasks. They need no executor, so the modules do not import each other in a circle.
"""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from hokusai_core.caching.memory import MemoryCache
from hokusai_core.caching.tiers import CacheTiers
from hokusai_core.errors import (
    CacheError,
    ClosedError,
    ComponentNotFoundError,
    ExecutionError,
    PluginError,
    TrackingError,
)
from hokusai_core.events import OperationFinished
from hokusai_core.execution.call_plan import CallPlan, CallPlanCache
from hokusai_core.execution.edition_finder import EditionFinder
from hokusai_core.execution.feedback_stage import FeedbackStage
from hokusai_core.execution.model_choice import ModelChoice
from hokusai_core.execution.model_policy import ModelPolicy
from hokusai_core.execution.model_resolver import ModelResolver
from hokusai_core.execution.observers import Observers
from hokusai_core.execution.options import OptionReader
from hokusai_core.execution.pipeline import ExecutionPipeline
from hokusai_core.execution.rate_limits import RateLimits
from hokusai_core.execution.registration import signature_from_file
from hokusai_core.execution.state import ExecutionState, Options
from hokusai_core.execution.stats import Stats
from hokusai_core.execution.strategy_resolver import StrategyResolver
from hokusai_core.execution.streaming import StreamEmitter
from hokusai_core.media import MediaPolicy
from hokusai_core.option_table import ComponentChoice
from hokusai_core.plugins.failures import frames_inside
from hokusai_core.plugins.manager import PluginManager
from hokusai_core.process import fork_gate
from hokusai_core.protocols import Tracker
from hokusai_core.results import ExecutionResult
from hokusai_core.runtime.deadline import UNBOUNDED, Deadline
from hokusai_core.runtime.drivers import adrive, drive
from hokusai_core.runtime.event_loop import EventLoopThread, is_large
from hokusai_core.runtime.host_threads import HostThreads
from hokusai_core.runtime.task_pool import TaskPool
from hokusai_core.runtime.window import Permit
from hokusai_core.runtime.worker_threads import Threads, WorkerThreads
from hokusai_core.settings import ExecutionMode, Settings
from hokusai_core.signature_registry import SignatureRegistry
from hokusai_core.signatures.spec import SignatureSpec

if TYPE_CHECKING:
    from hokusai_core.cassettes import Cassette

__all__ = ["ExecutorServices", "ExecutorState", "make_services"]


@define(eq=False)
class ExecutorState:
    """What changes during the life of an executor."""

    mode: ExecutionMode
    closed: bool = False


@frozen(eq=False)
class ExecutorServices:
    """What the parts of one executor share.

    Args:
        settings: every setting with its source.
        state: mode, and whether the executor is closed.
        plugins: the plugins.
        signatures: the signatures by name.
        models: finds the language model of a call.
        plans: signature and language model, prepared for calls.
        pipeline: the stages of one execution.
        media: which pictures, sounds and files are taken.
        options: reads the options of a call.
        cache: the cache tiers, None if caching is off.
        observers: trackers and ``on_*`` hooks.
        feedback: keeps executions that feedback is wanted on.
        stats: counts executions.
        threads: threads for blocking calls.
        workers: threads for rows and tasks: those, or those of the host.
        cassette: records calls of language models or answers them, None for none.
        loop: the event loop for calls from blocking code that can be awaited.
        tasks: runs what ``execute_async`` was given.
    """

    settings: Settings
    state: ExecutorState
    plugins: PluginManager
    signatures: SignatureRegistry
    models: ModelResolver
    plans: CallPlanCache
    pipeline: ExecutionPipeline
    media: MediaPolicy
    options: OptionReader
    cache: CacheTiers | None
    observers: Observers
    feedback: FeedbackStage
    stats: Stats
    threads: WorkerThreads
    workers: Threads
    cassette: Cassette | None = None
    loop: EventLoopThread = field(factory=EventLoopThread)
    tasks: TaskPool = field(init=False)

    @tasks.default
    def _make_tasks(self) -> TaskPool:
        return TaskPool(self.workers, self.settings.value("max_workers"))

    @property
    def testing(self) -> bool:
        """Whether the executor is in testing mode."""
        return self.state.mode is ExecutionMode.TESTING

    def check_open(self) -> None:
        """Raise ``ClosedError`` if the executor was closed."""
        if self.state.closed:
            raise ClosedError("this executor is closed; make a new one, or keep it open for as long as it is used")

    def plan(self, signature: Any, lm: Any, options: Options) -> CallPlan:
        """Return the plan of an execution: with a language model, or without one in testing mode.

        Of a policy it is the first model that would be asked and that can be had.
        """
        if self.testing:
            return self.plans.testing_plan(signature, options.strategy)
        chosen = self.models.choose(lm)
        for model in chosen.askable if isinstance(chosen, ModelPolicy) else ():
            try:
                return self.plans.plan(signature, model, options.strategy, options.parameters)
            except ExecutionError as error:
                if not chosen.moves_on(error):
                    raise
        return self.plans.plan(signature, chosen, options.strategy, options.parameters)

    # -- one execution ------------------------------------------------------------------------------------------

    def execute(
        self, signature: Any, inputs: Mapping[str, Any], lm: Any, options: Options, permit: Permit | None = None
    ) -> ExecutionResult:
        """Run a signature and wait for its result; raises what ``Executor.execute_signature`` raises.

        Args:
            signature: name or signature class.
            inputs: input field or alias -> value.
            lm: language model of this call, in place of the executor's.
            options: options as ``options.read`` returns them.
            permit: place of the execution in the window of a batch, None outside of batches.
        """
        if options.collect_feedback and not self.testing:
            self.feedback.prepare()
        state, result = self._begin(signature, inputs, lm, options, permit)
        if result is not None:
            return result
        path = self.pipeline.answer(state, keep_trace=self.state.mode is ExecutionMode.DEVELOPMENT)
        if permit is not None:
            permit.path = path
        if self.observers.hear_begin:
            return self._begun_context(state).run(drive, path)
        return drive(path)

    async def aexecute(
        self,
        signature: Any,
        inputs: Mapping[str, Any],
        lm: Any,
        options: Options,
        permit: Permit | None = None,
        emitter: StreamEmitter | None = None,
    ) -> ExecutionResult:
        """Async version of ``execute``; cancelling the coroutine cancels the call.

        Args:
            signature: name or signature class.
            inputs: input field or alias -> value.
            lm: language model of this call, in place of the executor's.
            options: options as ``options.read`` returns them.
            permit: place of the execution in the window of a batch, None outside of batches.
            emitter: emits the events of the execution, None for none.
        """
        await self.load_dspy()
        if not self.testing and not self.models.at_hand(lm):
            await asyncio.to_thread(self.models.prepare, lm)
        if options.collect_feedback and not self.testing:
            await asyncio.to_thread(self.feedback.prepare)
        early = None
        if not self.testing and isinstance(inputs, Mapping) and is_large(inputs.values()):
            early = await asyncio.to_thread(self._bind_early, signature, inputs, lm, options)
        state, result = self._begin(signature, inputs, lm, options, permit, emitter, early)
        if result is None:
            path = self.pipeline.answer(state, keep_trace=self.state.mode is ExecutionMode.DEVELOPMENT)
            if self.observers.hear_begin:
                result = await asyncio.create_task(adrive(path), context=self._begun_context(state))
            else:
                result = await adrive(path)
        if emitter is not None:
            emitter.finish(result)
        return result

    def _begun_context(self, state: ExecutionState) -> contextvars.Context:
        """Return the context of an execution that begins, with what trackers have set in it."""
        context = contextvars.copy_context()
        context.run(self.observers.begin, state.execution_id, state.plan.name)
        return context

    def _bind_early(
        self, signature: Any, inputs: Mapping[str, Any], lm: Any, options: Options
    ) -> tuple[SignatureSpec, dict[str, Any]] | None:
        """Bind large inputs, and return the signature and them; None where that fails, as the execution then does."""
        try:
            spec = self.plan(signature, lm, options).spec
            return spec, spec.binder.bind(inputs, self.media)
        except Exception:
            return None

    def _begin(
        self,
        signature: Any,
        inputs: Mapping[str, Any],
        lm: Any,
        options: Options,
        permit: Permit | None,
        emitter: StreamEmitter | None = None,
        early: tuple[SignatureSpec, dict[str, Any]] | None = None,
    ) -> tuple[ExecutionState, ExecutionResult | None]:
        if self.state.closed:
            self.check_open()
        mode = self.state.mode
        if mode is ExecutionMode.TESTING:
            state = ExecutionState(
                self.plans.testing_plan(signature, options.strategy), options, Deadline(), emitter=emitter
            )
            return state, self.pipeline.sample_outputs(state, inputs)
        started, started_at = time.perf_counter(), time.time()
        chosen = self.models.choose(lm)
        choice = self._model_choice(chosen, signature, options) if isinstance(chosen, ModelPolicy) else None
        if choice is None:
            plan = self.plans.plan(signature, chosen, options.strategy, options.parameters)
        else:
            plan = choice.next_plan()
        state = ExecutionState(
            plan, options, UNBOUNDED, permit, emitter, choice, started=started, started_at=started_at
        )
        bound = early[1] if early is not None and early[0] is plan.spec else None
        result = self.pipeline.begin(state, inputs, keep_trace=mode is ExecutionMode.DEVELOPMENT, bound=bound)
        if result is None:  # nothing was waited for yet, but loading the model may have taken time
            state.start_clock(elapsed=state.latency)
        return state, result

    def _model_choice(self, policy: ModelPolicy, signature: Any, options: Options) -> ModelChoice:
        def plan_of(model: Any) -> CallPlan:
            return self.plans.plan(signature, model, options.strategy, options.parameters)

        return ModelChoice(policy, plan_of, self.models.settled)

    # -- around executions --------------------------------------------------------------------------------------

    async def load_dspy(self) -> None:
        """Import DSPy on a thread if it is needed: the import takes a second, which would stop the event loop."""
        if "dspy" not in sys.modules and not self.testing:
            await asyncio.to_thread(_import_bridge)

    def anchored(self, operation_id: str = "", kind: str = "", name: str = "") -> AbstractContextManager[object]:
        """Return what trackers anchor a call with; see ``Observers.anchored``. Testing mode has no trackers."""
        return nullcontext() if self.testing else self.observers.anchored(operation_id, kind, name)

    def operation_finished(self, event: OperationFinished) -> None:
        """Tell trackers that a batch, chain, pipeline or group of tasks is over; testing mode has no trackers."""
        if not self.testing:
            self.observers.operation(event)

    def close(self) -> None:
        """Flush and close trackers, caches and language models; calling it twice is harmless.

        Every part is closed, whatever the others raise.

        Raises:
            ExceptionGroup: of every error, each with a note that names the part.
        """
        if self.state.closed:
            return
        self.state.closed = True
        parts: list[tuple[str, Callable[[], None]]] = [
            ("event loop", self.loop.close),
            ("trackers", self.observers.close),
            *([] if self.cache is None else [("cache", self.cache.close)]),
            ("feedback store", self.feedback.close),
            ("language models", self.models.close),
            *([] if self.cassette is None else [("cassette", self.cassette.close)]),
            ("threads", self.threads.close),
            ("plugins", self.plugins.close),
        ]
        errors: list[Exception] = []
        for name, close in parts:
            try:
                close()
            except Exception as error:  # the other parts must be closed too
                error.add_note(f"while closing the {name} of the executor")
                errors.append(error)
        if errors:
            raise ExceptionGroup("closing the executor", errors)


def _import_bridge() -> None:
    with fork_gate:  # a child process could not go on with a module that is half imported
        importlib.import_module("hokusai_core.dspy_bridge")


def make_services(settings: Settings, *, optional: AbstractSet[str]) -> ExecutorServices:
    """Make what an executor consists of, as its settings say.

    Args:
        settings: every setting.
        optional: names of caches and trackers that are left out with a warning if they cannot be made.

    Raises:
        HokusaiError: a part cannot be made.
    """
    value = settings.value
    with ExitStack() as undo:  # closes what was made before a part that cannot be made
        plugins = PluginManager(
            only=value("plugins"),
            disable=value("disable_plugins"),
            strict=value("strict_plugins"),
            extra=value("extra_plugins"),
            data_folder=value("data_folder"),
        )
        undo.callback(plugins.close)
        if value("strict_plugins"):  # strict hosts want every failure at the start
            plugins.load()
        editions = EditionFinder.of(plugins, settings)
        strategies = StrategyResolver(plugins, lambda name: signatures.known(name))
        signatures = SignatureRegistry(
            plugins.signature_packs, value("prefer"), find_edition=editions.find, settle=strategies.settled
        )
        of_project = settings["lm"].source.startswith("file ")
        models = ModelResolver(
            plugins,
            None if of_project else value("lm"),
            settings.environ,
            project=value("lm") if of_project else None,
            named=value("models"),
        )
        cache = _make_cache(plugins, settings, optional)
        if cache is not None:
            undo.callback(cache.close)

        chosen = _chosen_trackers(value("trackers"))

        def make_tracker(name: str) -> Tracker | None:
            tracker: Tracker | None = _make_component(plugins, "tracker", chosen[name], optional)
            return tracker

        made = _make_trackers(plugins, chosen, optional)
        named = [name for name, one in chosen.items() if isinstance(one, str | ComponentChoice)]
        observers = Observers(plugins, made, replaceable=named, remake=make_tracker)
        undo.callback(observers.close)
        cassette = _open_cassette(value("cassette"))
        feedback = FeedbackStage(plugins, value("feedback_store"))
        stats, threads = Stats(), WorkerThreads(keep=max(32, value("max_workers")))
        media = settings.media_policy
        rates = value("requests_per_minute"), value("tokens_per_minute")
        services = ExecutorServices(
            settings=settings,
            state=ExecutorState(value("mode")),
            plugins=plugins,
            signatures=signatures,
            models=models,
            plans=CallPlanCache(
                signatures,
                models,
                adapter=value("adapter"),
                namespace=value("namespace"),
                cache_ttl=value("cache_ttl"),
                secret=lambda: b"" if cache is None else cache.secret,
                read_file=lambda path: signature_from_file(signatures, path),
                strategies=strategies,
                parameters=value("parameters"),
                media=media,
                transforms=lambda: [name for name, _ in plugins.callers("transform_outputs")],
            ),
            pipeline=ExecutionPipeline(
                plugins=plugins,
                cache=cache,
                observers=observers,
                stats=stats,
                threads=threads,
                limits=RateLimits(*rates) if any(rates) else None,
                prices=value("prices"),
                cassette=cassette,
                feedback=feedback,
                media=media,
                validators=value("validators"),
            ),
            media=media,
            options=OptionReader(settings),
            cache=cache,
            observers=observers,
            feedback=feedback,
            stats=stats,
            threads=threads,
            workers=threads if value("thread_pool") is None else HostThreads(value("thread_pool"), threads),
            cassette=cassette,
        )
        undo.pop_all()
        return services


def _open_cassette(given: Any) -> Cassette | None:
    """Return the cassette of an executor; a file that is named becomes one."""
    if given is None:
        return None
    from hokusai_core.cassettes import Cassette  # few executors have one

    return given if isinstance(given, Cassette) else Cassette(given)


def _make_cache(plugins: PluginManager, settings: Settings, optional: AbstractSet[str]) -> CacheTiers | None:
    """Return the cache tiers, None if caching is off."""
    value = settings.value
    if not value("cache_enabled"):
        return None
    memory = MemoryCache(value("cache_entries"), value("cache_bytes"))
    chosen = value("cache")
    if not isinstance(chosen, str | ComponentChoice):
        return CacheTiers(memory, chosen, name=type(chosen).__name__)

    def make() -> Any:
        return _make_component(plugins, "cache", chosen, optional)

    name = chosen if isinstance(chosen, str) else chosen.name
    return CacheTiers(memory, make(), name=name, remake=make)


def _chosen_trackers(given: Any) -> Mapping[str, Any]:
    """Return name -> name of a component, ``ComponentChoice`` or tracker."""
    return given if isinstance(given, Mapping) else {name: name for name in given}


def _make_trackers(plugins: PluginManager, chosen: Mapping[str, Any], optional: AbstractSet[str]) -> dict[str, Tracker]:
    """Return the trackers, those that are named made."""
    trackers: dict[str, Tracker] = {}
    own: list[Tracker] = []
    try:
        for name, one in chosen.items():
            if not isinstance(one, str | ComponentChoice):
                trackers[name] = one
                continue
            tracker = _make_component(plugins, "tracker", one, optional)
            if tracker is not None:
                trackers[name] = tracker
                own.append(tracker)
    except BaseException:
        for tracker in own:  # there will be no executor that could close them
            tracker.close()
        raise
    return trackers


def _make_component(
    plugins: PluginManager, kind: str, chosen: str | ComponentChoice, optional: AbstractSet[str]
) -> Any:
    """Make a cache or tracker; None with a warning if it is optional and cannot be made."""
    name = chosen if isinstance(chosen, str) else chosen.name
    if name not in optional or not isinstance(chosen, str):
        return plugins.create(kind, chosen)
    try:
        return plugins.create(kind, name)
    except (PluginError, CacheError, TrackingError) as error:
        off = any(record.name == name and record.state == "disabled" for record in plugins.records())
        # No warning that a plugin is missing if the user has turned off the plugin of that name.
        if not (off and isinstance(error, ComponentNotFoundError)):
            effect = "answers are kept in memory only" if kind == "cache" else "executions are not recorded there"
            warnings.warn(f"{kind} {name!r} cannot be used, so {effect}: {error}", stacklevel=frames_inside())
        return None
