"""CassetteTape: stands between the meter and the engine, answers what its cassette knows, and records the rest."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from attrs import define, field
from dspy._vendor.lm15.serde import request_to_dict, response_from_dict, response_to_dict
from dspy.clients.call_result import CallResult, attributes, combine
from dspy.clients.legacy_outputs import plain
from dspy.lm15 import Message, Response, TextPart, Usage
from dspy.utils import exceptions as raised
from dspy.utils.exceptions import LMError

from hokusai_core.cassettes import Cassette
from hokusai_core.cassettes.cassette_file import Interaction
from hokusai_core.dspy_bridge.answer_ending import ending_of
from hokusai_core.dspy_bridge.model_info import asked_options, credentials_of, is_private
from hokusai_core.dspy_bridge.sensitive_mask import SensitiveMask, mapped_texts
from hokusai_core.errors import CassetteMiss
from hokusai_core.json_encoding import jsonable
from hokusai_core.media import without_content
from hokusai_core.process import active_cassettes
from hokusai_core.redaction import REDACTED, hidden
from hokusai_core.signatures.spec import SignatureSpec

__all__ = ["CassetteTape", "asked_of", "check_unrecorded"]

#: Takes the next piece of an answer.
OnText = Callable[[str], None]
#: Makes the call; takes what hears the pieces of its answer.
MakeCall = Callable[[OnText | None], Any]

#: Errors that tell what a provider has answered. Others, such as a lost connection, say nothing of the request.
_ANSWERED: Final = (raised.LMProviderError, raised.LMUnsupportedFeatureError, raised.LMStreamAssemblyError)
#: What an error holds beside its message.
_ERROR_FACTS: Final = ("status", "retry_after", "provider", "provider_code")
#: Texts of the environment that are shorter are no credentials.
_SHORTEST: Final = 8
_PIECES = re.compile(r"\s*\S+|\s+")
_SECRET_MEMBER = re.compile(
    r'("(?:api[_-]?key|access[_-]?key|secret|token|password|passwd|authorization)"\s*:\s*)"(?:[^"\\]|\\.)*"', re.I
)
_PASSWORD = re.compile(r"://[^/\s:@]*:([^/\s@]+)@")


@define(eq=False)
class CassetteTape:
    """The calls of one attempt, as a cassette sees them; safe to use from many threads at once.

    Args:
        cassette: the cassette.
        signature: name of the signature.
        mask: keeps sensitive values out; None where no field is sensitive.
    """

    cassette: Cassette
    signature: str
    mask: SensitiveMask | None
    #: Why a call could not be answered; a program that goes on without its answer must not pass for a replay.
    missed: CassetteMiss | None = field(default=None, init=False)
    _lock: Any = field(factory=threading.Lock, init=False)

    @classmethod
    def of(
        cls, cassette: Cassette, spec: SignatureSpec, inputs: Mapping[str, Any], safe: Mapping[str, str]
    ) -> CassetteTape:
        """Return the tape of an attempt.

        Args:
            cassette: the cassette.
            spec: the signature.
            inputs: its bound inputs.
            safe: field -> its name in prompts, where that differs.
        """
        mask = SensitiveMask(spec, inputs, safe) if spec.sensitive else None
        if mask is not None and cassette.records:
            cassette.keep_out(spec.name, mask.telling)
        return cls(cassette, spec.name, mask)

    def complete(self, lm: Any, asked: Mapping[str, Any], make: MakeCall, on_text: OnText | None) -> Any:
        """Return the recorded answer to a call, or make it and record its answer.

        Args:
            lm: the language model.
            asked: ``messages``, ``prompt`` or ``request``, and the options of the call.
            make: makes the call and returns DSPy's ``CallResult``.
            on_text: takes the pieces of the answer; None for an answer as a whole.

        Raises:
            CassetteMiss: the cassette has no answer, and its mode allows no call.
        """
        request, credentials = self._request(lm, asked)
        found = self._find(request)
        if found is not None:
            return self._play(found, lm, asked, on_text)
        heard = _Heard(on_text)
        try:
            result = make(heard.listener)
        except LMError as error:
            self._record_error(request, error, heard.text, credentials)
            raise
        self._record(request, result, credentials)
        return result

    async def acomplete(
        self, lm: Any, asked: Mapping[str, Any], make: Callable[[OnText | None], Awaitable[Any]], on_text: OnText | None
    ) -> Any:
        """Async version of ``complete``."""
        request, credentials = self._request(lm, asked)
        found = self._find(request)
        if found is not None:
            return self._play(found, lm, asked, on_text)
        heard = _Heard(on_text)
        try:
            result = await make(heard.listener)
        except LMError as error:
            self._record_error(request, error, heard.text, credentials)
            raise
        self._record(request, result, credentials)
        return result

    def refuse(self, model: str) -> CassetteMiss:
        """Return the error for a call that a cassette cannot take, and note it."""
        self.missed = CassetteMiss(
            f"signature {self.signature!r}: its program calls {model} with a language model that it makes itself, "
            "which a cassette cannot record; give the model to a predictor (predictor.lm = ...), or leave the cassette",
            signature=self.signature,
        )
        return self.missed

    def _request(self, lm: Any, asked: Mapping[str, Any]) -> tuple[dict[str, Any], frozenset[str]]:
        """Return what is asked, free of credentials and sensitive values, and the credentials of the call."""
        credentials = credentials_of(lm) | _credentials_of_environment()
        typed = asked.get("request")
        if typed is not None:
            body = request_to_dict(typed)
            messages = [{"role": "system", "content": body["system"]}] if body.get("system") else []
            messages += body.get("messages", [])
            options = {name: value for name, value in body.items() if name not in ("model", "system", "messages")}
        else:
            given = asked.get("messages") or [{"role": "user", "content": str(asked.get("prompt"))}]
            messages, options = [dict(without_content(message)) for message in given], asked_options(asked)
        request = _plain({"model": str(lm.model), "options": options, "messages": messages})
        if self.mask is not None:  # first, as a value of which a part is hidden is not found as a whole
            with self._lock:
                asked_now = {"options": request["options"], "messages": request["messages"]}
                request = {**request, **self.mask.request(asked_now)}
        return _without_credentials(request, credentials), credentials

    def _find(self, request: Mapping[str, Any]) -> Interaction | None:
        try:
            found = self.cassette.find(self.signature, request)
        except CassetteMiss as miss:
            self.missed = miss
            raise
        if found is None:
            self.cassette.check(self.signature, request)
        return found

    def _record(self, request: Mapping[str, Any], result: Any, credentials: frozenset[str]) -> None:
        response: Mapping[str, Any] = _plain(_response_data(result, str(request["model"])))
        if self.mask is not None:
            with self._lock:
                response = self.mask.answer(response, request["messages"])
                self.cassette.keep_out(self.signature, self.mask.telling)
        self.cassette.record(Interaction(self.signature, request, _without_credentials(response, credentials)))

    def _record_error(
        self, request: Mapping[str, Any], error: LMError, heard: str, credentials: frozenset[str]
    ) -> None:
        late = isinstance(error, raised.LMTimeoutError) and error.status is None  # its deadline, not the provider
        if late or not isinstance(error, _ANSWERED):
            return
        facts = {name: value for name in _ERROR_FACTS if (value := getattr(error, name, None)) is not None}
        told = {"heard": heard} if heard else {}
        data = _plain({"type": _public_class(error).__name__, "message": error.message, **facts, **told})
        if self.mask is not None:
            with self._lock:
                data = self.mask.error(data, request["messages"])
        self.cassette.record(Interaction(self.signature, request, error=_without_credentials(data, credentials)))

    def _play(self, found: Interaction, lm: Any, asked: Mapping[str, Any], on_text: OnText | None) -> Any:
        data: Mapping[str, Any] = found.response or found.error or {}
        if data.get("withheld"):
            self.missed = CassetteMiss(
                f"signature {self.signature!r}: the cassette {self.cassette.path} holds no answer to this call, "
                "because the value of a sensitive output could not be separated from the rest of it",
                signature=self.signature,
            )
            raise self.missed
        if self.mask is not None:
            with self._lock:
                data = self.mask.restored(data)
        if found.error is not None:
            _tell(str(data.get("heard", "")), on_text)
            raise _error_of(data, lm, str(self.cassette.path))
        result = _result_of(data, lm, logprobs=bool(asked.get("logprobs")))
        _tell("".join(part.text for one in result.responses for part in one.message.parts if _is_text(part)), on_text)
        return result


def check_unrecorded(lm: Any) -> None:
    """Refuse a call beside an execution where a cassette is only replayed.

    Optimizers make such calls. Their prompts may quote any example, so they are not recorded.

    Raises:
        CassetteMiss: the cassette of this context allows no call.
    """
    cassette = active_cassettes.current
    if cassette is not None and not cassette.records:
        raise CassetteMiss(
            f"{lm.model} is called beside an execution, as optimizers do, and such calls are not recorded; the "
            f"cassette {cassette.path} allows no others (record_mode {cassette.record_mode!r})"
        )


def asked_of(call: Any) -> dict[str, Any]:
    """Return what a call asks, as DSPy has prepared it."""
    return call.legacy if call.request is None else {**call.legacy, "request": call.request}


class _Heard:
    """Keeps the pieces of a streamed answer.

    Args:
        on_text: receives them; None for an answer that comes as a whole.
    """

    def __init__(self, on_text: OnText | None) -> None:
        self._on_text, self._pieces = on_text, list[str]()
        self.listener = None if on_text is None else self._hear

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    def _hear(self, piece: str) -> None:
        self._pieces.append(piece)
        if self._on_text is not None:
            self._on_text(piece)


def _tell(text: str, on_text: OnText | None) -> None:
    """Hand out a recorded answer word by word."""
    if on_text is not None:
        for piece in _PIECES.findall(text):
            on_text(piece)


def _is_text(part: Any) -> bool:
    return isinstance(part, TextPart)


def _plain(value: Any) -> Any:
    """Return what is recorded as JSON-able data."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    try:
        return jsonable(value)
    except (TypeError, ValueError):
        return str(value)


