"""Direct calls of a language model's engine: no retries, no cache unless requested, no needless change of thread.

DSPy's public seam for this is ``lm(dspy.lm15.Request)``. Measured with DSPy 3.4.1, an awaited call through it costs
two to four times the CPU of this module (140 to 310 us against 60), because it hops to a thread to prepare the request
and to another one to price the answer. A blocking call costs about a third more. So this module and ``metered_lm`` use
what the public call is made of: ``dspy.clients.execution``, ``call_result``, ``errors`` and ``_deprecation``. They are
the reason why the range of DSPy ends before 3.5.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import dspy
from attrs import frozen
from dspy import BaseLM, settings
from dspy.clients.call_result import CallResult
from dspy.clients.errors import error_boundary
from dspy.clients.execution import PreparedCall, _hint_responses_api, aexecute, execute, prepare
from dspy.lm15 import Config, Request, Response, TransportError, request_from_openai_chat
from dspy.lm15 import TimeoutError as RequestTimeout
from dspy.utils.callback import with_callbacks
from dspy.utils.exceptions import LMInvalidRequestError

from hokusai_core.dspy_bridge.model_prices import estimated_cost, price_entry
from hokusai_core.dspy_bridge.provider_routes import Route, aprovider_request, known_route, provider_request, texts_of

__all__ = [
    "EngineCall",
    "acomplete",
    "aengine_call",
    "complete",
    "engine_call",
    "has_async_engine",
    "is_managed",
    "is_public_call_plain",
    "keeps_deadline",
    "prepare_call",
    "request_of",
]

#: Options that steer DSPy and are no part of what the engine is asked.
_NOT_FOR_ENGINE = frozenset({"n", "num_generations", "prompt_cache", "rollout_id"})
#: Options that mean the same to the engine, under the same name.
_DIRECT = ("max_tokens", "temperature", "top_p", "top_k", "seed")
_EASY = frozenset({"model", "messages", *_DIRECT})
#: Arguments of calls that DSPy takes without a check of its own.
_UNCHECKED = frozenset({"cache", *_DIRECT})
_TEXT_ROLES = frozenset({"system", "user", "assistant"})


@with_callbacks
def _probe(instance: Any) -> None: ...


@with_callbacks
async def _aprobe(instance: Any) -> None: ...


_SYNC_WRAPPER, _ASYNC_WRAPPER = _probe.__code__, _aprobe.__code__


def _is_dspys(method: Any, wrapper: Any) -> bool:
    return getattr(method, "__code__", None) is wrapper and inspect.unwrap(method).__module__ == BaseLM.__module__


#: DSPy's own calls, unless something has wrapped them before this module was imported. Nearly all models have them.
_own_call = BaseLM.__call__ if _is_dspys(BaseLM.__call__, _SYNC_WRAPPER) else None
_own_acall = BaseLM.acall if _is_dspys(BaseLM.acall, _ASYNC_WRAPPER) else None


def is_public_call_plain(lm: Any) -> bool:
    """Whether calling ``lm`` is DSPy's own code and nothing else.

    A subclass may override the call, and instrumentation libraries wrap it; such code must not be passed by.
    """
    kind = type(lm)
    if kind.__call__ is _own_call and kind.acall is _own_acall:  # wrappers may call themselves equal
        return True
    return _is_dspys(kind.__call__, _SYNC_WRAPPER) and _is_dspys(kind.acall, _ASYNC_WRAPPER)


def has_async_engine(lm: Any) -> bool:
    """Whether ``lm`` can be called without blocking."""
    if not is_managed(lm):
        return type(lm).aforward is not BaseLM.aforward
    own_forward = not isinstance(lm, dspy.LM) or type(lm).forward is dspy.LM.forward
    if not own_forward and type(lm).aforward is dspy.LM.aforward:
        return False  # its asynchronous call would go round what the subclass does in forward()
    return isinstance(lm._engine_spec, str) or lm._async_engine_spec is not None


def is_managed(lm: Any) -> bool:
    """Whether DSPy itself calls the engine of ``lm``; else a ``forward`` of its own does whatever it does."""
    return hasattr(lm, "_engine_spec")


def prepare_call(lm: Any, prompt: Any, messages: Any, kwargs: dict[str, Any], *, asynchronous: bool) -> Any:
    """Check the arguments of a call and merge them with the defaults of ``lm``."""
    if prompt is None and kwargs.keys() <= _UNCHECKED and _takes_as_it_is(lm, messages, asynchronous=asynchronous):
        merged = {**lm.kwargs, **kwargs}
        merged.pop("cache", None)
        cached = kwargs.get("cache", lm.cache) if getattr(lm, "_cache_responses", True) else False
        legacy = {"model": lm.model, "messages": messages, **merged}
        return PreparedCall(None, messages, dict(kwargs), legacy, None, cached, 1, True)
    return prepare(lm, prompt, messages, kwargs, asynchronous=asynchronous)


def _takes_as_it_is(lm: Any, messages: Any, *, asynchronous: bool) -> bool:
    """Whether DSPy's own checks let a call with such messages pass unchanged, as they do nearly always."""
    if type(lm) is not dspy.LM or lm.model_type != "chat" or not lm.kwargs.keys() <= _UNCHECKED or not messages:
        return False
    try:
        for message in messages:
            message["content"].encode()
            if len(message) != 2 or message["role"] not in _TEXT_ROLES:
                return False
    except (AttributeError, KeyError, UnicodeEncodeError):
        return False
    return ("aforward" if asynchronous else "forward") not in vars(lm)


