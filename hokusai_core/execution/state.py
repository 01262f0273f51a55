"""ExecutionState: the request and the state of one execution as it passes through the pipeline."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

from attrs import define, field, frozen

from hokusai_core.results import Attempt, ModelExchange, StageTiming, Usage, known_cost
from hokusai_core.runtime.deadline import UNBOUNDED, Deadline
from hokusai_core.settings import UNSET, Unset
from hokusai_core.stored_answer import split_answer

if TYPE_CHECKING:
    from hokusai_core.cache_entry import CacheEntry
    from hokusai_core.cache_lease import CacheLease
    from hokusai_core.errors import ExecutionError
    from hokusai_core.execution.budget import Budget
    from hokusai_core.execution.call_plan import CallPlan
    from hokusai_core.execution.model_choice import ModelChoice
    from hokusai_core.execution.streaming import StreamEmitter
    from hokusai_core.runtime.window import Permit
    from hokusai_core.signatures.strategy_choice import StrategyChoice

__all__ = ["CacheUse", "CallPlacement", "ExecutionState", "Options", "RetryPolicy"]

CacheUse = Literal["use", "refresh", "off"]


@frozen
class RetryPolicy:
    """Exponential backoff with full jitter, as the AWS Architecture Blog describes it.

    Only errors that say of themselves that they are retryable are tried again: transport failures, rate limits,
    server errors and answers that could not be parsed.

    Args:
        retries: tries after the first.
        base: seconds of the first wait at most.
        ceiling: seconds of any wait at most, where the provider does not ask for longer.
    """

    retries: int = 0
    base: float = 0.5
    ceiling: float = 30.0

    def wait(self, attempt: int, error: ExecutionError) -> float | None:
        """Return the seconds to wait before the next try, or None where there is to be none.

        Args:
            attempt: number of the try that failed, from 1.
            error: how it failed.
        """
        if attempt > self.retries or not error.retryable:
            return None
        if error.retry_after is not None:
            return max(0.0, error.retry_after)  # the deadline bounds it: a provider may ask for an hour
        return random.uniform(0.0, min(self.ceiling, self.base * 2 ** (attempt - 1)))  # noqa: S311  # no secret


class CallPlacement(Protocol):
    """Where the attempts of executions are made, if not here."""

    def calls(self, plan: CallPlan, number: int) -> Any:
        """Return what makes the attempts, in place of ``plan.calls``.

        Args:
            plan: the plan of the execution.
            number: place of its model in the policy; 0 without a policy.
        """
        ...


@frozen
class Options:
    """What the caller asked for beside signature and inputs, defaults of the executor filled in.

    Args:
        cache: ``use``, ``refresh`` (call, and store the new answer) or ``off``.
        cache_ttl: seconds for which the answer may be served, None for ever, ``UNSET`` for the plan's.
        timeout: seconds for the whole execution, None for no bound.
        retry: which failures are tried again.
        collect_feedback: whether the caller wants to give feedback later.
        tags: free tags for trackers.
        budget: what the calls are charged to.
        strategy: strategy of this call, None for the one that the signature declares.
        parameters: parameters of the language model that this call gives.
        parent_id: id of the batch, chain or pipeline around it.
        parent_kind: what that is: ``batch``, ``chain``, ``pipeline`` or ``parallel``.
        step: name of the execution within a chain or pipeline.
        fresh_since: with ``refresh``, the time (of ``time.time()``) since which a stored answer counts as fresh; so
            identical rows of a batch are refreshed once.
        placement: where attempts are made; None for here.
    """

    cache: CacheUse
    cache_ttl: float | Unset | None
    timeout: float | None
    retry: RetryPolicy
    collect_feedback: bool = False
    tags: Mapping[str, str] = field(factory=dict)
    budget: Budget | None = None
    strategy: StrategyChoice | None = None
    parameters: Mapping[str, Any] = field(factory=dict)
    parent_id: str | None = None
    parent_kind: str | None = None
    step: str | None = None
    fresh_since: float | None = None
    placement: CallPlacement | None = None

    @property
    def reads_cache(self) -> bool:
        """Whether a stored answer may be served."""
        return self.cache == "use" or self.fresh_since is not None


@define(eq=False)
class ExecutionState:
    """One execution under way.

    Args:
        plan: the signature and the language model, settled.
        options: what the caller asked for.
        deadline: when it must be over.
        permit: its permit in the window of a batch, None where it runs on its own.
        emitter: emits its events, None where they are not streamed.
        choice: which models of a policy are asked; None where only one is asked.
        whole: the deadline of all models together.
    """

    plan: CallPlan
    options: Options
    deadline: Deadline
    permit: Permit | None = None
    emitter: StreamEmitter | None = None
    choice: ModelChoice | None = None
    whole: Deadline = UNBOUNDED
    execution_id: str = field(factory=lambda: os.urandom(16).hex())
    started: float = field(factory=time.perf_counter)
    started_at: float = field(factory=time.time)
    inputs: dict[str, Any] = field(factory=dict, init=False)
    key: str | None = field(default=None, init=False)
    #: The lease that it holds on its key, where processes share calls.
    lease: CacheLease | None = field(default=None, init=False)
    # Tuples: a hit makes none, and pays for no list.
    attempts: tuple[Attempt, ...] = field(default=(), init=False)
    exchanges: tuple[ModelExchange, ...] = field(default=(), init=False)
    extras: Mapping[str, Any] = field(factory=dict, init=False)
    #: Name, begin and duration of every stage; few executions are asked for them.
    stages: tuple[tuple[str, float, float], ...] = field(default=(), init=False)
    _decoded: tuple[CacheEntry, dict[str, Any], dict[str, Any]] | None = field(default=None, init=False)

    def start_clock(self, elapsed: float) -> None:
        """Begin the time of the execution, ``elapsed`` seconds ago."""
        self.whole = self.deadline = Deadline.after(self.options.timeout, elapsed=elapsed)
        if self.choice is not None:
            self.bound_model()

    def extend_clock(self, seconds: float) -> None:
        """Give the execution more time: it waits for other calls."""
        self.whole, self.deadline = self.whole.later(seconds), self.deadline.later(seconds)

    def drop_attempt(self) -> None:
        """Forget the last attempt, in which no call was made."""
        self.attempts, self.stages = self.attempts[:-1], self.stages[:-1]

    def bound_model(self) -> None:
        """Begin the time of the model that is asked now."""
        self.deadline = self.whole if self.choice is None else self.whole.within(self.choice.timeout)

    def note_unloaded(self) -> None:
        """Keep the models of a policy that could not be loaded as attempts without a call."""
        if self.choice is not None:
            for attempt in self.choice.take_unloaded(len(self.attempts)):
                self.attempts += (attempt,)
                began = max(0.0, self.latency - attempt.latency)
                self.stages += (("language_model", began, attempt.latency),)

    @property
    def calls(self) -> Any:
        """What makes the attempts."""
        placement = self.options.placement
        if placement is None:
            return self.plan.calls
        return placement.calls(self.plan, 0 if self.choice is None else self.choice.number)

    @property
    def can_move_on(self) -> bool:
        """Whether another model could be asked in place of this one."""
        return self.choice is not None and self.choice.has_next

    def stage(self, name: str, since: float) -> float:
        """Note that a stage which began at ``since`` (of ``time.perf_counter``) is over; return the time now."""
        now = time.perf_counter()
        self.stages += ((name, since - self.started, now - since),)
        return now

    @property
    def timings(self) -> tuple[StageTiming, ...]:
        """The stages so far."""
        return tuple(StageTiming(*stage) for stage in self.stages)

    def fresh(self, entry: CacheEntry) -> bool:
        """Return whether a stored entry is as new as was asked for."""
        since = self.options.fresh_since
        return since is None or entry.created_at >= since

    def fits(self, entry: CacheEntry) -> bool:
        """Return whether the outputs in a stored entry are such as this execution may give back.

        A store is an input like any other: who can write to it decides what it holds.
        """
        spec = self.plan.spec
        try:
            text, extras = split_answer(entry.outputs)
            outputs = spec.codec.decode(text)
        except ValueError:
            return False
        if spec.codec.check(self.inputs, outputs):
            return False
        self._decoded = entry, outputs, extras
        return True

    def take_outputs(self, entry: CacheEntry) -> dict[str, Any]:
        """Return the typed outputs of an entry, and note its extras; what ``fits`` has decoded is not decoded again."""
        decoded = self._decoded
        if decoded is not None and decoded[0] is entry:
            self._decoded = None
            self.extras = decoded[2]
            return decoded[1]
        text = entry.outputs
        if self.plan.strategy is not None:
            text, self.extras = split_answer(text)
        return self.plan.spec.codec.decode(text)

    @property
    def ttl(self) -> float | None:
        """Seconds for which the answer may be served: the call's, else the signature's, else the executor's."""
        asked = self.options.cache_ttl
        return self.plan.cache_ttl if asked is UNSET else asked

    @property
    def latency(self) -> float:
        """Seconds since the execution began."""
        return time.perf_counter() - self.started

    @property
    def usage(self) -> Usage:
        """Tokens of all attempts."""
        attempts = self.attempts
        if len(attempts) == 1:  # as nearly always
            return attempts[0].usage
        return sum((attempt.usage for attempt in attempts), Usage())

    @property
    def cost(self) -> float | None:
        """Estimated US dollars of all attempts, None where no price is known."""
        attempts = self.attempts
        return attempts[0].cost if len(attempts) == 1 else known_cost(attempt.cost for attempt in attempts)
