"""A fake language model that answers immediately, in the format that the prompt asks for."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Self
from xml.sax.saxutils import escape

import dspy
from attrs import frozen
from dspy.lm15 import (
    Message,
    Request,
    Response,
    ServerError,
    StreamDeltaEvent,
    TextDelta,
    TextPart,
    Usage,
    response_to_events,
)

from hokusai_core.json_encoding import jsonable
from hokusai_core.process import fork_callbacks
from hokusai_core.signatures.schema_samples import schema_sample

__all__ = ["AsyncNullEngine", "NullEngine", "null_lm"]

_OUTPUT = re.compile(r"^\d+\. `(\w+)` \((.+?)\):(.*(?:\n(?!\d+\. `).*)*)", re.M)
#: What DSPy's formats say of the type of an output, beside its placeholder.
_NOTE = re.compile(r"^\{(\w+)\} {8}# note: the value you produce (.+)$", re.M)
_SCHEMA, _JSON = "must adhere to the JSON schema: ", "Outputs will be a JSON object with the following fields."
_ONE_OF = re.compile(r"must (?:be|exactly match \(no extra characters\)) one of: ")
#: How DSPy states the rules of a field.
_RULES = {
    "greater than: ": "gt",
    "greater than or equal to: ": "ge",
    "less than: ": "lt",
    "less than or equal to: ": "le",
    "minimum length: ": "min_length",
    "maximum length: ": "max_length",
    "a multiple of the given number: ": "multiple_of",
    "must match the regular expression: ": "pattern",
}
_QUOTED = re.compile(r"""'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)\"""")


class NullEngine:
    """An engine that reads the outputs off the prompt and gives each a value of its type.

    Args:
        answers: output field -> its value, or a function of the last user message. Other outputs get a value of their
            type: nested models, lists, enums and choices are read off the prompt, in DSPy's chat and JSON format.
        delay: seconds that every answer takes.
        fail_first: how many of the first calls raise a retryable server error.
        raw: instead of all that: the whole text of every answer, or a function of the last user message.
        pieces: splits an answer that is streamed; None for one piece.

    Attributes:
        calls: how many calls were begun.
        in_flight: how many are under way.
        most_in_flight: how many were under way at once, at most.
        requests: every request, in order, where ``keep_requests``.
    """

    supports_response_schema = False
    supports_function_calling = False
    supports_reasoning = False
    supported_params = frozenset({"max_tokens", "temperature"})

    #: Calls cost nothing, so a ceiling on cost lets them pass.
    free = True

    def __init__(
        self,
        *,
        answers: Mapping[str, Any] | None = None,
        delay: float = 0.0,
        fail_first: int = 0,
        raw: str | Callable[[str], str] | None = None,
        keep_requests: bool = False,
        pieces: Callable[[str], Iterable[str]] | None = None,
    ) -> None:
        self.answers, self.delay, self.fail_first, self.raw = dict(answers or {}), delay, fail_first, raw
        self.keep_requests, self.pieces = keep_requests, pieces
        self.calls = self.in_flight = self.most_in_flight = 0
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        self._texts: dict[str, str] = {}
        fork_callbacks.add(self._after_fork)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # copies of a program count with the original

    def complete(self, request: Request) -> Response:
        """Answer."""
        number = self.begin(request)
        try:
            if self.delay:
                time.sleep(self.delay)
            return self.answer(number, request)
        finally:
            self.end()

    def stream(self, request: Request) -> Iterator[Any]:
        """Answer piece by piece."""
        yield from self.events(self.complete(request))

    def events(self, response: Response) -> Iterator[Any]:
        """Yield the events of a streamed answer."""
        for event in response_to_events(response):
            if event.type != "delta" or self.pieces is None:
                yield event
            else:
                yield from (StreamDeltaEvent(TextDelta(piece)) for piece in self.pieces(event.delta.text))

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

    def begin(self, request: Request) -> int:
        """Count a call and return its number, from 1."""
        with self._lock:
            self.calls += 1
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            if self.keep_requests:
                self.requests.append(request)
            return self.calls

    def end(self) -> None:
        """Count a call as over."""
        with self._lock:
            self.in_flight -= 1

    def answer(self, number: int, request: Request) -> Response:
        """Return the answer to the call of that number.

        Raises:
            ServerError: it is one of the first ``fail_first``.
        """
        if number <= self.fail_first:
            raise ServerError("the null language model was asked to fail", status=503)
        return _response(self._text(request), request.model)

    def _text(self, request: Request) -> str:
        system = request.system if isinstance(request.system, str) else "".join(p.text for p in request.system or ())
        if self.raw is not None:
            return self.raw if isinstance(self.raw, str) else self.raw(_last_user_text(request))
        if not any(callable(value) for value in self.answers.values()):
            text = self._texts.get(system)
            if text is None:
                text = self._texts[system] = self._compose(system, "", bool(request.config.response_format))
            return text
        return self._compose(system, _last_user_text(request), bool(request.config.response_format))

    def _compose(self, system: str, user: str, as_json: bool) -> str:
        outputs = outputs_asked_for(system)
        values = {output.name: self._value(output, user) for output in outputs}
        if as_json or _JSON in system:
            return json.dumps(values)
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
        if outputs and f"\n<{outputs[0].name}>\n" in system:
            return "\n\n".join(f"<{name}>\n{escape(text)}\n</{name}>" for name, text in texts.items())
        parts = [f"[[ ## {name} ## ]]\n{text}" for name, text in texts.items()]
        return "\n\n".join([*parts, "[[ ## completed ## ]]"])

    def _value(self, output: AskedOutput, user: str) -> Any:
        if output.name in self.answers:
            value = self.answers[output.name]
            return jsonable(value(user) if callable(value) else value)
        return output.sample()


