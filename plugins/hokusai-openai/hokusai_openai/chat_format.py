"""ChatFormat: how requests and answers of chat completions look, by the builders and readers of DSPy."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson
from attrs import frozen
from dspy import lm15
from dspy.clients.engines.stream_guard import error_from_event
from dspy.lm15 import (
    Config,
    Message,
    OpenAIChatCompat,
    OpenAIChatLM,
    ProviderError,
    Request,
    Response,
    StreamAssemblyError,
    StreamEndEvent,
    StreamErrorEvent,
    StreamStartEvent,
    TextPart,
    Usage,
    response_from_openai_chat,
)

from hokusai_openai.options import ServerOptions

__all__ = ["ChatFormat", "Events", "Header", "too_large"]

#: Returns the value of a header of the answer, None where there is none.
Header = Callable[[str], str | None]

#: What a server that is not known in particular takes, as all of them do.
_COMPATIBLE = OpenAIChatCompat(max_tokens_field="max_tokens", instruction_role="system")
#: Options of a request that have the same name and meaning in the body.
_PLAIN = ("temperature", "top_p", "seed", "frequency_penalty", "presence_penalty")
#: What a message may hold beside its text that becomes part of an answer.
_BESIDE_TEXT = ("reasoning_content", "reasoning", "refusal", "tool_calls")
_ROLES = frozenset({"user", "assistant"})
#: Headers that name a request for the people who run the server.
_REQUEST_IDS = ("x-request-id", "request-id", "apim-request-id")
#: Bytes of an error that are read, and characters of it that are shown.
_LONGEST_ERROR = 500


class _NoTransport:
    def stream(self, request: Any) -> Any:
        raise RuntimeError("the format of requests is used for its format only")


class ChatFormat:
    """Builds the bodies of requests and reads answers, streams and errors.

    Args:
        options: the server and the model.
    """

    def __init__(self, options: ServerOptions) -> None:
        self._options, self.model = options, options.model
        compat = _COMPATIBLE if options.kind == "compatible" else OpenAIChatCompat.preset(options.kind)
        self._dialect = OpenAIChatLM(
            api_key="not-sent", transport=_NoTransport(), base_url=options.base_url, compat=compat
        )
        self._most_tokens = compat.max_tokens_field or "max_completion_tokens"
        self._usual = Config()

    def body(self, request: Request, *, stream: bool = False) -> bytes:
        """Return the body of a request, in which the model has the name that it has at the server.

        Raises:
            LM15Error: the request cannot be put into this format.
            ValueError: a text of it is not valid Unicode.
        """
        plain = None if stream else self._text_payload(request)
        payload = json.loads(self._dialect.build_request(request, stream=stream).body) if plain is None else plain
        payload["model"] = self._options.model
        if request.config.top_k is not None:
            # DSPy would leave it out, as OpenAI does not know it. Most other servers do.
            if self._options.kind == "openai":
                raise lm15.UnsupportedFeatureError("chat completions of OpenAI take no top_k", feature="config.top_k")
            payload["top_k"] = request.config.top_k
        if plain is not None:  # without values such as NaN, which orjson would write as null
            try:
                return orjson.dumps(payload)
            except TypeError:  # a lone surrogate, or an integer of more than 64 bits
                pass
        text = json.dumps(payload, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        try:
            return text.encode()
        except UnicodeEncodeError:
            raise ValueError("the prompt holds text that is not valid Unicode (a lone surrogate)") from None

    def _text_payload(self, request: Request) -> dict[str, Any] | None:
        """Return the body for a prompt of texts with plain options, None for any other; equal to what DSPy builds."""
        messages: list[dict[str, Any]] = []
        if request.system is not None:
            if not isinstance(request.system, str):
                return None
            messages.append({"role": "system", "content": request.system})
        for message in request.messages:
            if not _is_text(message):
                return None
            messages.append({"role": message.role, "content": message.parts[0].text})
        config = request.config
        payload: dict[str, Any] = {"model": "", "messages": messages}
        if config.max_tokens is not None:
            payload[self._most_tokens] = config.max_tokens
        for name in _PLAIN:
            value = getattr(config, name)
            if value is not None:
                payload[name] = value
        if request.tools or not self._is_plain(config):
            return None
        return payload

    def _is_plain(self, config: Config) -> bool:
        usual = self._usual
        return config is usual or (
            not config.stop
            and config.response_format is None
            and config.tool_choice is None
            and config.reasoning is None
            and config.cache is None
            and config.service_tier is None
            and config.user_id is None
            and config.store is None
            and config.logprobs is None
            and config.probabilities is None
            and not config.extensions
        )

    def answer(self, request: Request, body: bytes, header: Header) -> Response:
        """Return the answer in the body of a successful reply.

        Raises:
            ProviderError: the body is not an answer.
        """
        try:
            data = _parsed(body)
        except ValueError as error:
            raise self._reply_error(f"a reply that is not JSON ({error})", header) from None
        if not isinstance(data, dict):
            raise self._reply_error("a reply that is not a JSON object", header)
        if not data.get("choices") and not data.get("error"):
            raise self._reply_error("a reply without an answer (no choices)", header)
        try:
            return self._text_answer(request, data) or response_from_openai_chat(
                data, model=self._options.model, response_format=request.config.response_format
            )
        except lm15.LM15Error as error:
            raise self.described(error, header) from None
        except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
            raise self._reply_error(f"a reply that cannot be read ({error})", header) from None

    def _text_answer(self, request: Request, data: dict[str, Any]) -> Response | None:
        """Return the answer in a body that holds a whole text, None for any other; equal to what DSPy reads."""
        choices, usage = data.get("choices"), data.get("usage") or {}
        if data.get("error") is not None or request.config.response_format is not None or type(usage) is not dict:
            return None
        if type(choices) is not list or len(choices) != 1 or type(choices[0]) is not dict:
            return None
        choice, message = choices[0], choices[0].get("message")
        if choice.get("finish_reason") != "stop" or choice.get("logprobs") is not None or type(message) is not dict:
            return None
        text = message.get("content")
        if type(text) is not str or not text or any(map(message.get, _BESIDE_TEXT)):
            return None
        prompt, completion = (usage.get(name) or {} for name in ("prompt_tokens_details", "completion_tokens_details"))
        identity = data.get("id")
        return Response(
            id=str(identity) if identity else None,
            model=str(data.get("model") or self._options.model),
            message=Message(role="assistant", parts=(TextPart(text),)),
            finish_reason="stop",
            usage=Usage(
                input_tokens=usage.get("prompt_tokens"),
                output_tokens=usage.get("completion_tokens"),
                total_tokens=usage.get("total_tokens"),
                reasoning_tokens=completion.get("reasoning_tokens"),
                cache_read_tokens=prompt.get("cached_tokens"),
                cache_write_tokens=prompt.get("cache_write_tokens"),
                input_audio_tokens=prompt.get("audio_tokens"),
                output_audio_tokens=completion.get("audio_tokens"),
            ),
            provider_data=data,
        )

    def error(self, status: int, body: bytes, header: Header) -> lm15.LM15Error:
        """Return the error for a reply whose status is not 200."""
        if 300 <= status < 400:
            target = (header("location") or "another address").partition("?")[0]
            message = f"the server redirects to {target}; redirects are not followed: put that address into lm=..."
            return self.described(lm15.InvalidRequestError(message, status=status), header)
        text = self.without_credentials(body[:65_536].decode(errors="replace"))
        return self.described(self._dialect.normalize_error(status, text), header)

    def transport_error(self, what: str, error: BaseException | None = None) -> lm15.TransportError:
        """Return the error for a connection that failed."""
        said = "" if error is None else f" ({self.without_credentials(str(error)) or type(error).__name__})"
        return lm15.TransportError(f"{self._options.base_url}: {what}{said}")

    def timeout_error(self, what: str) -> lm15.TimeoutError:
        """Return the error for a call that took too long."""
        return lm15.TimeoutError(f"{self._options.base_url}: {what}")

    def without_credentials(self, text: str) -> str:
        """Return what a server has said without the key and the values of the headers."""
        for credential in self._options.credentials:
            text = text.replace(credential, "[redacted]")
        return text

    def events(self, request: Request) -> Events:
        """Return what turns a stream into events."""
        return Events(self, request, self._dialect)

    def _reply_error(self, what: str, header: Header) -> ProviderError:
        kind = header("content-type") or "no content type"
        return self.described(ProviderError(f"the server sent {what}; its type is {kind}"), header)

    def described(self, error: lm15.LM15Error, header: Header) -> lm15.LM15Error:
        """Return an error of the server without credentials and with what its headers say."""
        error.message = self.without_credentials(error.message)[:_LONGEST_ERROR]
        error.args = (error.message,)
        error.provider = self._options.base_url
        error.request_id = next((value for name in _REQUEST_IDS if (value := header(name))), error.request_id)
        error.retry_after = _seconds(header("retry-after"))
        return error


@frozen
class _ServerEvent:
    data: str
    event: str | None = None


class Events:
    """Turns the lines of a stream of server-sent events into the events of DSPy: a start, pieces, an end.

    Args:
        chat: the format.
        request: what was asked.
        dialect: DSPy's reader of events.
    """

    def __init__(self, chat: ChatFormat, request: Request, dialect: Any) -> None:
        self._chat, self._request, self._dialect = chat, request, dialect
        self._data: list[str] = []
        self._started = False
        self._end: StreamEndEvent | None = None

    def of_line(self, line: bytes) -> Iterator[Any]:
        """Yield the events that a line completes.

        Raises:
            ProviderError: an event cannot be read, or says that the server has failed.
        """
        text = line.decode(errors="replace").rstrip("\r\n")
        if text.startswith("data:"):
            self._data.append(text[5:].removeprefix(" "))
        elif not text and self._data:
            yield from self._complete()

    def end(self) -> Iterator[Any]:
        """Yield what is left when the stream is over.

        Raises:
            StreamAssemblyError: the stream broke off before the answer was complete.
        """
        if self._data:
            yield from self._complete()
        if self._end is None or not self._started:
            raise StreamAssemblyError("the stream broke off before the answer was complete")
        yield self._end

    def _complete(self) -> Iterator[Any]:
        event, self._data = _ServerEvent("\n".join(self._data)), []
        try:
            found = list(self._dialect.parse_stream_events(self._request, event))
        except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            raise ProviderError(f"the stream holds an event that cannot be read ({error})") from None
        for one in found:
            if isinstance(one, StreamErrorEvent):
                raise self._chat.described(error_from_event(one), _no_header)
            yield from self._begin()
            if isinstance(one, StreamEndEvent):
                self._end = _merged(self._end, one)
            else:
                yield one

    def _begin(self) -> Iterator[Any]:
        if not self._started:
            self._started = True
            yield StreamStartEvent(model=self._chat.model)


def _no_header(name: str) -> None:
    return None


def _merged(first: StreamEndEvent | None, second: StreamEndEvent) -> StreamEndEvent:
    """Return one end of two: a server says in one event why the answer ends, in another what it took."""
    if first is None:
        return second
    return StreamEndEvent(
        finish_reason=second.finish_reason or first.finish_reason,
        usage=second.usage or first.usage,
        provider_data=second.provider_data if second.usage or not first.usage else first.provider_data,
    )


def too_large(limit: int) -> ProviderError:
    """Return the error for a reply that exceeds the limit on its size."""
    return ProviderError(f"the server sent more than {limit:,} bytes; a longer answer needs max_answer_bytes=...")


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except ValueError:  # the standard library also reads half of a pair of surrogates, as models cut them
        return json.loads(body)


def _is_text(message: Message) -> bool:
    parts = message.parts
    return len(parts) == 1 and type(parts[0]) is TextPart and message.role in _ROLES and not message.continuation


def _seconds(value: str | None) -> float | None:
    """Return the seconds that ``Retry-After`` asks for, as a number or as a date; None for neither."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
        except (TypeError, ValueError):
            return None
        seconds = ((when if when.tzinfo else when.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None