def _without_credentials(value: Any, credentials: frozenset[str]) -> Any:
    """Return JSON-able data without what is or looks like a credential. A text in JSON stays one."""

    def clean(text: str) -> str:
        return hidden(_SECRET_MEMBER.sub(rf'\1"{REDACTED}"', text) if '":' in text else text, credentials)

    return mapped_texts(value, clean)


def _credentials_of_environment() -> frozenset[str]:
    """Return the values of variables whose names are those of credentials, and passwords in addresses."""
    found: set[str] = set()
    for name, value in os.environ.items():
        # A word such as "postgres" may stand in a prompt, and not be a password on another machine.
        telling = len(value) >= 2 * _SHORTEST or (len(value) >= _SHORTEST and any(map(str.isdigit, value)))
        if telling and is_private(name):
            found.add(value)
        found |= set(_PASSWORD.findall(value)) if "://" in value else set()
    return frozenset(found)


def _response_data(result: Any, model: str) -> dict[str, Any]:
    """Return a ``CallResult`` as data."""
    usage = {name: value for name, value in plain(result.usage).items() if value is not None}
    data: dict[str, Any] = {"usage": usage} if usage else {}
    if result.cost is not None:
        data["cost"] = result.cost
    if not result.responses:
        return {"outputs": plain(result.outputs), "finish_reason": ending_of(result).reason, **data}
    return {"answers": [_answer_data(one, model) for one in result.responses], **data}


