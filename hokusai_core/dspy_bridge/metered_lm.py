"""MeteredLM: the wrapper through which every call of a language model goes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import dspy
from attrs import define, field
from dspy import BaseLM, settings
from dspy.clients._deprecation import adapter_message_call
from dspy.clients.call_result import CallResult
from dspy.clients.execution import finalize
from dspy.utils.callback import with_callbacks

from hokusai_core.call_records import CallEstimate, CallGuard, CallRecord, Recorder, usage_of
from hokusai_core.dspy_bridge.answer_ending import AnswerEnding, ending_of
from hokusai_core.dspy_bridge.engine_calls import (
    acomplete,
    complete,
    has_async_engine,
    is_managed,
    is_public_call_plain,
    prepare_call,
)
from hokusai_core.dspy_bridge.model_prices import cost_of_usage, is_free, is_priced, price_entry
from hokusai_core.dspy_bridge.streamed_calls import OnText, acomplete_streamed, complete_streamed
from hokusai_core.dspy_bridge.unmetered_calls import CallRefused, UsageRelay, host_callbacks
from hokusai_core.errors import DeadlineExceeded
from hokusai_core.media import without_content
from hokusai_core.price_table import PriceTable
from hokusai_core.results import ModelExchange, Usage
from hokusai_core.runtime.drivers import outcome
from hokusai_core.runtime.worker_threads import WorkerThreads

__all__ = ["MeteredLM"]

_log = logging.getLogger(__name__)
_NO_ENDING = AnswerEnding()


@define
class _Tally:
    """What a facade and its copies have done."""

    used: Usage = Usage()
    ending: AnswerEnding = _NO_ENDING
    failure: Exception | None = None
    #: Whether a refused call ends the module that makes it.
    ends_module: bool = False
    #: Language models of a program itself that were called, by name.
    others: dict[str, Any] = field(factory=dict)


def _of_wrapped(name: str) -> Any:
    """Return a property that reads ``name`` of the wrapped language model; ``BaseLM`` has one of that name, too."""
    return property(lambda metered: getattr(metered.wrapped, name), doc="That of the wrapped language model.")


class MeteredLM(BaseLM):
    """A wrapper of a language model that asks a gate before each call and reports each call.

    It is a ``dspy.BaseLM``, so adapters, predictors and optimizers take it for the language model itself; whatever
    they read of it is the language model's own. What it changes:

    - one call is one attempt: DSPy's retries and its cache are off;
    - ``gate`` is asked before a call, ``recorder`` gets a record after it;
    - a language model without an asynchronous engine can be awaited: the call gets a thread;
    - callbacks of the host fire as ever, once, and with the host's language model as their instance. Where there are
      none, the engine is called without the detours that DSPy takes for them.

    The language model is never changed and never copied. Retries that a subclass makes in its own ``forward`` or
    ``__call__`` are its own business.

    Args:
        lm: the language model.
        recorder: receives a record of every call.
        gate: is asked before every call; None for no gate.
        deadline: no call begins after it, in seconds of ``time.monotonic()``. A program whose caller has given up
            must not go on paying.
        whole_answers: whether an answer that was cut off or withheld is an error. A program decides for itself.
        parameters: parameters of every call, which those that a program gives itself go before.
        prices: prices that go before those of DSPy.

    """

    num_retries = 0

    def __init__(
        self,
        lm: Any,
        recorder: Recorder,
        *,
        gate: CallGuard | None = None,
        deadline: float | None = None,
        whole_answers: bool = False,
        parameters: Mapping[str, Any] | None = None,
        prices: PriceTable | None = None,
    ) -> None:
        # BaseLM.__init__ would give this facade parameters and a history of its own.
        self._lm, self._recorder, self._gate = lm, recorder, gate
        self._deadline, self._whole_answers = deadline, whole_answers
        self._parameters, self._prices = parameters or {}, prices
        self._tally = _Tally()
        #: Takes the pieces of the next answers; None for answers that come as a whole.
        self.on_text: OnText | None = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_lm" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self._lm, name)

    def __deepcopy__(self, memo: dict[int, Any]) -> MeteredLM:
        return self  # optimizers copy programs, and the copies' calls are metered here as well

    def __repr__(self) -> str:
        return f"<MeteredLM {self._lm.model}>"

    @property
    def wrapped(self) -> Any:
        """The language model itself."""
        return self._lm

    @staticmethod
    def awaitable(lm: Any) -> bool:
        """Whether ``lm`` can be awaited without a thread."""
        return has_async_engine(lm)

    @property
    def used(self) -> Usage:
        """Tokens of the calls so far, also of copies."""
        return self._tally.used

    @property
    def ending(self) -> AnswerEnding:
        """How the last answer ended."""
        return self._tally.ending

    @property
    def failure(self) -> Exception | None:
        """The error of the last call that failed or was refused, or None."""
        return self._tally.failure

    supports_function_calling = _of_wrapped("supports_function_calling")
    supports_reasoning = _of_wrapped("supports_reasoning")
    supports_response_schema = _of_wrapped("supports_response_schema")
    supported_params = _of_wrapped("supported_params")
    dump_state = _of_wrapped("dump_state")
    update_history = _of_wrapped("update_history")
    inspect_history = _of_wrapped("inspect_history")

    def copy(self, **changes: Any) -> MeteredLM:
        """Return the facade of a changed copy of the language model, with the same gate and recorder.

        What is changed goes before the parameters of the call.
        """
        twin = MeteredLM(
            self._lm.copy(**changes),
            self._recorder,
            gate=self._gate,
            deadline=self._deadline,
            whole_answers=self._whole_answers,
            parameters={name: value for name, value in self._parameters.items() if name not in changes},
            prices=self._prices,
        )
        twin._tally, twin.on_text = self._tally, self.on_text
        return twin

    def __call__(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        """Call the language model once and return its answers, as ``dspy.LM`` does."""
        kwargs = {**self._parameters, **kwargs}
        try:
            if self._gate is not None:
                self._gate.before(estimate_of(self._lm, prompt, messages, kwargs, self._prices))
            self._check_deadline(self._lm)
        except Exception as error:
            self._note_refusal(error)
            raise
        started = time.perf_counter()
        try:
            answer, result = self._perform_seen(prompt, messages, kwargs)
        except BaseException as error:
            self._note_failure(
                started, error, "failed" if isinstance(error, Exception) else "cancelled", prompt, messages
            )
            raise
        self._note(started, prompt, messages, result)
        return answer

    async def acall(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        """Async version of ``__call__``."""
        kwargs = {**self._parameters, **kwargs}
        try:
            if self._gate is not None:
                await self._gate.abefore(estimate_of(self._lm, prompt, messages, kwargs, self._prices))
            self._check_deadline(self._lm)
        except Exception as error:
            self._note_refusal(error)
            raise
        started = time.perf_counter()
        awaitable = self.awaitable(self._lm)
        try:
            if awaitable:
                with self._seen():
                    answer, result = await self._aperform(prompt, messages, kwargs)
            else:
                answer, result = await outcome(
                    WorkerThreads(keep=0).submit(lambda: self._perform_seen(prompt, messages, kwargs))
                )
        except asyncio.CancelledError as error:
            self._note_failure(started, error, "cancelled" if awaitable else "abandoned", prompt, messages)
            raise
        except BaseException as error:
            self._note_failure(started, error, "failed", prompt, messages)
            raise
        self._note(started, prompt, messages, result)
        return answer

    def end_module(self) -> None:
        """End the module that runs if one of its calls is refused, whatever exceptions it handles itself.

        What a module has found by then may look like its answer, and is not what was asked for.
        """
        self._tally.ends_module = True

    def _note_refusal(self, error: Exception) -> None:
        self._tally.failure = error
        if self._tally.ends_module:
            raise CallRefused(error) from None

    def _perform_seen(self, prompt: Any, messages: Any, kwargs: dict[str, Any]) -> tuple[Any, Any]:
        with self._seen():
            return self._perform(prompt, messages, kwargs)

    def _perform(self, prompt: Any, messages: Any, kwargs: dict[str, Any]) -> tuple[Any, Any]:
        lm, kwargs = self._lm, self._options(kwargs)
        if not is_public_call_plain(lm):
            with dspy.track_usage() as used, adapter_message_call(lm, messages):
                answer = lm(prompt, messages=messages, **kwargs)
            return answer, _reported(answer, used)
        results: list[Any] = []

        # The names of the parameters are what callbacks get as the call's inputs.
        def perform(instance: Any, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
            call = prepare_call(instance, prompt, messages, kwargs, asynchronous=False)
            if self.on_text is None:
                results.append(complete(instance, self, call))
            else:
                results.append(complete_streamed(instance, self, call, self.on_text))
            return finalize(instance, call, results[0])

        observed = with_callbacks(perform) if self._has_callbacks() else perform
        return observed(lm, prompt, messages=messages, **kwargs), results[0]

    async def _aperform(self, prompt: Any, messages: Any, kwargs: dict[str, Any]) -> tuple[Any, Any]:
        lm, kwargs = self._lm, self._options(kwargs)
        if not is_public_call_plain(lm):
            with dspy.track_usage() as used, adapter_message_call(lm, messages):
                answer = await lm.acall(prompt, messages=messages, **kwargs)
            return answer, _reported(answer, used)
        results: list[Any] = []

        async def perform(instance: Any, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
            call = prepare_call(instance, prompt, messages, kwargs, asynchronous=True)
            if self.on_text is None:
                results.append(await acomplete(instance, self, call))
            else:
                results.append(await acomplete_streamed(instance, self, call, self.on_text))
            return finalize(instance, call, results[0])

        observed = with_callbacks(perform) if self._has_callbacks() else perform
        return await observed(lm, prompt, messages=messages, **kwargs), results[0]

    def _options(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        options = {**kwargs, "cache": False}
        if is_managed(self._lm):
            options.pop("rollout_id", None)  # tells entries of DSPy's cache apart, and means nothing without it
        return options

    def _has_callbacks(self) -> bool:
        return bool(host_callbacks() or getattr(self._lm, "callbacks", None))

    def _seen(self) -> AbstractContextManager[None]:
        """Return the settings of a call that what looks for calls beside the meter must not see."""
        every = settings.callbacks
        callbacks = host_callbacks() if every else every
        if len(callbacks) == len(every):
            return nullcontext()
        tracker = settings.usage_tracker
        parent = tracker.parent if isinstance(tracker, UsageRelay) else tracker
        context: AbstractContextManager[None] = settings.context(usage_tracker=parent, callbacks=callbacks)
        return context

    def admit_unmetered(self, lm: Any, inputs: Mapping[str, Any]) -> None:
        """Ask the gate before a call that a program makes of a language model of its own.

        Args:
            lm: that language model.
            inputs: ``prompt``, ``messages`` and further arguments of the call.

        Raises:
            BudgetExceeded: the budget is spent, or the cost of the call would not be known.
            DeadlineExceeded: the deadline has passed.
        """
        self._tally.others[lm.model] = lm
        try:
            if self._gate is not None:
                self._gate.reserve(estimate_of(lm, inputs.get("prompt"), inputs.get("messages"), inputs, self._prices))
            self._check_deadline(lm)
        except Exception as error:
            self._tally.failure = error
            raise

    def note_unmetered(self, model: str, used: Mapping[str, Any]) -> None:
        """Record a call that a program has made of a language model of its own.

        Args:
            model: its name.
            used: tokens as DSPy writes them.
        """
        lm = self._tally.others.get(model)
        usage = usage_of(used)
        own = None if self._prices is None else self._prices.cost(model, usage)
        cost = own if own is not None or lm is None else cost_of_usage(lm, used)
        source = "user" if own is not None else "dspy" if cost else ""
        self._record(CallRecord(model, "ok", 0.0, usage, cost, price_source=source))

    def _record(self, call: CallRecord) -> None:
        self._tally.used += call.usage
        self._recorder.record(call)

    @property
    def late(self) -> bool:
        """Whether the deadline has passed."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _check_deadline(self, lm: Any) -> None:
        if self.late:
            raise DeadlineExceeded(
                f"the deadline passed before {lm.model} was called; allow more time with timeout=..."
            )

    def _note(self, started: float, prompt: Any, messages: Any, result: Any) -> None:
        latency = time.perf_counter() - started
        self._tally.ending = ending = ending_of(result)
        if ending.cut and not self._whole_answers:
            _log.warning("the answer of %s was cut off at its token limit; raise max_tokens", self._lm.model)
        usage = Usage() if result.cache_hit else usage_of(result.usage, max(1, len(result.responses)))
        cost, source = self._cost(usage, result)
        self._record(
            CallRecord(
                self._lm.model,
                "ok",
                latency,
                usage,
                cost,
                self._exchange(prompt, messages, latency, result),
                ending.reason,
                price_source=source,
            )
        )
        if self._whole_answers and (error := ending.error(model=self._lm.model, sensitive=True)):
            raise error

    def _cost(self, usage: Usage, result: Any) -> tuple[float | None, str]:
        """Return what a call has cost, and whose price that is."""
        own = None if self._prices is None else self._prices.cost(self._lm.model, usage)
        if result.cache_hit or (own is None and is_free(self._lm)):
            return 0.0, ""
        if own is not None and usage.total_tokens:
            return own, "user"
        if result.cost is None:
            # DSPy makes the call itself where outputs have a schema, and prices no engine of the host's own.
            named = cost_of_usage(self._lm, result.usage) if price_entry(self._lm) else None
            return named, "" if named is None else "dspy"
        return result.cost, "dspy" if result.cost_details else "litellm"

    def _note_failure(
        self,
        started: float,
        error: BaseException,
        outcome: Literal["failed", "cancelled", "abandoned"],
        prompt: Any,
        messages: Any,
    ) -> None:
        if isinstance(error, Exception):
            self._tally.failure = error
        latency = time.perf_counter() - started
        exchange = self._exchange(prompt, messages, latency)
        self._record(CallRecord(self._lm.model, outcome, latency, Usage(calls=1), exchange=exchange, error=error))

    def _exchange(self, prompt: Any, messages: Any, latency: float, result: Any = None) -> ModelExchange | None:
        """Return the prompt and the raw answer if the recorder keeps them."""
        if not self._recorder.keep_exchanges:
            return None
        outputs = [] if result is None else result.outputs
        texts = [output.get("text") if isinstance(output, dict) else output for output in outputs]
        return ModelExchange(
            tuple(map(without_content, messages)) if messages else ({"role": "user", "content": str(prompt)},),
            tuple("" if text is None else str(text) for text in texts),
            None if result is None else self.ending.reason,
            latency,
        )


def estimate_of(
    lm: Any, prompt: Any, messages: Any, options: Mapping[str, Any], prices: PriceTable | None = None
) -> CallEstimate:
    """Return what is known of a call before it is made."""
    contents = [message.get("content") for message in messages] if messages else [prompt]
    characters = sum(len(content) if isinstance(content, str) else 0 for content in contents)
    own = getattr(lm, "kwargs", None) or {}
    limit = options.get("max_tokens") or options.get("max_completion_tokens") or own.get("max_tokens")
    known = prices is not None and lm.model in prices
    return CallEstimate(lm.model, characters // 4, limit, lambda: known or is_priced(lm))


def _reported(answer: Any, used: Any) -> Any:
    """Return what is known of a call that went through a language model's own public call."""
    totals = list(used.get_total_tokens().values())
    names = ("prompt_tokens", "completion_tokens")
    usage = totals[0] if len(totals) == 1 else {name: sum(entry.get(name) or 0 for entry in totals) for name in names}
    return CallResult(outputs=answer if isinstance(answer, list) else [answer], usage=usage)
