"""Direct calls of a language model's engine: no retries, no cache unless requested, no needless change of thread.

DSPy's public seam for this is ``lm(dspy.lm15.Request)``. Measured with DSPy 3.4.1, an awaited call through it costs
two to four times the CPU of this module (140 to 310 us against 60), because it hops to a thread to prepare the request
and to another one to price the answer. A blocking call costs about a third more. So this module and ``metered_lm`` use
what the public call is made of: ``dspy.clients.execution``, ``call_result``, ``errors`` and ``_deprecation``. They are
the reason why the range of DSPy ends before 3.5.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import dspy
from dspy import BaseLM, settings
from dspy.clients.call_result import CallResult
from dspy.clients.errors import error_boundary
from dspy.clients.execution import aexecute, execute, prepare
from dspy.lm15 import Config, Message, Request, Response, TextPart, request_from_openai_chat
from dspy.utils.callback import with_callbacks

__all__ = [
    "acomplete",
    "complete",
    "has_async_engine",
    "is_managed",
    "is_public_call_plain",
    "prepare_call",
    "request_of",
]

#: Options that steer DSPy and are no part of what the engine is asked.
_NOT_FOR_ENGINE = frozenset({"n", "num_generations", "prompt_cache", "rollout_id"})
#: Options that mean the same to the engine, under the same name.
_DIRECT = ("max_tokens", "temperature", "top_p", "top_k", "seed")
_EASY = frozenset({"model", "messages", *_DIRECT})


@with_callbacks
def _probe(instance: Any) -> None: ...


@with_callbacks
async def _aprobe(instance: Any) -> None: ...


_SYNC_WRAPPER, _ASYNC_WRAPPER = _probe.__code__, _aprobe.__code__


def _is_dspys(method: Any, wrapper: Any) -> bool:
    return getattr(method, "__code__", None) is wrapper and inspect.unwrap(method).__module__ == BaseLM.__module__


def is_public_call_plain(lm: Any) -> bool:
    """Whether calling ``lm`` is DSPy's own code and nothing else.

    A subclass may override the call, and instrumentation libraries wrap it; such code must not be passed by.
    """
    kind = type(lm)
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
    return prepare(lm, prompt, messages, kwargs, asynchronous=asynchronous)


def complete(lm: Any, facade: Any, call: Any) -> Any:
    """Make a prepared call and return DSPy's ``CallResult``.

    Args:
        lm: the language model.
        facade: what stands for it where DSPy decides about retries; has ``num_retries = 0``.
        call: the prepared call.
    """
    engine = _direct(lm._engine_spec, call) if call.managed else None
    if engine is None:
        return execute(facade if call.managed else lm, call)
    with error_boundary(lm.model):
        request = request_of(call.legacy)
    with error_boundary(lm.model, unexpected=True):
        return _result(lm, call, engine.complete(request))


async def acomplete(lm: Any, facade: Any, call: Any) -> Any:
    """Async version of ``complete``."""
    engine = _direct(lm._async_engine_spec, call) if call.managed else None
    if engine is None:
        return await aexecute(facade if call.managed else lm, call)
    with error_boundary(lm.model):
        request = request_of(call.legacy)
    with error_boundary(lm.model, unexpected=True):
        return _result(lm, call, await engine.complete(request))


def _direct(engine: Any, call: Any) -> Any:
    """Return ``engine`` where it is the host's own and one plain attempt is all that the call takes."""
    if engine is None or isinstance(engine, str) or call.cache or call.n != 1 or call.request is not None:
        return None
    special = (
        isinstance(call.legacy.get("response_format"), type)
        or call.legacy.get("prompt_cache") is not None
        or hasattr(engine, "complete_legacy")
        or settings.send_stream is not None
    )
    return None if special else engine


def _result(lm: Any, call: Any, response: Any) -> Any:
    if not isinstance(response, Response):
        raise TypeError(f"Engine.complete must return dspy.lm15.Response, got {type(response).__qualname__}")
    return CallResult.native(response, model_type=lm.model_type, logprobs=bool(call.legacy.get("logprobs")))


def request_of(options: Mapping[str, Any]) -> Request:
    """Return the request for chat messages and options as DSPy has merged them.

    Equal to what DSPy's converter makes of them. That one knows every shape that a message can have and reads each
    against the dialect of a provider; nearly all prompts are texts, which need none of it.
    """
    body = {name: value for name, value in options.items() if value is not None and name not in _NOT_FOR_ENGINE}
    if body.keys() <= _EASY:
        messages = body["messages"]
        if all(map(_is_text, messages)):
            return _text_request(body, messages) or request_from_openai_chat(body)
    return request_from_openai_chat(body)


def _is_text(message: Mapping[str, Any]) -> bool:
    content = message.get("content")
    return type(content) is str and content != "" and len(message) == 2 and "role" in message


def _text_request(body: Mapping[str, Any], messages: Sequence[Mapping[str, Any]]) -> Request | None:
    system, turns = None, messages
    if messages and messages[0]["role"] == "system":
        system, turns = messages[0]["content"], messages[1:]
    if not turns or any(turn["role"] not in ("user", "assistant") for turn in turns):
        return None
    return Request(
        model=body["model"],
        messages=tuple(Message(role=turn["role"], parts=(TextPart(turn["content"]),)) for turn in turns),
        system=system,
        config=_config(*[body.get(name) for name in _DIRECT]),
    )


# typed: True and 1 are equal keys, and only one of them is a temperature
@lru_cache(maxsize=128, typed=True)
def _config(*values: Any) -> Config:
    return Config(**dict(zip(_DIRECT, values, strict=True)))