def _answer_data(response: Response, model: str) -> dict[str, Any]:
    whole = response_to_dict(response)
    if len(response.message.parts) != 1 or not _is_text(response.message.parts[0]) or whole.get("logprobs"):
        return {name: value for name, value in whole.items() if name not in ("id", "usage")}
    data = {"text": response.message.parts[0].text, "finish_reason": response.finish_reason}
    return data if response.model == model else {"model": response.model, **data}


def _result_of(data: Mapping[str, Any], lm: Any, *, logprobs: bool) -> Any:
    """Return recorded data as a ``CallResult``."""
    if "outputs" in data:
        reason = [{"finish_reason": data.get("finish_reason")}]
        result = CallResult(outputs=attributes(data["outputs"]), raw=attributes({"choices": reason}))
    else:
        kind = getattr(lm, "model_type", "chat")
        results = [
            CallResult.native(_response_of(one, lm.model), model_type=kind, logprobs=logprobs)
            for one in data["answers"]
        ]
        result = results[0] if len(results) == 1 else combine(results, model_type=kind)
    result.usage, result.cost = dict(data.get("usage", {})), data.get("cost")
    if result.cost is not None:
        result.cost_details = {"kind": "recorded"}
    return result


def _response_of(data: Mapping[str, Any], model: str) -> Response:
    if "message" in data:
        return response_from_dict({"model": model, **data})
    message = Message(role="assistant", parts=(TextPart(data["text"]),))
    return Response(
        id=None, model=data.get("model", model), message=message, finish_reason=data["finish_reason"], usage=Usage()
    )


def _public_class(error: LMError) -> type[LMError]:
    """Return the class of DSPy that an error is of; a host may have derived its own."""
    return next(kind for kind in type(error).__mro__ if kind.__module__ == raised.__name__)


def _error_of(data: Mapping[str, Any], lm: Any, path: str) -> LMError:
    kind = getattr(raised, str(data.get("type")), raised.LMProviderError)
    if not (isinstance(kind, type) and issubclass(kind, LMError)):
        kind = raised.LMProviderError
    facts = {name: data[name] for name in _ERROR_FACTS if name in data}
    error: LMError = kind(message=str(data.get("message", "")), model=lm.model, **facts)
    error.add_note(f"recorded in {path}")
    return error
