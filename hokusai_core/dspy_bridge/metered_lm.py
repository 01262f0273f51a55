"""MeteredLM: the wrapper through which every call of a language model goes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Literal

import dspy
from attrs import define
from dspy import BaseLM, settings
from dspy.clients._deprecation import adapter_message_call
from dspy.clients.call_result import CallResult
from dspy.clients.execution import finalize
from dspy.utils.callback import with_callbacks

from hokusai_core.call_records import Admission, CallGuard, CallRecord, Recorder, usage_of
from hokusai_core.dspy_bridge.answer_ending import AnswerEnding, ending_of
from hokusai_core.dspy_bridge.call_bill import bill_of_failure
from hokusai_core.dspy_bridge.cassette_calls import CassetteTape, asked_of, check_unrecorded
from hokusai_core.dspy_bridge.cost_bound import answers_asked_for
from hokusai_core.dspy_bridge.engine_calls import (
    acomplete,
    complete,
    has_async_engine,
    is_managed,
    is_public_call_plain,
    prepare_call,
)
from hokusai_core.dspy_bridge.metered_call import MeteredCall, estimate_of, tells_tokens, written_tokens
from hokusai_core.dspy_bridge.model_prices import cost_of_usage, is_free, price_entry
from hokusai_core.dspy_bridge.streamed_calls import OnText, acomplete_streamed, complete_streamed
from hokusai_core.dspy_bridge.unmetered_calls import CallRefused, UnmeteredCall, UsageRelay, host_callbacks
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
        tape: answers what a cassette knows, and records the rest; None for no cassette.

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
        tape: CassetteTape | None = None,
    ) -> None:
        # BaseLM.__init__ would give this facade parameters and a history of its own.
        self._lm, self._recorder, self._gate = lm, recorder, gate
        self._deadline, self._whole_answers = deadline, whole_answers
        self._parameters, self._prices = parameters or {}, prices
        self.tape = tape
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
            tape=self.tape,
        )
        twin._tally, twin.on_text = self._tally, self.on_text
        return twin

    def beside(self, lm: Any) -> MeteredLM:
        """Return a facade of another language model, with the same gate, recorder and tape."""
        return MeteredLM(
            lm, self._recorder, gate=self._gate, deadline=self._deadline, prices=self._prices, tape=self.tape
        )

    def __call__(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        """Call the language model once and return its answers, as ``dspy.LM`` does."""
        kwargs = {**self._parameters, **kwargs}
        call = MeteredCall(prompt, messages, kwargs)
        try:
            if self._gate is not None:
                call.admission = self._gate.before(estimate_of(self._lm, prompt, messages, kwargs, self._prices))
            self._check_deadline(self._lm, call.admission)
        except Exception as error:
            self._note_refusal(error)
            raise
        call.started = time.perf_counter()
        try:
            answer, result = self._perform_seen(call)
        except BaseException as error:
            self._note_failure(call, error, "failed" if isinstance(error, Exception) else "cancelled")
            raise
        self._note(call, result)
        return answer

    async def acall(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        """Async version of ``__call__``."""
        kwargs = {**self._parameters, **kwargs}
        call = MeteredCall(prompt, messages, kwargs)
        try:
            if self._gate is not None:
                call.admission = await self._gate.abefore(estimate_of(self._lm, prompt, messages, kwargs, self._prices))
            self._check_deadline(self._lm, call.admission)
        except Exception as error:
            self._note_refusal(error)
            raise
        call.started, awaitable = time.perf_counter(), self.awaitable(self._lm)
        try:
            if awaitable:
                with self._seen(call):
                    answer, result = await self._aperform(call)
            else:
                answer, result = await outcome(WorkerThreads(keep=0).submit(lambda: self._perform_seen(call)))
        except asyncio.CancelledError as error:
            self._note_failure(call, error, "cancelled" if awaitable else "abandoned")
            raise
        except BaseException as error:
            self._note_failure(call, error, "failed")
            raise
        self._note(call, result)
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

    def _perform_seen(self, call: MeteredCall) -> tuple[Any, Any]:
        with self._seen(call):
            return self._perform(call)

    def _perform(self, asked: MeteredCall) -> tuple[Any, Any]:
        lm, prompt, messages, kwargs = self._lm, asked.prompt, asked.messages, self._options(asked.kwargs)
        if not is_public_call_plain(lm):
            return self._perform_public(prompt, messages, kwargs)
        if not self._has_callbacks():
            return self._answered(lm, prompt, messages, kwargs, asked.hear)
        results: list[Any] = []

        # The names of the parameters are what callbacks get as the call's inputs.
        def perform(instance: Any, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
            answer, result = self._answered(instance, prompt, messages, kwargs, asked.hear)
            results.append(result)
            return answer

        return with_callbacks(perform)(lm, prompt, messages=messages, **kwargs), results[0]

    async def _aperform(self, asked: MeteredCall) -> tuple[Any, Any]:
        lm, prompt, messages, kwargs = self._lm, asked.prompt, asked.messages, self._options(asked.kwargs)
        if not is_public_call_plain(lm):
            return await self._aperform_public(prompt, messages, kwargs)
        if not self._has_callbacks():
            return await self._aanswered(lm, prompt, messages, kwargs, asked.hear)
        results: list[Any] = []

        async def perform(instance: Any, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
            answer, result = await self._aanswered(instance, prompt, messages, kwargs, asked.hear)
            results.append(result)
            return answer

        return await with_callbacks(perform)(lm, prompt, messages=messages, **kwargs), results[0]

    def _answered(self, lm: Any, prompt: Any, messages: Any, kwargs: dict[str, Any], hear: Any) -> tuple[Any, Any]:
        """Return the answer as DSPy gives it, and the engine's result."""
        call = prepare_call(lm, prompt, messages, kwargs, asynchronous=False)
        result = self._complete(lm, call, hear)
        return finalize(lm, call, result), result

    async def _aanswered(
        self, lm: Any, prompt: Any, messages: Any, kwargs: dict[str, Any], hear: Any
    ) -> tuple[Any, Any]:
        """Async version of ``_answered``."""
        call = prepare_call(lm, prompt, messages, kwargs, asynchronous=True)
        result = await self._acomplete(lm, call, hear)
        return finalize(lm, call, result), result

    def _complete(self, lm: Any, call: Any, hear: Any) -> Any:
        if self.tape is None:
            check_unrecorded(lm)
            return self._ask(lm, call, hear, self.on_text)
        return self.tape.complete(lm, asked_of(call), partial(self._ask, lm, call, hear), self.on_text)

    def _acomplete(self, lm: Any, call: Any, hear: Any) -> Awaitable[Any]:
        if self.tape is None:
            check_unrecorded(lm)
            return self._aask(lm, call, hear, self.on_text)
        return self.tape.acomplete(lm, asked_of(call), partial(self._aask, lm, call, hear), self.on_text)

    def _ask(self, lm: Any, call: Any, hear: Any, on_text: OnText | None) -> Any:
        return complete(lm, self, call) if on_text is None else complete_streamed(lm, self, call, on_text, hear)

    def _aask(self, lm: Any, call: Any, hear: Any, on_text: OnText | None) -> Awaitable[Any]:
        return acomplete(lm, self, call) if on_text is None else acomplete_streamed(lm, self, call, on_text, hear)

    def _perform_public(self, prompt: Any, messages: Any, kwargs: dict[str, Any]) -> tuple[Any, Any]:
        """Make a call in which code of the language model's own class has a part."""
        answers: list[Any] = []

        def make(_: OnText | None) -> Any:
            with dspy.track_usage() as used, adapter_message_call(self._lm, messages):
                answers.append(self._lm(prompt, messages=messages, **kwargs))
            return _reported(answers[0], used)

        if self.tape is None:
            result = make(None)
        else:
            asked = {"prompt": prompt, "messages": messages, **self._lm.kwargs, **kwargs}
            result = self.tape.complete(self._lm, asked, make, None)
        return answers[0] if answers else result.outputs, result

    async def _aperform_public(self, prompt: Any, messages: Any, kwargs: dict[str, Any]) -> tuple[Any, Any]:
        answers: list[Any] = []

        async def make(_: OnText | None) -> Any:
            with dspy.track_usage() as used, adapter_message_call(self._lm, messages):
                answers.append(await self._lm.acall(prompt, messages=messages, **kwargs))
            return _reported(answers[0], used)

        if self.tape is None:
            result = await make(None)
        else:
            asked = {"prompt": prompt, "messages": messages, **self._lm.kwargs, **kwargs}
            result = await self.tape.acomplete(self._lm, asked, make, None)
        return answers[0] if answers else result.outputs, result

    def _options(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        options = {**kwargs, "cache": False}
        if is_managed(self._lm):
            options.pop("rollout_id", None)  # tells entries of DSPy's cache apart, and means nothing without it
        return options

    def _has_callbacks(self) -> bool:
        return bool(host_callbacks() or getattr(self._lm, "callbacks", None))

    def _seen(self, call: MeteredCall) -> AbstractContextManager[None]:
        """Return the settings of a call that what looks for calls beside the meter must not see.

        A call that money is reserved for is sent once: what may have been received is not sent again.
        """
        every = settings.callbacks
        callbacks = host_callbacks() if every else every
        own: dict[str, Any] = {}
        if len(callbacks) != len(every):
            tracker = settings.usage_tracker
            own["usage_tracker"] = tracker.parent if isinstance(tracker, UsageRelay) else tracker
            own["callbacks"] = callbacks
        if call.admission is not None and call.admission.cost:
            own["hokusai_send_once"] = True
        if not own:
            return nullcontext()
        context: AbstractContextManager[None] = settings.context(**own)
        return context

    def admit_unmetered(self, lm: Any, options: Mapping[str, Any]) -> UnmeteredCall:
        """Ask the gate before a call that a program makes of a language model of its own, and return that call.

        Args:
            lm: that language model.
            options: ``prompt``, ``messages`` and further arguments of the call.

        Raises:
            BudgetExceeded: the budget is spent, or the cost of the call would not be known.
            DeadlineExceeded: the deadline has passed.
        """
        if self.tape is not None:
            raise self.tape.refuse(lm.model)
        admission = None
        try:
            if self._gate is not None:
                prompt, messages = options.get("prompt"), options.get("messages")
                admission = self._gate.reserve(estimate_of(lm, prompt, messages, options, self._prices))
            self._check_deadline(lm, admission)
        except Exception as error:
            self._tally.failure = error
            raise
        return UnmeteredCall(lm, admission, answers_asked_for(lm, options))

    def note_unmetered(self, call: UnmeteredCall, error: BaseException | None) -> None:
        """Record a call that a program has made of a language model of its own.

        Args:
            call: the call.
            error: what it has raised, None for nothing.
        """
        lm, used = call.lm, call.used or {}
        if error is not None:
            bill = bill_of_failure(error, may_have_begun=call.answers > 1 or call.used is not None)
            self._record(CallRecord(lm.model, "failed", 0.0, Usage(calls=1), error=error, bill=bill), call.admission)
        elif call.used is None and getattr(lm, "cache", False) is True:
            if call.admission is not None:
                call.admission.refund()
        else:
            usage = usage_of(used, call.answers)
            own = None if self._prices is None else self._prices.cost(lm.model, usage, written_tokens(used))
            cost = own if own is not None else cost_of_usage(lm, used)
            source = "user" if own is not None else "dspy" if cost else ""
            known = is_free(lm) or tells_tokens(used)
            record = CallRecord(
                lm.model, "ok", 0.0, usage, cost, price_source=source, bill="known" if known else "unknown"
            )
            self._record(record, call.admission)

    def note_unasked(self, model: str, used: Mapping[str, Any]) -> None:
        """Record what a call has used that the gate was not asked for, as a program has turned DSPy's callbacks off.

        Args:
            model: name of the model.
            used: tokens as DSPy writes them.
        """
        usage = usage_of(used)
        own = None if self._prices is None else self._prices.cost(model, usage, written_tokens(used))
        record = CallRecord(model, "ok", 0.0, usage, own, price_source="" if own is None else "user")
        if self._gate is not None:
            self._gate.charge(record)
        self._record(record, None)

    def _record(self, call: CallRecord, admission: Admission | None) -> None:
        if admission is not None:
            admission.settle(call)
        used = self._tally.used
        self._tally.used = used + call.usage if used.calls else call.usage
        self._recorder.record(call)

    @property
    def late(self) -> bool:
        """Whether the deadline has passed."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _check_deadline(self, lm: Any, admission: Admission | None) -> None:
        if self.late:
            if admission is not None:
                admission.refund()
            raise DeadlineExceeded(
                f"the deadline passed before {lm.model} was called; allow more time with timeout=..."
            )

    def _note(self, call: MeteredCall, result: Any) -> None:
        latency = time.perf_counter() - call.started
        self._tally.ending = ending = ending_of(result)
        if ending.cut and not self._whole_answers:
            _log.warning("the answer of %s was cut off at its token limit; raise max_tokens", self._lm.model)
        usage = Usage() if result.cache_hit else usage_of(result.usage, max(1, len(result.responses)))
        cost, source = self._cost(usage, result)
        known = result.cache_hit or cost == 0.0 or tells_tokens(result.usage)
        self._record(
            CallRecord(
                self._lm.model,
                "ok",
                latency,
                usage,
                cost,
                self._exchange(call, latency, result),
                ending.reason,
                price_source=source,
                bill="known" if known else "unknown",
            ),
            call.admission,
        )
        if self._whole_answers and not ending.whole and (error := ending.error(model=self._lm.model, sensitive=True)):
            raise error

    def _cost(self, usage: Usage, result: Any) -> tuple[float | None, str]:
        """Return what a call has cost, and whose price that is."""
        own = None if self._prices is None else self._prices.cost(self._lm.model, usage, written_tokens(result.usage))
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
        self, call: MeteredCall, error: BaseException, outcome: Literal["failed", "cancelled", "abandoned"]
    ) -> None:
        if isinstance(error, Exception):
            self._tally.failure = error
        latency = time.perf_counter() - call.started
        bill: Literal["nothing", "unknown"] = "unknown"
        if call.admission is not None and outcome == "failed":
            several = answers_asked_for(self._lm, call.kwargs) > 1
            bill = bill_of_failure(error, may_have_begun=call.heard or several)
        exchange = self._exchange(call, latency)
        usage = Usage(calls=1)
        record = CallRecord(self._lm.model, outcome, latency, usage, exchange=exchange, error=error, bill=bill)
        self._record(record, call.admission)

    def _exchange(self, call: MeteredCall, latency: float, result: Any = None) -> ModelExchange | None:
        """Return the prompt and the raw answer if the recorder keeps them."""
        if not self._recorder.keep_exchanges:
            return None
        outputs = [] if result is None else result.outputs
        texts = [output.get("text") if isinstance(output, dict) else output for output in outputs]
        messages = call.messages
        return ModelExchange(
            tuple(map(without_content, messages)) if messages else ({"role": "user", "content": str(call.prompt)},),
            tuple("" if text is None else str(text) for text in texts),
            None if result is None else self.ending.reason,
            latency,
        )


def _reported(answer: Any, used: Any) -> Any:
    """Return what is known of a call that went through a language model's own public call."""
    totals = list(used.get_total_tokens().values())
    names = ("prompt_tokens", "completion_tokens")
    usage = totals[0] if len(totals) == 1 else {name: sum(entry.get(name) or 0 for entry in totals) for name in names}
    return CallResult(outputs=answer if isinstance(answer, list) else [answer], usage=usage)
