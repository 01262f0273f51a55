"""The base class of ModelCall and ProgramCall: an attempt that is prepared first and made later, sync or async."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from attrs import frozen
from dspy import settings
from dspy.lm15 import Request, Response
from dspy.utils.exceptions import AdapterParseError

from hokusai_core.call_records import CallEstimate, CallGuard, Meter, Recorder
from hokusai_core.cassettes import Cassette
from hokusai_core.dspy_bridge.adapter_choice import strict_adapter
from hokusai_core.dspy_bridge.cassette_calls import CassetteTape
from hokusai_core.dspy_bridge.error_map import translate_error
from hokusai_core.dspy_bridge.metered_lm import MeteredLM
from hokusai_core.dspy_bridge.model_info import credentials_of
from hokusai_core.errors import AnswerCutOff, AnswerRefused, HokusaiError, LanguageModelError, PromptError
from hokusai_core.price_table import PriceTable
from hokusai_core.process import active_cassettes, fork_gate
from hokusai_core.signatures.spec import SignatureSpec
from hokusai_core.stream_events import StreamListener

__all__ = ["BridgeCall", "CallOptions", "PreparedCall"]


@frozen(eq=False)
class PreparedCall:
    """An attempt that can be made.

    Args:
        run: makes it on this thread and returns the outputs.
        arun: async version of ``run``.
        asynchronous: whether ``arun`` blocks no thread; a program that is not asynchronous has no ``arun``.
        keeps_deadline: whether ``run`` ends by the deadline of itself.
        stops: whether ``run`` ends soon after the deadline, so that it does not run on where it was given up.
    """

    run: Callable[[], dict[str, Any]]
    arun: Callable[[], Coroutine[Any, Any, dict[str, Any]]]
    asynchronous: bool
    keeps_deadline: bool = False
    stops: bool = False


@frozen(eq=False)
class CallOptions:
    """How an attempt is to be made.

    Args:
        config: options of the language model for this call such as ``temperature``.
        deadline: when it must be over, as ``time.monotonic()`` tells it. No call of a language model begins later;
            engines that can keep to it find it as ``dspy.settings.get("hokusai_deadline")``.
        attempt: number of the attempt, from 1; a later one is not answered from a cache of DSPy or of the provider.
        listener: receives the parts of the answer while it comes in, where the call streams; None for no streaming.
        at_once: whether calls that do not need each other may be made at the same time; not in a row of a batch, which
            is one of several already.
    """

    config: Mapping[str, Any] | None = None
    deadline: float | None = None
    attempt: int = 1
    listener: StreamListener | None = None
    at_once: bool = False

    def for_language_model(self) -> dict[str, Any]:
        """Return the options that go with the call of the language model; the caller's own to change."""
        options = dict(self.config) if self.config else {}
        if self.attempt > 1:
            options.setdefault("rollout_id", self.attempt)
        return options


