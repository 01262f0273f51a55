"""The one path that every execution walks, single or in a batch, chained, synchronous or not.

    resolve -> bind -> validate inputs -> cache look-up -> language model -> validate outputs -> cache store -> observe

``begin`` does what needs no waiting, up to an answer from the memory cache, as a plain function: that is all that a
cache hit costs. ``answer`` does the rest as a generator of operations, which ``drive`` and ``adrive`` run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hokusai_core.caching import CacheEntry
from hokusai_core.errors import DeadlineExceeded, ExecutionError, InputError, OutputError, PluginError
from hokusai_core.execution.events import failed_event, finished_event, started_event
from hokusai_core.execution.flights import Flights, LeaderLeft
from hokusai_core.execution.operations import Abandoned, Call, Operation, Pause, Step, Wait
from hokusai_core.execution.rehearsal import rehearse
from hokusai_core.results import Attempt, ExecutionResult, ExecutionTrace, Problem, Usage
from hokusai_core.signatures import decode_outputs, encode_outputs

if TYPE_CHECKING:
    from hokusai_core.execution.cache_stage import CacheStage
    from hokusai_core.execution.limits import RateLimits
    from hokusai_core.execution.observers import Observers
    from hokusai_core.execution.run import Run
    from hokusai_core.execution.stats import Stats
    from hokusai_core.execution.threads import CallThreads
    from hokusai_core.plugins import PluginManager
    from hokusai_core.protocols import Validator

__all__ = ["ExecutionPath"]

Steps = Generator[Operation, Any, dict[str, Any]]
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
    ) -> None:
        self._plugins, self._cache, self._observers, self._stats = plugins, cache, observers, stats
        self._threads, self._limits, self._validators = threads, limits, validators
        self._flights: Flights[CacheEntry] = Flights()

    # -- without waiting ----------------------------------------------------------------------------------------

    def bind(self, run: Run, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Bind and validate ``inputs`` and return them as they will be used.

        Raises:
            InputError: the inputs do not fit; carries every problem.
        """
        run.inputs = run.plan.spec.binder.bind(inputs)
        self._validate_inputs(run)
        return run.inputs

    def begin(self, run: Run, inputs: Mapping[str, Any], *, keep_trace: bool) -> ExecutionResult | None:
        """Bind and validate ``inputs``, and return the answer where the memory cache has it.

        Raises:
            InputError: the inputs do not fit; carries every problem.
        """
        plan = run.plan
        run.inputs = plan.spec.binder.bind(inputs)
        bound = time.perf_counter()
        self._validate_inputs(run)
        if self._cache is None or plan.keys is None or run.options.cache == "off":
            self._note_begin(run, bound)
            return None
        run.key = plan.keys.key(run.inputs)
        if run.options.cache == "use":
            entry = self._cache.remembered(run.key, run.started_at, run.ttl)
            if entry is not None:
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

    def _validate_inputs(self, run: Run) -> None:
        plan = run.plan
        problems: list[Problem] = []
        for name, validator in self._validators().items():
            problems += self._asked(name, validator.validate_inputs, plan.spec, run.inputs)
        if problems:
            raise input_error(plan.name, problems)
        if self._plugins.implements("check_execution"):
            self._plugins.check("check_execution", signature=plan.spec, inputs=run.inputs)

    def _asked(self, name: str, ask: Callable[..., Sequence[Problem]], *arguments: Any) -> Sequence[Problem]:
        try:
            return ask(*arguments)
        except Exception as error:
            # Going on would skip a check that somebody relies on.
            raise PluginError(
                f"validator {name!r} failed ({type(error).__name__}: {error}); mend it, or leave its plugin out with "
                "HOKUSAI_DISABLE_PLUGINS"
            ) from error

    def _note_begin(self, run: Run, bound: float, *, cache: bool = False) -> None:
        from hokusai_core.events import StageTiming

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
            if run.key is None or run.options.cache == "refresh":
                return (yield from self._fresh(run, keep_trace=keep_trace))
            return (yield from self._shared(run, keep_trace=keep_trace))
        except ExecutionError as error:
            self._name(run, error)
            self._failed(run, error)
            raise
        except BaseException as error:  # cancellation, Ctrl-C, a bug: observers hear of it, nothing swallows it
            self._failed(run, error)
            raise

    def _fresh(self, run: Run, *, keep_trace: bool) -> Answering:
        outputs = yield from self._call(run, keep_trace=keep_trace)
        result = self._result(run, outputs, keep_trace=keep_trace)
        if run.key is not None:
            entry = self._entry(run, outputs)
            self._remember(entry)
            yield from self._persist(run, entry)
        return self._done(run, result)

    def _shared(self, run: Run, *, keep_trace: bool) -> Answering:
        while True:
            flight, leads = self._flights.join(run.key or "")
            if leads:
                break
            try:
                entry = yield Wait(flight.outcome, run.deadline)
            except LeaderLeft:
                continue
            except Abandoned as abandoned:
                raise self._too_late(run, abandoned) from None
            except ExecutionError as error:
                raise error.replica() from None
            return self._from_entry(run, entry, "shared", keep_trace=keep_trace)
        landed = False
        try:
            entry, tier = yield from self._found(run)
            if entry is not None and tier is not None:
                self._flights.land(flight, answer=entry)
                landed = True
                return self._from_entry(run, entry, tier, keep_trace=keep_trace)
            outputs = yield from self._call(run, keep_trace=keep_trace)
            entry = self._entry(run, outputs)
            self._remember(entry)
            self._flights.land(flight, answer=entry)
            landed = True
            yield from self._persist(run, entry)
            return self._done(run, self._result(run, outputs, keep_trace=keep_trace))
        except ExecutionError as error:
            if not landed and error.shared:
                self._flights.land(flight, error=error)
                landed = True
            raise
        finally:
            if not landed:
                self._flights.leave(flight)

    def _found(self, run: Run) -> Generator[Operation, Any, tuple[CacheEntry | None, str | None]]:
        """Look again in memory, since another leader may just have landed, and then in the persistent tier."""
        cache, key, ttl = self._cache, run.key, run.ttl
        if cache is None or key is None:
            return None, None
        since = time.perf_counter()
        entry = cache.remembered(key, time.time(), ttl)
        if entry is not None:
            return entry, "memory"
        if cache.persistent is not None and run.plan.persist:
            entry = yield Step(
                lambda: cache.look_up(key, time.time(), ttl, run.fits),
                lambda: cache.alook_up(key, time.time(), ttl, run.fits),
            )
        run.stage("cache_lookup", since)
        return entry, cache.persistent.tier if entry is not None and cache.persistent is not None else None

    def _call(self, run: Run, *, keep_trace: bool) -> Steps:
        """Call the language model until there is an answer that fits, or no reason to try again."""
        number = 0
        while True:
            number += 1
            since = time.perf_counter()
            try:
                outputs = yield from self._attempt(run, number, keep_trace=keep_trace)
            except ExecutionError as error:
                run.stage("language_model", since)
                wait = run.options.retry.wait(number, error)
                if wait is None:
                    raise
                try:
                    yield Pause(wait, run.deadline)
                except Abandoned:
                    raise error from None  # the deadline leaves no room for another try: this is why it failed
            else:
                return outputs

    def _attempt(self, run: Run, number: int, *, keep_trace: bool) -> Steps:
        # Not at the top: the bridge brings dspy along, which listing signatures must not wait for.
        from hokusai_core.execution.gate import CallGate, ChargingMeter

        plan, budget = run.plan, run.options.budget
        meter = ChargingMeter(keep_exchanges=keep_trace, budget=budget, limits=self._limits)
        gate = CallGate(run.deadline, budget, self._limits) if budget is not None or self._limits is not None else None
        since = time.perf_counter()
        call = plan.calls.prepare(run.inputs, recorder=meter, gate=gate, deadline=run.deadline.at, attempt=number)
        outcome = "failed"
        error: BaseException | None = None
        try:
            outputs = yield Call(call.run, call.arun, run.deadline, self._threads, inline=call.keeps_deadline)
            now = run.stage("language_model", since)
            # Settled as a stored answer would be read back, so that fresh and cached answers are the same.
            outputs, found = plan.spec.codec.settle(run.inputs, outputs)
            problems = list(found)
            for name, validator in self._validators().items():
                problems += self._asked(name, validator.validate_outputs, plan.spec, run.inputs, outputs)
            run.stage("validate_outputs", now)
            if problems:
                raise OutputError(f"the answer does not fit {plan.name}: " + "; ".join(map(str, problems)))
            outcome = "ok"
            return outputs
        except Abandoned as abandoned:
            outcome = "cancelled" if abandoned.stopped else "abandoned"
            error = self._too_late(run, abandoned)
            raise error from None
        except ExecutionError as failure:
            error = failure
            raise
        except BaseException as interruption:
            outcome, error = "cancelled", interruption
            raise
        finally:
            run.attempts.append(
                Attempt(
                    number=number,
                    outcome=outcome,  # type: ignore[arg-type]  # one of the four words
                    latency=time.perf_counter() - since,
                    model=plan.model_name,
                    usage=meter.usage,
                    cost=meter.cost,
                    error=None if error is None else f"{type(error).__name__}: {error}",
                )
            )
            run.exchanges.extend(meter.exchanges)

    # -- results ------------------------------------------------------------------------------------------------

    def _entry(self, run: Run, outputs: Mapping[str, Any]) -> CacheEntry:
        plan, now, usage = run.plan, time.time(), run.usage
        ttl = run.ttl
        return CacheEntry(
            key=run.key or "",
            signature=plan.name,
            outputs=encode_outputs(plan.spec, outputs),
            model=plan.model_name,
            created_at=now,
            expires_at=None if ttl is None else now + ttl,
            latency=run.latency,
            cost=run.cost,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            parts=plan.keys.explain(run.inputs) if plan.keys is not None and self._persists(run) else {},
        )

    def _persists(self, run: Run) -> bool:
        return self._cache is not None and self._cache.persistent is not None and run.plan.persist

    def _remember(self, entry: CacheEntry) -> None:
        if self._cache is not None:
            self._cache.memory.put(entry)

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
            decode_outputs(plan.spec, entry.outputs),
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

    def _too_late(self, run: Run, abandoned: Abandoned) -> DeadlineExceeded:
        under_way = "was cancelled" if abandoned.stopped else "was abandoned and runs on in its thread"
        return DeadlineExceeded(
            f"{run.plan.name} took longer than its timeout of {run.deadline.timeout:g} s; what was under way "
            f"{under_way}. Give it more time with timeout=..., or a faster model with lm=..."
        )

    def _name(self, run: Run, error: ExecutionError) -> None:
        error.execution_id, error.signature = run.execution_id, run.plan.name
        error.attempts = tuple(run.attempts)

    def _failed(self, run: Run, error: BaseException) -> None:
        self._stats.finished(run.usage, run.cost, run.latency, type(error).__name__)
        if self._observers.hear_end:
            self._observers.finished(failed_event(run, error), track=True)


_NO_USAGE = Usage()


def input_error(signature: str, problems: Sequence[Problem]) -> InputError:
    """Return the error that carries ``problems`` of inputs for ``signature``."""
    lines = "".join(f"\n  {problem}" for problem in problems)
    return InputError(f"the inputs do not fit {signature}:{lines}", problems=problems, signature=signature)