@frozen(eq=False)
class EngineCall:
    """A call that an engine can make directly.

    Args:
        lm: the language model.
        call: the call as DSPy has prepared it.
        engine: the engine of the host's own, or DSPy's client for the provider; blocking or awaitable as the call is.
        request: what it is asked.
        route: the way to the provider; None for an engine of the host's own.
    """

    lm: Any
    call: Any
    engine: Any
    request: Request
    route: Route | None = None

    @property
    def provider(self) -> str | None:
        """DSPy's name of the provider."""
        return None if self.route is None else self.route.provider

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raise what DSPy raises for an error of the engine."""
        try:
            with error_boundary(self.lm.model, provider=self.provider, unexpected=True):
                try:
                    yield
                except TransportError as error:
                    deadline = settings.get("hokusai_deadline")
                    if deadline is None or time.monotonic() < deadline:
                        raise
                    raise RequestTimeout("the deadline passed while the provider was at work") from error
        except LMInvalidRequestError as error:
            _hint_responses_api(self.lm, error)
            raise

    def result(self, response: Any) -> Any:
        """Return DSPy's ``CallResult`` for the response of the engine."""
        if not isinstance(response, Response):
            raise TypeError(f"Engine.complete must return dspy.lm15.Response, got {type(response).__qualname__}")
        logprobs = bool(self.call.legacy.get("logprobs"))
        result = CallResult.native(response, model_type=self.lm.model_type, logprobs=logprobs, provider=self.provider)
        if self.route is not None:
            result.cost, result.cost_details = self.route.price(response, self.request)
        elif (entry := price_entry(self.lm)) is not None:
            provider, model = entry
            result.cost, result.cost_details = estimated_cost(
                response, self.request, provider=provider, model=model, namespaces=None
            )
        return result


def engine_call(lm: Any, call: Any) -> EngineCall | None:
    """Return the direct form of a blocking call; None if DSPy itself has to make it."""
    if not _is_one_attempt(call):
        return None
    if not isinstance(lm._engine_spec, str):
        return _call_of_host(lm, call, lm._engine_spec)
    return _call_of_provider(lm, call, provider_request(lm, call))


async def aengine_call(lm: Any, call: Any) -> EngineCall | None:
    """Async version of ``engine_call``."""
    if not _is_one_attempt(call):
        return None
    if not isinstance(lm._engine_spec, str):
        return _call_of_host(lm, call, lm._async_engine_spec)
    return _call_of_provider(lm, call, await aprovider_request(lm, call))


def _is_one_attempt(call: Any) -> bool:
    """Whether the call is one plain attempt: an engine is asked once, and nothing else of DSPy is wanted."""
    one = call.managed and not call.cache and call.n == 1 and call.request is None
    return one and settings.send_stream is None


def _call_of_host(lm: Any, call: Any, engine: Any) -> EngineCall | None:
    options = call.legacy
    if (
        engine is None
        or isinstance(options.get("response_format"), type)
        or options.get("prompt_cache") is not None
        or hasattr(engine, "complete_legacy")
    ):
        return None  # DSPy does more than call it
    try:
        return EngineCall(lm, call, engine, request_of(options))
    except Exception:
        with error_boundary(lm.model):
            raise


def _call_of_provider(lm: Any, call: Any, found: tuple[Route, Request] | None) -> EngineCall | None:
    return None if found is None else EngineCall(lm, call, found[0].client, found[1], found[0])


def complete(lm: Any, facade: Any, call: Any) -> Any:
    """Make a prepared call and return DSPy's ``CallResult``.

    Args:
        lm: the language model.
        facade: what stands for it where DSPy decides about retries; has ``num_retries = 0``.
        call: the prepared call.
    """
    direct = engine_call(lm, call)
    if direct is None:
        return execute(facade if call.managed else lm, call)
    try:
        return direct.result(direct.engine.complete(direct.request))
    except Exception:
        with direct.errors():  # entered here only: it costs as much as reading the answer
            raise


async def acomplete(lm: Any, facade: Any, call: Any) -> Any:
    """Async version of ``complete``."""
    direct = await aengine_call(lm, call)
    if direct is None:
        return await aexecute(facade if call.managed else lm, call)
    try:
        return direct.result(await direct.engine.complete(direct.request))
    except Exception:
        with direct.errors():
            raise


def keeps_deadline(lm: Any, options: Mapping[str, Any]) -> bool:
    """Whether a blocking call of ``lm`` with texts ends by the deadline of itself.

    An engine of the host's own says so with the attribute ``keeps_deadline``. DSPy's client does once a route is known.

    Args:
        lm: the language model.
        options: options of the call.
    """
    engine = getattr(lm, "_engine_spec", None)
    if not isinstance(engine, str):
        return bool(getattr(engine, "keeps_deadline", False))
    return is_public_call_plain(lm) and known_route(lm, {**lm.kwargs, **options}) is not None


def request_of(options: Mapping[str, Any]) -> Request:
    """Return the request for chat messages and options as DSPy has merged them.

    Equal to what DSPy's converter makes of them. That one knows every shape that a message can have and reads each
    against the dialect of a provider; nearly all prompts are texts, which need none of it.
    """
    body = {name: value for name, value in options.items() if value is not None and name not in _NOT_FOR_ENGINE}
    texts = texts_of(body["messages"]) if body.keys() <= _EASY else None
    if texts is None:
        return request_from_openai_chat(body)
    config = _config(*[body.get(name) for name in _DIRECT])
    return Request(model=body["model"], system=texts[0], messages=texts[1], config=config)


# typed: True and 1 are equal keys, and only one of them is a temperature
@lru_cache(maxsize=128, typed=True)
def _config(*values: Any) -> Config:
    return Config(**dict(zip(_DIRECT, values, strict=True)))