class BridgeCall(ABC):
    """Asks for the outputs of a signature; safe to use from many threads and event loops at once.

    Args:
        spec: the signature.
        lm: the language model; it is never changed.
        adapter: the DSPy adapter, or its name; None for a ``FastChatAdapter``.
    """

    def __init__(self, spec: SignatureSpec, lm: Any, adapter: Any = None) -> None:
        self._spec, self._lm = spec, lm
        self.adapter = strict_adapter(adapter)
        #: Whether a call has been made. The first one imports modules and fills tables of DSPy under its locks, which a
        #: child process could not go on with, so no fork happens meanwhile.
        self._warm = False

    @property
    @abstractmethod
    def asynchronous(self) -> bool:
        """Whether it can be awaited without a thread."""

    @property
    def module(self) -> Any:
        """The ``dspy.Module`` that answers; None for a single call of the language model."""
        return None

    def _keeps_deadline(self, inputs: Mapping[str, Any], options: CallOptions) -> bool:
        """Return whether a blocking attempt ends at the deadline by itself."""
        return False

    @property
    def _stops(self) -> bool:
        """Whether a blocking attempt ends soon after the deadline."""
        return False

    @property
    def _safe_names(self) -> Mapping[str, str]:
        """Field -> its name in prompts, where that differs."""
        return {}

    @property
    def whole_answers(self) -> bool:
        """Whether an answer that was cut off or withheld is an error; else who asked for it decides."""
        return True

    @property
    def streams(self) -> bool:
        """Whether parts of an answer can be had while it comes in."""
        return False

    def _isolated(
        self, lm: MeteredLM, options: CallOptions, *, trace: list[Any] | None = None, **extra: Any
    ) -> AbstractContextManager[None]:
        """Return the DSPy settings of one attempt. They do not leak into the host, whose own settings still apply.

        The process-wide trace and history lists of DSPy, which grow by some 4 kB a call, get nothing. Callbacks and
        usage trackers of the host stay in force. Some modules of DSPy cannot do without a trace of their own.
        """
        if self._spec.sensitive:
            # The host's callbacks get prompts in clear, and those of mlflow.dspy.autolog() send them on.
            extra.setdefault("callbacks", [])
        context: AbstractContextManager[None] = settings.context(
            lm=lm,
            adapter=self.adapter,
            trace=trace,
            disable_history=True,
            warn_on_type_mismatch=False,  # inputs are checked before, and better
            send_stream=None,
            hokusai_deadline=options.deadline,
            **extra,
        )
        return context

    def prepare(
        self,
        inputs: Mapping[str, Any],
        *,
        recorder: Recorder | None = None,
        gate: CallGuard | None = None,
        prices: PriceTable | None = None,
        cassette: Cassette | None = None,
        **options: Any,
    ) -> PreparedCall:
        """Return one attempt, to be made later.

        Args:
            inputs: bound inputs.
            recorder: receives a record of every call of the language model, also if the attempt fails; None for no
                record.
            gate: is asked before every call of the language model.
            prices: prices that go before those of DSPy.
            cassette: records the calls or answers them; None for the one that this context has, if any.
            options: those of ``CallOptions``.
        """
        chosen = CallOptions(**options)
        cassette = cassette or active_cassettes.current
        lm = MeteredLM(
            self._lm,
            recorder or Meter(),
            gate=gate,
            deadline=chosen.deadline,
            whole_answers=self.whole_answers,
            parameters=chosen.config,
            prices=prices,
            tape=None if cassette is None else CassetteTape.of(cassette, self._spec, inputs, self._safe_names),
        )
        keeps_deadline = chosen.deadline is not None and self._keeps_deadline(inputs, chosen)
        return PreparedCall(
            partial(self._attempt, lm, inputs, chosen),
            partial(self._aattempt, lm, inputs, chosen),
            self.asynchronous,
            keeps_deadline,
            keeps_deadline or self._stops,
        )

    def render(self, inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> Request:
        """Return the request that an attempt would send; nothing is called.

        Args:
            inputs: bound inputs.
            parameters: parameters of the language model for this call.

        Raises:
            PromptError: nothing but the call itself shows what is sent; says why.
        """
        raise self._no_prompt("it is a program, which decides by itself what it asks for")

    def template(self, parameters: Mapping[str, Any], *, demos: bool = True) -> tuple[list[dict[str, str]], int]:
        """Return the messages of the prompt with ``{{ name }}`` for the value of each input, and how many demos it has.

        Args:
            parameters: parameters of the language model.
            demos: whether demos are in it.

        Raises:
            PromptError: nothing but the call itself shows what is sent; says why.
        """
        raise self._no_prompt("it is a program, which decides by itself what it asks for")

    def read(self, answer: str | Response, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the outputs in an answer, as an attempt reads them; nothing is called.

        Args:
            answer: the whole text that a model wrote, or the response of an engine.
            inputs: bound inputs; outputs that choose from one of them need it.

        Raises:
            PromptError: there is no single answer; says why.
            OutputError: the answer cannot be read as outputs of the signature.
        """
        raise self._no_prompt("it is a program, whose outputs are not read from a single answer")

    def check_one_request(self) -> None:
        """Return if one request answers the signature.

        Raises:
            PromptError: it takes several, or nothing but the call itself shows what is sent; says why.
        """
        raise self._no_prompt("it is a program, or has a strategy, which may make several calls")

    def batch_request(
        self, inputs: Mapping[str, Any], parameters: Mapping[str, Any], prices: PriceTable | None
    ) -> tuple[Any, Request, CallEstimate]:
        """Return the client of a batch service, the request that an attempt would send, and what it may cost.

        Args:
            inputs: bound inputs.
            parameters: parameters of the language model for this call.
            prices: prices that go before those of DSPy.

        Raises:
            PromptError: it takes several requests, or nothing but the call itself shows what is sent; says why.
            ConfigurationError: the model has no batch service that is known.
        """
        raise self._no_prompt("it is a program, or has a strategy, which may make several calls")

    def read_metered(
        self, answer: Response, inputs: Mapping[str, Any], recorder: Recorder, prices: PriceTable | None
    ) -> dict[str, Any]:
        """Return the outputs in an answer as ``read`` does, and record the call that it was.

        Args:
            answer: the response.
            inputs: bound inputs.
            recorder: receives the record.
            prices: prices that go before those of DSPy.
        """
        raise self._no_prompt("it is a program, or has a strategy, which may make several calls")

    def _no_prompt(self, reason: str) -> PromptError:
        return PromptError(
            f"signature {self._spec.name!r} cannot be shown as one request: {reason}. Run it, and look at the spans "
            "of its trace (HOKUSAI_TRACKERS=mlflow)"
        )

    @abstractmethod
    def _perform(self, lm: MeteredLM, inputs: Mapping[str, Any], options: CallOptions) -> dict[str, Any]: ...

    @abstractmethod
    async def _aperform(self, lm: MeteredLM, inputs: Mapping[str, Any], options: CallOptions) -> dict[str, Any]: ...

    def _attempt(self, lm: MeteredLM, inputs: Mapping[str, Any], options: CallOptions) -> dict[str, Any]:
        try:
            if self._warm:
                return _unless_missed(lm, self._perform(lm, inputs, options))
            with fork_gate:
                outputs = self._perform(lm, inputs, options)
                self._warm = True
            return _unless_missed(lm, outputs)
        except asyncio.CancelledError:
            failure = self._cancelled()
        except Exception as error:
            failure = self._failure(error, lm)
        raise failure  # out here, where Python does not attach what was raised: it may quote sensitive values

    async def _aattempt(self, lm: MeteredLM, inputs: Mapping[str, Any], options: CallOptions) -> dict[str, Any]:
        try:
            if self._warm:
                return _unless_missed(lm, await self._aperform(lm, inputs, options))
            with fork_gate:
                outputs = await self._aperform(lm, inputs, options)
                self._warm = True
            return _unless_missed(lm, outputs)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():  # the caller wants it to end
                raise
            failure = self._cancelled()
        except Exception as error:
            failure = self._failure(error, lm)
        raise failure

    def _cancelled(self) -> HokusaiError:
        """Return the error for a call that something inside the language model has cancelled, and not its caller."""
        return LanguageModelError(f"signature {self._spec.name!r} with {self._lm.model}: the call cancelled itself")

    def _failure(self, error: Exception, lm: MeteredLM) -> HokusaiError:
        if lm.tape is not None and lm.tape.missed is not None:
            return lm.tape.missed
        about: dict[str, Any] = {
            "signature": self._spec.name,
            "model": self._lm.model,
            "sensitive": bool(self._spec.sensitive),
            "credentials": credentials_of(self._lm),
        }
        if isinstance(error, (AdapterParseError, AnswerCutOff, AnswerRefused)):
            unfinished = lm.ending.error(**about)  # the reason why it could not be read
            if unfinished is not None:
                return unfinished
        return translate_error(error, late=lm.late, **about)


def _unless_missed(lm: MeteredLM, outputs: dict[str, Any]) -> dict[str, Any]:
    """Return outputs, unless a call had no answer in a cassette: a module may go on with what others have said."""
    if lm.tape is not None and lm.tape.missed is not None:
        raise lm.tape.missed
    return outputs