class AsyncNullEngine:
    """The asynchronous side of a ``NullEngine``, which does the counting."""

    def __init__(self, engine: NullEngine) -> None:
        self.engine = engine

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    async def complete(self, request: Request) -> Response:
        """Answer."""
        number = self.engine.begin(request)
        try:
            if self.engine.delay:
                await asyncio.sleep(self.engine.delay)
            return self.engine.answer(number, request)
        finally:
            self.engine.end()

    async def stream(self, request: Request) -> AsyncIterator[Any]:
        """Answer piece by piece."""
        for event in self.engine.events(await self.complete(request)):
            yield event

    async def aclose(self) -> None:
        """Do nothing: there is nothing to release."""


def null_lm(*, asynchronous: bool = True, model: str = "null/model", **options: Any) -> Any:
    """Return a ``dspy.LM`` over a ``NullEngine``, which is its ``engine``; DSPy's cache and retries are off.

    Args:
        asynchronous: whether it has an asynchronous engine; hosts' language models often have none.
        model: name of the model.
        options: those of ``NullEngine``.

    Example:
        >>> lm = null_lm(answers={"answer": "42"})
        >>> dspy.Predict("question -> answer")(question="?", lm=lm).answer, lm.engine.calls
        ('42', 1)
    """
    engine = NullEngine(**options)
    async_engine = AsyncNullEngine(engine) if asynchronous else None
    return dspy.LM(model, engine=engine, async_engine=async_engine, cache=False, num_retries=0)


@lru_cache(maxsize=64)
def _response(text: str, model: str) -> Response:
    message = Message(role="assistant", parts=(TextPart(text),))
    usage = Usage(input_tokens=10, output_tokens=5, total_tokens=15)
    return Response(id=None, model=model, message=message, finish_reason="stop", usage=usage)


@frozen
class AskedOutput:
    """An output as a prompt asks for it.

    Args:
        name: its name.
        kind: its type, as DSPy spells it.
        note: what the prompt says of its values beside that.
        rules: what it says of their size.
    """

    name: str
    kind: str
    note: str
    rules: Mapping[str, Any]

    def sample(self) -> Any:
        """Return a JSON-able value of the type."""
        if self.note.startswith(_SCHEMA):
            return schema_sample(json.loads(self.note.removeprefix(_SCHEMA)), self.name, self.rules)
        if self.kind.startswith("Literal["):
            first = _QUOTED.search(self.kind)
            if first:
                return (first[1] or first[2] or "").replace("\\'", "'")
            return json.loads(self.kind[8:-1].partition(",")[0].lower())
        choice = _ONE_OF.match(self.note)
        if choice is not None:
            return self.note[choice.end() :].partition("; ")[0]
        kinds = {"bool": "boolean", "int": "integer", "float": "number"}
        return schema_sample({"type": kinds.get(self.kind, "string")}, self.name, self.rules)


@lru_cache(maxsize=256)
def outputs_asked_for(system: str) -> tuple[AskedOutput, ...]:
    """Return every output that a system message of DSPy's chat, JSON or XML format lists."""
    listed, _, structure = system.partition("Your output fields are:\n")[2].partition(
        "\nAll interactions will be structured"
    )
    notes = dict(_NOTE.findall(structure))
    if _JSON in structure:
        fields = json.JSONDecoder().raw_decode(structure.partition(_JSON)[2].lstrip())[0]
        notes = dict(found[0] for text in fields.values() if (found := _NOTE.findall(text)))
    return tuple(
        AskedOutput(name, kind, notes.get(name, ""), _rules_of(said)) for name, kind, said in _OUTPUT.findall(listed)
    )


def _rules_of(said: str) -> dict[str, Any]:
    """Return the rules that the description of an output ends with."""
    stated = said.rpartition("\nConstraints: ")[2] if "\nConstraints: " in said else ""
    found: dict[str, Any] = {}
    for words, rule in _RULES.items():
        text = stated.partition(words)[2]
        if rule == "pattern" and text:
            found[rule] = text
        elif number := re.match(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?", text):
            found[rule] = json.loads(number[0])
    return found


def _last_user_text(request: Request) -> str:
    return next((message.text or "" for message in reversed(request.messages) if message.role == "user"), "")
