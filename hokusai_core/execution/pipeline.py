"""The execution pipeline: the stages that every execution passes, single, batched or chained, sync or async.

    resolve -> bind -> validate inputs -> cache look-up -> language model -> validate outputs -> cache store -> observe

``begin`` does what needs no waiting, up to an answer from the memory cache, as a plain function: that is all that a
cache hit costs. ``answer`` does the rest as a generator of operations, which ``drive`` and ``adrive`` run.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from hokusai_core.cache_entry import CacheEntry
from hokusai_core.errors import ExecutionError, InputError, RateLimitedError
from hokusai_core.execution.attempts import Attempts, Steps, does_not_fit, too_late, under_way
from hokusai_core.execution.cache_explanation import explain
from hokusai_core.execution.event_builders import failed_event, finished_event, started_event
from hokusai_core.execution.lease_stage import take_lead
from hokusai_core.execution.testing_mode import sample_outputs
from hokusai_core.execution.validation import ValidationStage
from hokusai_core.loggers import AreaLogger
from hokusai_core.results import ExecutionResult, ExecutionTrace, Problem, Usage
from hokusai_core.runtime.drivers import Abandoned, Operation, OwnThread, Step, Wait
from hokusai_core.runtime.single_flight import LeaderGone, SharedCall, SharedCalls
from hokusai_core.stored_answer import answer_text, split_answer

if TYPE_CHECKING:
    from hokusai_core.caching.tiers import CacheTiers
    from hokusai_core.cassettes import Cassette
    from hokusai_core.events import PromptTemplate
    from hokusai_core.execution.cache_explanation import CacheExplanation
    from hokusai_core.execution.call_plan import CallPlan
    from hokusai_core.execution.feedback_stage import FeedbackStage
    from hokusai_core.execution.model_choice import ModelChoice
    from hokusai_core.execution.observers import Observers
    from hokusai_core.execution.rate_limits import RateLimits
    from hokusai_core.execution.state import ExecutionState
    from hokusai_core.execution.stats import Stats
    from hokusai_core.media import MediaPolicy
    from hokusai_core.plugins import PluginManager
    from hokusai_core.price_table import PriceTable
    from hokusai_core.protocols import Validator
    from hokusai_core.runtime.worker_threads import WorkerThreads

__all__ = ["ExecutionPipeline"]

Answering = Generator[Operation, Any, ExecutionResult]


class ExecutionPipeline:
    """The path of one executor.

    Args:
        plugins: whose ``check_execution`` hooks are asked.
        cache: the cache stage, None where caching is off.
        observers: what notifies trackers and hooks of executions.
        stats: what counts them.
        threads: where calls run that a deadline bounds.
        limits: rate limits that calls of a language model keep to, or None.
        feedback: keeps executions that feedback is wanted on.
        media: which pictures, sounds and files are taken.
        prices: prices that go before those of DSPy, or None.
        cassette: records the calls or answers them, or None.
        validators: validators of the host, asked beside those of plugins.
    """

    def __init__(
        self,
        *,
        plugins: PluginManager,
        cache: CacheTiers | None,
        observers: Observers,
        stats: Stats,
        threads: WorkerThreads,
        limits: RateLimits | None,
        feedback: FeedbackStage,
        media: MediaPolicy,
        prices: PriceTable | None = None,
        cassette: Cassette | None = None,
        validators: Sequence[Validator] = (),
    ) -> None:
        self._plugins, self._cache, self._observers, self._stats = plugins, cache, observers, stats
        self._feedback, self._media = feedback, media
        self._validation = ValidationStage(plugins, validators)
        self._attempts = Attempts(self._validation, threads, limits, prices, cassette)
        self._shared_calls: SharedCalls[CacheEntry] = SharedCalls()

    # -- without waiting ----------------------------------------------------------------------------------------

    def bind(self, state: ExecutionState, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Bind and validate ``inputs`` and return them as they will be used.

        Raises:
            InputError: the inputs do not fit; carries every problem.
        """
        state.inputs = state.plan.spec.binder.bind(inputs, self._media)
        self._validation.inputs(state.plan, state.inputs)
        return state.inputs

    def read(self, state: ExecutionState, answer: Any, inputs: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the outputs in an answer as an execution would give them.

        Args:
            state: its plan says how the answer is read.
            answer: the whole text that a model wrote, or the response of an engine.
            inputs: what was asked; None to check the answer against types and rules only.

        Raises:
            InputError: the inputs do not fit, or an output chooses from one of them and they are not given.
            OutputError: the answer cannot be read, or does not fit.
        """
        plan = state.plan
        choosing = [name for name, item in plan.spec.outputs.items() if item.choices_from]
        if inputs is None and choosing:
            raise InputError(
                f"{plan.name}: what {choosing[0]} may be is among the inputs; give them too (inputs=...)",
                problems=[Problem(str(plan.spec.outputs[choosing[0]].choices_from), "missing", "is required")],
                signature=plan.name,
            )
        bound = {} if inputs is None else self.bind(state, inputs)
        outputs = plan.calls.read(answer, bound)
        if inputs is None:
            outputs, problems = plan.spec.codec.settle(bound, outputs)
        else:
            outputs, problems = self._validation.settle(plan, bound, outputs)
        if problems:
            raise does_not_fit(plan.name, problems)
        return outputs

    def begin(
        self,
        state: ExecutionState,
        inputs: Mapping[str, Any],
        *,
        keep_trace: bool,
        bound: dict[str, Any] | None = None,
    ) -> ExecutionResult | None:
        """Bind and validate ``inputs``, and return the answer where the memory cache has it.

        Args:
            state: the execution.
            inputs: input field or alias -> value.
            keep_trace: whether prompts and timings are kept on the result.
            bound: the inputs as they are bound, where that was done before.

        Raises:
            InputError: the inputs do not fit; carries every problem.
        """
        state.inputs = state.plan.spec.binder.bind(inputs, self._media) if bound is None else bound
        now = time.perf_counter()
        self._validation.inputs(state.plan, state.inputs)
        if state.emitter is not None:
            state.emitter.begin(state.plan, state.execution_id, transformed=self._validation.transforms)
        entry = self._find(state)
        if entry is None:
            self._note_begin(state, now)
            return None
        if keep_trace or self._observers.hear_end:
            self._note_begin(state, now, cache=True)
        return self._from_entry(state, entry, "memory", keep_trace=keep_trace)

    def _find(self, state: ExecutionState) -> CacheEntry | None:
        """Work out the cache key of the execution, and return the entry of the memory cache, if that may be served."""
        cache, keys, options = self._cache, state.plan.keys, state.options
        if cache is None or keys is None or options.cache == "off":
            return None
        try:
            state.key = key = keys.key(state.inputs)
        except (TypeError, ValueError):  # such as a number of more digits than may be written
            return None
        if options.collect_feedback or not (options.cache == "use" or options.reads_cache):
            return None  # an execution that is kept for feedback has to be waited for
        entry = cache.remembered(key, state.started_at, state.ttl)
        return None if entry is None or (options.fresh_since is not None and not state.fresh(entry)) else entry

    def sample_outputs(self, state: ExecutionState, inputs: Mapping[str, Any]) -> ExecutionResult:
        """Answer without a language model, a cache or a tracker (testing mode)."""
        plan = state.plan
        self.bind(state, inputs)
        if state.emitter is not None:
            state.emitter.begin(plan, state.execution_id, transformed=self._validation.transforms)
        outputs = sample_outputs(plan.spec, state.inputs)
        result = self._result(state, outputs, keep_trace=False)
        self._stats.finished(result.usage, None, result.latency)
        if self._observers.hear_end:
            self._observers.finished(finished_event(state, result), track=False)
        return result

    def explain(self, state: ExecutionState) -> CacheExplanation:
        """Explain what the cache would do with an execution whose inputs are bound."""
        return explain(state, self._cache, lambda entry: self._validation.accept(state.plan, state.inputs, entry))

    def _note_begin(self, state: ExecutionState, bound: float, *, cache: bool = False) -> None:
        made = state.plan.made_at - state.started
        if made > 0.0:  # the first time: DSPy is imported, the language model loaded
            state.stages += (("prepare", 0.0, made),)
        began = max(made, 0.0)
        state.stages += (("bind", began, bound - state.started - began),)
        now = state.stage("validate_inputs", bound)
        if cache:
            state.stage("cache_lookup", now)

    # -- with waiting -------------------------------------------------------------------------------------------

    def answer(self, state: ExecutionState, *, keep_trace: bool) -> Answering:
        """Yield what has to be waited for, and return the result."""
        if self._observers.hear_start:
            self._observers.started(started_event(state))
        try:
            if state.choice is None:
                result = yield from self._answered(state, keep_trace=keep_trace)
            else:
                result = yield from self._answered_by_policy(state, state.choice, keep_trace=keep_trace)
            if state.options.collect_feedback:
                yield from self._keep(state, result)
            return result
        except ExecutionError as error:
            self._name(state, error)
            self._failed(state, error)
            raise
        except BaseException as error:  # cancellation, Ctrl-C, a bug: reported to observers and raised again
            self._failed(state, error)
            raise

    def _answered(self, state: ExecutionState, *, keep_trace: bool) -> Answering:
        if state.key is None or not state.options.reads_cache:
            return (yield from self._fresh(state, keep_trace=keep_trace))
        return (yield from self._shared(state, keep_trace=keep_trace))

    def _answered_by_policy(self, state: ExecutionState, choice: ModelChoice, *, keep_trace: bool) -> Answering:
        """Ask the models of a policy, each with its own cache key, until one answers."""
        state.note_unloaded()
        while True:
            try:
                return (yield from self._answered(state, keep_trace=keep_trace))
            except ExecutionError as error:
                if state.whole.passed or not choice.moves_on(error):
                    raise
                failure = error
            try:
                state.plan = yield _next_plan(choice, failure)
            finally:
                state.note_unloaded()
            state.key = None
            state.bound_model()
            entry = self._find(state)
            if entry is not None:
                return self._from_entry(state, entry, "memory", keep_trace=keep_trace)

    def _keep(self, state: ExecutionState, result: ExecutionResult) -> Generator[Operation, Any, None]:
        """Keep the execution for feedback, before its caller has the id that feedback is given on."""
        event, spec, feedback = finished_event(state, result), state.plan.spec, self._feedback
        if (yield Step(lambda: feedback.keep(event, spec), lambda: feedback.akeep(event, spec))):
            self._observers.remember(state.execution_id)

    def _fresh(self, state: ExecutionState, *, keep_trace: bool) -> Answering:
        outputs = yield from self._call(state, keep_trace=keep_trace)
        result = self._result(state, outputs, keep_trace=keep_trace)
        entry = None if state.key is None else self._entry(state, outputs)
        if entry is not None:
            self._remember(entry)
            yield from self._persist(state, entry)
        return self._done(state, result)

    def _shared(self, state: ExecutionState, *, keep_trace: bool) -> Answering:
        # Not as a shared call, which would cost half as much again; unless one is under way: its leader has looked.
        if self._looks_up(state) and not self._shared_calls.under_way(state.key or ""):
            stored, tier = yield from self._stored(state)
            if stored is not None:
                return self._from_entry(state, stored, tier, keep_trace=keep_trace)
        while True:
            shared_call, leads = self._shared_calls.join(state.key or "", state.options.retry.retries)
            if leads:
                return (yield from self._lead(state, shared_call, keep_trace=keep_trace))
            try:
                entry = yield Wait(shared_call.outcome, shared_call.thread, state.deadline, state.permit)
            except LeaderGone:
                continue
            except OwnThread:  # a blocking call inside a task, while another task of that event loop leads
                return (yield from self._fresh(state, keep_trace=keep_trace))
            except Abandoned as abandoned:
                raise too_late(state, under_way(stopped=abandoned.stopped)) from None
            except ExecutionError as error:
                if error.retryable and shared_call.retries < state.options.retry.retries:
                    continue  # this caller wants more tries than the leader made
                if state.permit is not None and isinstance(error, RateLimitedError) and not state.can_move_on:
                    continue  # its leader had no window in which to wait
                failure = error.replica()
            else:
                return self._from_entry(state, entry, "shared", keep_trace=keep_trace)
            raise failure  # out here, where Python leaves the cause alone

    def _lead(self, state: ExecutionState, shared_call: SharedCall[CacheEntry], *, keep_trace: bool) -> Answering:
        try:
            entry = self._remembered(state)  # another leader may just have landed
            if entry is not None:
                self._shared_calls.finish(shared_call, answer=entry)
                return self._from_entry(state, entry, "memory", keep_trace=keep_trace)
            if self._cache is not None and self._looks_up(state) and self._cache.gives_leases:
                entry, tier = yield from take_lead(state, self._cache, self._stored)
                if entry is not None:
                    self._shared_calls.finish(shared_call, answer=entry)
                    return self._from_entry(state, entry, tier, keep_trace=keep_trace)
            outputs = yield from self._call(state, keep_trace=keep_trace)
            entry = self._entry(state, outputs)
            if entry is not None:
                self._remember(entry)
                self._shared_calls.finish(shared_call, answer=entry)
                yield from self._persist(state, entry)
            return self._done(state, self._result(state, outputs, keep_trace=keep_trace))
        except ExecutionError as error:
            if error.shared and not shared_call.outcome.done():
                self._shared_calls.finish(shared_call, error=error)
            raise
        finally:
            if state.lease is not None and self._cache is not None:
                lease, state.lease = state.lease, None  # another model of a policy has another key
                self._cache.release(lease)
            self._shared_calls.leave(shared_call)

    def _call(self, state: ExecutionState, *, keep_trace: bool) -> Steps:
        calls = self._attempts.call(state, keep_exchanges=keep_trace or self._observers.wants_exchanges)
        return calls if state.choice is None else _within_circuit(state.choice, calls)

    def _looks_up(self, state: ExecutionState) -> bool:
        # What a batch has refreshed itself is in memory; whatever else is stored is not fresh.
        persists = self._cache is not None and self._cache.persistent is not None and state.plan.persist
        return persists and state.options.fresh_since is None

    def _remembered(self, state: ExecutionState) -> CacheEntry | None:
        cache = self._cache
        entry = None if cache is None or state.key is None else cache.remembered(state.key, time.time(), state.ttl)
        return None if entry is None or not state.fresh(entry) else entry

    def _stored(self, state: ExecutionState) -> Generator[Operation, Any, tuple[CacheEntry | None, str]]:
        """Look into the persistent tier."""
        cache, key, ttl = self._cache, state.key, state.ttl
        if cache is None or cache.persistent is None or key is None:
            return None, ""
        since = time.perf_counter()
        entry = yield Step(
            lambda: cache.look_up(key, time.time(), ttl, state.fits),
            lambda: cache.alook_up(key, time.time(), ttl, state.fits),
        )
        state.stage("cache_lookup", since)
        if entry is None or not self._validation.accept(state.plan, state.inputs, entry):
            return None, ""
        cache.remember(entry)
        return entry, cache.persistent.tier

    # -- results ------------------------------------------------------------------------------------------------

    def _entry(self, state: ExecutionState, outputs: Mapping[str, Any]) -> CacheEntry | None:
        plan, now, usage = state.plan, time.time(), state.usage
        ttl = state.ttl
        try:
            encoded = plan.spec.codec.encode(outputs)
        except (TypeError, ValueError):  # a program may return a value without a JSON form; it is still an answer
            return None
        return CacheEntry(
            key=state.key or "",
            signature=plan.name,
            # A copy: orjson leaves the 4 KB of its buffer to each of its texts.
            outputs=bytes(memoryview(answer_text(encoded, state.extras))),
            model=plan.model_name,
            created_at=now,
            expires_at=None if ttl is None else now + ttl,
            latency=state.latency,
            cost=state.cost,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            parts={} if plan.keys is None else plan.keys.explain(state.inputs),
        )

    def _persists(self, state: ExecutionState) -> bool:
        return self._cache is not None and self._cache.persistent is not None and state.plan.persist

    def _remember(self, entry: CacheEntry) -> None:
        if self._cache is not None:
            self._cache.remember(entry)

    def _persist(self, state: ExecutionState, entry: CacheEntry) -> Generator[Operation, Any, None]:
        cache, lease = self._cache, state.lease
        if cache is None or not self._persists(state):
            return
        since = time.perf_counter()
        if state.extras and state.plan.spec.sensitive:  # thoughts may quote what is sensitive
            entry = evolve(entry, outputs=split_answer(entry.outputs)[0])
        yield Step(lambda: cache.persist(entry, lease), lambda: cache.apersist(entry, lease))
        state.stage("cache_store", since)

    def _result(self, state: ExecutionState, outputs: Mapping[str, Any], *, keep_trace: bool) -> ExecutionResult:
        plan = state.plan
        return ExecutionResult(
            outputs=outputs,
            execution_id=state.execution_id,
            signature=plan.name,
            signature_version=plan.spec.version,
            fingerprint=plan.spec.fingerprint,
            model=plan.model_name,
            usage=state.usage,
            cost=state.cost,
            latency=state.latency,
            attempts=state.attempts,
            trace=ExecutionTrace(state.timings, state.exchanges) if keep_trace else None,
            strategy=plan.strategy_name,
            extras=state.extras,
            inputs=state.inputs,
            sensitive=plan.spec.sensitive,
            notes=plan.notes,
        )

    def _from_entry(self, state: ExecutionState, entry: CacheEntry, tier: str, *, keep_trace: bool) -> ExecutionResult:
        plan, spec = state.plan, state.plan.spec
        outputs, latency = state.take_outputs(entry), state.latency
        result = ExecutionResult(
            outputs,
            state.execution_id,
            plan.name,
            spec.version,
            spec.fingerprint,
            entry.model,
            _NO_USAGE,
            0.0,
            latency,
            tier,
            max(0.0, state.started_at - entry.created_at),
            entry.latency,
            entry.cost,
            (),
            ExecutionTrace(state.timings) if keep_trace else None,
            "" if plan.strategy is None else plan.strategy_name,
            state.extras,
            state.inputs,
            spec.sensitive,
            plan.notes,
        )
        self._stats.hit(tier, latency)
        if _CACHE_LOG.debugs:
            _CACHE_LOG.debug("%s answered from %s", plan.name, tier, execution_id=state.execution_id)
        if self._observers.hear_end:
            self._observers.finished(finished_event(state, result, self._prompt(state)), track=True)
        return result

    def _done(self, state: ExecutionState, result: ExecutionResult) -> ExecutionResult:
        self._stats.finished(result.usage, result.cost, result.latency)
        if _LOG.debugs:
            _LOG.debug(
                "%s answered by %s in %.3f s",
                state.plan.name,
                result.model,
                result.latency,
                execution_id=state.execution_id,
            )
        if self._observers.hear_end:
            self._observers.finished(finished_event(state, result, self._prompt(state)), track=True)
        return result

    def _prompt(self, state: ExecutionState) -> PromptTemplate | None:
        return state.plan.prompt if self._observers.wants_prompts else None

    # -- failures -----------------------------------------------------------------------------------------------

    def _name(self, state: ExecutionState, error: ExecutionError) -> None:
        error.execution_id, error.signature = state.execution_id, state.plan.name
        error.attempts = state.attempts

    def _failed(self, state: ExecutionState, error: BaseException) -> None:
        self._stats.finished(state.usage, state.cost, state.latency, type(error).__name__)
        _LOG.info(
            "%s failed after %.3f s: %s",
            state.plan.name,
            state.latency,
            type(error).__name__,
            execution_id=state.execution_id,
        )
        if self._observers.hear_end:
            self._observers.finished(failed_event(state, error, self._prompt(state)), track=True)


def _next_plan(choice: ModelChoice, failure: ExecutionError) -> Step:
    """Return the work of taking the next model, which may have to be loaded."""

    def take() -> CallPlan:
        return choice.next_plan(failure)

    async def atake() -> CallPlan:
        return await asyncio.to_thread(take)

    return Step(take, atake)


def _within_circuit(choice: ModelChoice, calls: Steps) -> Steps:
    with choice.admitted():
        return (yield from calls)


_NO_USAGE = Usage()
_LOG: Final = AreaLogger("execution")
_CACHE_LOG: Final = AreaLogger("cache")
