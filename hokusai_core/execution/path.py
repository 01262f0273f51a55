"""The one path that every execution walks, single or in a batch, chained, synchronous or not.

    resolve -> bind -> validate inputs -> cache look-up -> language model -> validate outputs -> cache store -> observe

``begin`` does what needs no waiting, up to an answer from the memory cache, as a plain function: that is all that a
cache hit costs. ``answer`` does the rest as a generator of operations, which ``drive`` and ``adrive`` run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any

from hokusai_core.caching import CacheEntry
from hokusai_core.caching.explain import explain
from hokusai_core.errors import ExecutionError, RateLimitedError
from hokusai_core.events import StageTiming
from hokusai_core.execution.attempts import Attempts, too_late
from hokusai_core.execution.checks import Checks
from hokusai_core.execution.events import failed_event, finished_event, started_event
from hokusai_core.execution.flights import Flight, Flights, LeaderLeft
from hokusai_core.execution.operations import Abandoned, Operation, OwnThread, Step, Wait
from hokusai_core.execution.rehearsal import rehearse
from hokusai_core.results import ExecutionResult, ExecutionTrace, Usage
from hokusai_core.signatures import encode_outputs

if TYPE_CHECKING:
    from hokusai_core.caching.explain import CacheExplanation
    from hokusai_core.execution.cache_stage import CacheStage
    from hokusai_core.execution.feedback_stage import FeedbackStage
    from hokusai_core.execution.limits import RateLimits
    from hokusai_core.execution.observers import Observers
    from hokusai_core.execution.run import Run
    from hokusai_core.execution.stats import Stats
    from hokusai_core.execution.threads import CallThreads
    from hokusai_core.plugins import PluginManager
    from hokusai_core.protocols import Validator

__all__ = ["ExecutionPath"]

Answering = Generator[Operation, Any, ExecutionResult]


class ExecutionPath:
    """The path of one executor.

    Args:
        plugins: whose ``check_execution`` hooks are asked.
        cache: the cache stage, None where caching is off.
        observers: who hears of executions.
        stats: what counts them.
        threads: where calls run that a deadline bounds.
        limits: rate limits that calls of a language model keep to, or None.
        validators: returns the validators of plugins, name -> validator.
        feedback: keeps executions that feedback is wanted on.
    """

    def __init__(
        self,
        *,
        plugins: PluginManager,
        cache: CacheStage | None,
        observers: Observers,
        stats: Stats,
        threads: CallThreads,
        limits: RateLimits | None,
        validators: Callable[[], Mapping[str, Validator]],
        feedback: FeedbackStage,
    ) -> None:
        self._plugins, self._cache, self._observers, self._stats = plugins, cache, observers, stats
        self._feedback = feedback
        self._checks = Checks(plugins, validators)
        self._attempts = Attempts(self._checks, threads, limits)
        self._flights: Flights[CacheEntry] = Flights()

    # -- without waiting ----------------------------------------------------------------------------------------

    def bind(self, run: Run, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Bind and validate ``inputs`` and return them as they will be used.

        Raises:
            InputError: the inputs do not fit; carries every problem.
        """
        run.inputs = run.plan.spec.binder.bind(inputs)
        self._checks.inputs(run.plan, run.inputs)
        return run.inputs

    def begin(self, run: Run, inputs: Mapping[str, Any], *, keep_trace: bool) -> ExecutionResult | None:
        """Bind and validate ``inputs``, and return the answer where the memory cache has it.

        Raises:
            InputError: the inputs do not fit; carries every problem.
        """
        plan = run.plan
        run.inputs = plan.spec.binder.bind(inputs)
        bound = time.perf_counter()
        self._checks.inputs(run.plan, run.inputs)
        if self._cache is None or plan.keys is None or run.options.cache == "off":
            self._note_begin(run, bound)
            return None
        try:
            run.key = key = plan.keys.key(run.inputs)
        except (TypeError, ValueError):  # such as a number of more digits than may be written
            self._note_begin(run, bound)
            return None
        if run.options.reads_cache and not run.options.collect_feedback:  # keeping it has to be waited for
            entry = self._cache.remembered(key, run.started_at, run.ttl)
            if entry is not None and run.fresh(entry):
                if keep_trace or self._observers.hear_end:
                    self._note_begin(run, bound, cache=True)
                return self._from_entry(run, entry, "memory", keep_trace=keep_trace)
        self._note_begin(run, bound)
        return None

    def rehearse(self, run: Run, inputs: Mapping[str, Any]) -> ExecutionResult:
        """Answer without a language model, a cache or a tracker (testing mode)."""
        plan = run.plan
        self.bind(run, inputs)
        outputs = rehearse(plan.spec, run.inputs)
        result = self._result(run, outputs, keep_trace=False)
        self._stats.finished(result.usage, None, result.latency)
        if self._observers.hear_end:
            self._observers.finished(finished_event(run, result), track=False)
        return result

    def explain(self, run: Run) -> CacheExplanation:
        """Explain what the cache would do with an execution whose inputs are bound."""
        return explain(run, self._cache, lambda entry: self._checks.accept(run.plan, run.inputs, entry))

    def _note_begin(self, run: Run, bound: float, *, cache: bool = False) -> None:
        run.stages.append(StageTiming("bind", 0.0, bound - run.started))
        now = run.stage("validate_inputs", bound)
        if cache:
            run.stage("cache_lookup", now)

    # -- with waiting -------------------------------------------------------------------------------------------

    def answer(self, run: Run, *, keep_trace: bool) -> Answering:
        """Yield what has to be waited for, and return the result."""
        if self._observers.hear_start:
            self._observers.started(started_event(run))
        try:
            if run.key is None or not run.options.reads_cache:
                result = yield from self._fresh(run, keep_trace=keep_trace)
            else:
                result = yield from self._shared(run, keep_trace=keep_trace)
            if run.options.collect_feedback:
                yield from self._keep(run, result)
            return result
        except ExecutionError as error:
            self._name(run, error)
            self._failed(run, error)
            raise
        except BaseException as error:  # cancellation, Ctrl-C, a bug: observers hear of it, nothing swallows it
            self._failed(run, error)
            raise

    def _keep(self, run: Run, result: ExecutionResult) -> Generator[Operation, Any, None]:
        """Keep the execution for feedback, before its caller has the id that feedback is given on."""
        event, spec, feedback = finished_event(run, result), run.plan.spec, self._feedback
        if (yield Step(lambda: feedback.keep(event, spec), lambda: feedback.akeep(event, spec))):
            self._observers.remember(run.execution_id)

    def _fresh(self, run: Run, *, keep_trace: bool) -> Answering:
        outputs = yield from self._attempts.call(run, keep_trace=keep_trace)
        result = self._result(run, outputs, keep_trace=keep_trace)
        entry = None if run.key is None else self._entry(run, outputs)
        if entry is not None:
            self._remember(entry)
            yield from self._persist(run, entry)
        return self._done(run, result)

    def _shared(self, run: Run, *, keep_trace: bool) -> Answering:
        # Outside of any flight, which would cost half as much again; unless one is under way, whose leader has looked.
        if self._looks_up(run) and not self._flights.under_way(run.key or ""):
            stored, tier = yield from self._stored(run)
            if stored is not None:
                return self._from_entry(run, stored, tier, keep_trace=keep_trace)
        while True:
            flight, leads = self._flights.join(run.key or "", run.options.retry.retries)
            if leads:
                return (yield from self._lead(run, flight, keep_trace=keep_trace))
            try:
                entry = yield Wait(flight.outcome, flight.thread, run.deadline, run.place)
            except LeaderLeft:
                continue
            except OwnThread:  # a blocking call inside a task, while another task of that event loop leads
                return (yield from self._fresh(run, keep_trace=keep_trace))
            except Abandoned as abandoned:
                raise too_late(run, stopped=abandoned.stopped) from None
            except ExecutionError as error:
                if error.retryable and flight.retries < run.options.retry.retries:
                    continue  # this caller wants more tries than the leader made
                if run.place is not None and isinstance(error, RateLimitedError):
                    continue  # its leader had no window in which to wait
                failure = error.replica()
            else:
                return self._from_entry(run, entry, "shared", keep_trace=keep_trace)
            raise failure  # out here, where Python leaves the cause alone

    def _lead(self, run: Run, flight: Flight[CacheEntry], *, keep_trace: bool) -> Answering:
        try:
            entry = self._remembered(run)  # another leader may just have landed
            if entry is not None:
                self._flights.land(flight, answer=entry)
                return self._from_entry(run, entry, "memory", keep_trace=keep_trace)
            outputs = yield from self._attempts.call(run, keep_trace=keep_trace)
            entry = self._entry(run, outputs)
            if entry is not None:
                self._remember(entry)
                self._flights.land(flight, answer=entry)
                yield from self._persist(run, entry)
            return self._done(run, self._result(run, outputs, keep_trace=keep_trace))
        except ExecutionError as error:
            if error.shared and not flight.outcome.done():
                self._flights.land(flight, error=error)
            raise
        finally:
            self._flights.leave(flight)

    def _looks_up(self, run: Run) -> bool:
        # What a batch has refreshed itself is in memory; whatever else is stored is not fresh.
        persists = self._cache is not None and self._cache.persistent is not None and run.plan.persist
        return persists and run.options.fresh_since is None

    def _remembered(self, run: Run) -> CacheEntry | None:
        cache = self._cache
        entry = None if cache is None or run.key is None else cache.remembered(run.key, time.time(), run.ttl)
        return None if entry is None or not run.fresh(entry) else entry

    def _stored(self, run: Run) -> Generator[Operation, Any, tuple[CacheEntry | None, str]]:
        """Look into the persistent tier."""
        cache, key, ttl = self._cache, run.key, run.ttl
        if cache is None or cache.persistent is None or key is None:
            return None, ""
        since = time.perf_counter()
        entry = yield Step(
            lambda: cache.look_up(key, time.time(), ttl, run.fits),
            lambda: cache.alook_up(key, time.time(), ttl, run.fits),
        )
        run.stage("cache_lookup", since)
        if entry is None or not self._checks.accept(run.plan, run.inputs, entry):
            return None, ""
        cache.remember(entry)
        return entry, cache.persistent.tier

    # -- results ------------------------------------------------------------------------------------------------

    def _entry(self, run: Run, outputs: Mapping[str, Any]) -> CacheEntry | None:
        plan, now, usage = run.plan, time.time(), run.usage
        ttl = run.ttl
        try:
            encoded = encode_outputs(plan.spec, outputs)
        except (TypeError, ValueError):  # a program may return what has no JSON form: it is an answer all the same
            return None
        return CacheEntry(
            key=run.key or "",
            signature=plan.name,
            outputs=bytes(memoryview(encoded)),  # orjson leaves the 4 KB of its buffer to each of its texts
            model=plan.model_name,
            created_at=now,
            expires_at=None if ttl is None else now + ttl,
            latency=run.latency,
            cost=run.cost,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            parts={} if plan.keys is None else plan.keys.explain(run.inputs),
        )

    def _persists(self, run: Run) -> bool:
        return self._cache is not None and self._cache.persistent is not None and run.plan.persist

    def _remember(self, entry: CacheEntry) -> None:
        if self._cache is not None:
            self._cache.remember(entry)

    def _persist(self, run: Run, entry: CacheEntry) -> Generator[Operation, Any, None]:
        cache = self._cache
        if cache is None or not self._persists(run):
            return
        since = time.perf_counter()
        yield Step(lambda: cache.persist(entry), lambda: cache.apersist(entry))
        run.stage("cache_store", since)

    def _result(self, run: Run, outputs: Mapping[str, Any], *, keep_trace: bool) -> ExecutionResult:
        plan = run.plan
        return ExecutionResult(
            outputs=outputs,
            execution_id=run.execution_id,
            signature=plan.name,
            signature_version=plan.spec.version,
            fingerprint=plan.spec.fingerprint,
            model=plan.model_name,
            usage=run.usage,
            cost=run.cost,
            latency=run.latency,
            attempts=tuple(run.attempts),
            trace=ExecutionTrace(tuple(run.stages), tuple(run.exchanges)) if keep_trace else None,
        )

    def _from_entry(self, run: Run, entry: CacheEntry, tier: str, *, keep_trace: bool) -> ExecutionResult:
        plan = run.plan
        latency = run.latency
        result = ExecutionResult(
            run.take_outputs(entry),
            run.execution_id,
            plan.name,
            plan.spec.version,
            plan.spec.fingerprint,
            entry.model,
            _NO_USAGE,
            0.0,
            latency,
            tier,
            max(0.0, run.started_at - entry.created_at),
            entry.latency,
            entry.cost,
            (),
            ExecutionTrace(tuple(run.stages)) if keep_trace else None,
        )
        self._stats.hit(tier, latency)
        if self._observers.hear_end:
            self._observers.finished(finished_event(run, result), track=True)
        return result

    def _done(self, run: Run, result: ExecutionResult) -> ExecutionResult:
        self._stats.finished(result.usage, result.cost, result.latency)
        if self._observers.hear_end:
            self._observers.finished(finished_event(run, result), track=True)
        return result

    # -- failures -----------------------------------------------------------------------------------------------

    def _name(self, run: Run, error: ExecutionError) -> None:
        error.execution_id, error.signature = run.execution_id, run.plan.name
        error.attempts = tuple(run.attempts)

    def _failed(self, run: Run, error: BaseException) -> None:
        self._stats.finished(run.usage, run.cost, run.latency, type(error).__name__)
        if self._observers.hear_end:
            self._observers.finished(failed_event(run, error), track=True)


_NO_USAGE = Usage()
