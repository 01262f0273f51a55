"""ReplayLM: stands for a language model without calling it, to show what would be sent or to read an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dspy.clients.backend_selection import CLIENT_KEYS
from dspy.clients.call_result import CallResult
from dspy.clients.execution import execute, finalize
from dspy.lm15 import Message, Request, Response, TextPart, Usage

from hokusai_core.call_records import Meter
from hokusai_core.dspy_bridge.engine_calls import is_managed, is_public_call_plain, prepare_call, request_of
from hokusai_core.dspy_bridge.metered_call import MeteredCall
from hokusai_core.dspy_bridge.metered_lm import MeteredLM

__all__ = ["ReplayLM", "RequestReady", "count_tokens", "messages_of", "response_of"]

#: Characters of a token, as a rule of thumb for texts in European languages.
_CHARACTERS_PER_TOKEN = 4


class RequestReady(BaseException):
    """The request is complete. No ``Exception``: adapters take one for a failed call and make another.

    Args:
        request: what would be sent.
    """

    def __init__(self, request: Request) -> None:
        super().__init__("the request is complete")
        self.request = request


class _RequestEngine:
    """An engine that raises ``RequestReady`` in place of an answer."""

    def complete(self, request: Request) -> Response:
        raise RequestReady(request)


class ReplayLM(MeteredLM):
    """Says of itself what a language model says, and answers with a given response.

    Args:
        lm: the language model; it is not called.
        response: the answer to every call; None to raise ``RequestReady`` with the request.
        parameters: parameters of every call.
    """

    def __init__(self, lm: Any, response: Response | None = None, parameters: Mapping[str, Any] | None = None) -> None:
        super().__init__(lm, Meter(), whole_answers=True, parameters=parameters)
        self._response, self._engine_spec = response, _RequestEngine()

    @staticmethod
    def objection(lm: Any) -> str | None:
        """Return why nothing but a call of ``lm`` shows what it sends; None where something else does."""
        if is_managed(lm) and is_public_call_plain(lm):
            return None
        return f"the class {type(lm).__name__} of its language model decides in code of its own what it sends"

    def copy(self, **changes: Any) -> ReplayLM:
        """Return the stand-in of a changed copy of the language model."""
        return ReplayLM(self._lm.copy(**changes), self._response, self._parameters)

    def _perform(self, asked: MeteredCall) -> tuple[Any, Any]:
        options = self._options(asked.kwargs)
        call = prepare_call(self._lm, asked.prompt, asked.messages, options, asynchronous=False)
        # Address and key are settings of the client, and no part of what is asked.
        call = replace(call, legacy={name: value for name, value in call.legacy.items() if name not in CLIENT_KEYS})
        if self._response is None:
            if call.legacy.get("response_format") is None and call.legacy.get("prompt_cache") is None:
                raise RequestReady(request_of(call.legacy))
            execute(self, call)
        result = CallResult.native(
            self._response, model_type=self._lm.model_type, logprobs=bool(call.legacy.get("logprobs"))
        )
        return finalize(self._lm, call, result), result


def response_of(answer: str | Response, model: str) -> Response:
    """Return an answer as a response.

    Args:
        answer: the whole text that a model wrote, or the response of an engine.
        model: name of the model.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(answer, Response):
        return answer
    if not isinstance(answer, str):
        raise TypeError(
            f"expected the text that a model wrote, or a dspy.lm15.Response, as the answer, not {type(answer).__name__}"
        )
    message = Message(role="assistant", parts=(TextPart(answer),))
    return Response(id=None, model=model, message=message, finish_reason="stop", usage=Usage())


def count_tokens(lm: Any, request: Request) -> tuple[int, bool]:
    """Return the tokens of a request, and whether the engine of ``lm`` has counted them; else they are an estimate."""
    count = getattr(getattr(lm, "_engine_spec", None), "count_tokens", None)
    if callable(count):
        return int(count(request)), True
    characters = sum(len(text) for text in texts_of(request))
    return -(-characters // _CHARACTERS_PER_TOKEN), False


def messages_of(request: Request) -> list[dict[str, str]]:
    """Return role and text of each message of a request, its system message first."""
    system = [request.system] if isinstance(request.system, str) else [part.text for part in request.system or ()]
    first = [{"role": "system", "content": "".join(system)}] if system else []
    return [*first, *({"role": str(message.role), "content": message.text or ""} for message in request.messages)]


def texts_of(request: Request) -> list[str]:
    """Return every text of a request: of its system message, then of its messages."""
    system = [request.system] if isinstance(request.system, str) else [part.text for part in request.system or ()]
    return [*system, *(message.text or "" for message in request.messages)]
