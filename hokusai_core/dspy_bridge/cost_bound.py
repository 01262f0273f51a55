"""The most that a call of a language model may cost, worked out before it is made.

A token is at least a byte of text, so the bytes of what is sent bound the tokens of a prompt. ``max_tokens`` bounds
those of an answer, thoughts included. Prices are the dearest that may hold: of long prompts, of what is put into a
prompt cache, of thoughts, of a faster tier.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from attrs import frozen
from dspy._vendor.lm15.serde import request_to_dict
from dspy.lm15 import Request

from hokusai_core.call_records import CostBound
from hokusai_core.dspy_bridge.engine_calls import is_managed, request_of
from hokusai_core.dspy_bridge.model_prices import is_free, prices_of
from hokusai_core.money import picodollars
from hokusai_core.price_table import PriceTable

__all__ = ["answers_asked_for", "cost_bound"]

#: Tokens that a provider may add: around each message, to each prompt, and where there are tools or a schema.
_PER_MESSAGE: Final = 16
_PER_PROMPT: Final = 256
_PER_SCHEMA: Final = 1024
#: Tokens that a picture has at most, however few bytes. The most that OpenAI counts is 48,169.
_PER_PICTURE: Final = 65_536
#: How much longer a provider's strict form of a schema may be.
_STRICT: Final = 3
_OUTPUT_LIMITS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_COUNTS: Final = ("n", "num_generations", "best_of")
#: Options that are no part of the prompt, or are looked at by themselves.
_NO_TEXT: Final = frozenset(
    {"messages", "model", "prompt", "request", "cache", "rollout_id", "api_key", "api_base", "base_url", "headers"}
    | {"extra_headers", "temperature", "timeout", "num_retries", "prompt_cache", *_OUTPUT_LIMITS, *_COUNTS}
)
_LONG: Final = re.compile(r"_above_(\d+)k_tokens")
#: The end of the name of a price of a tier of service. Without a word, a provider may choose the one with a surcharge.
_TIER: Final = re.compile(r"_(priority|flex|batches|balanced|ultrafast)$")
_ANY_TIER: Final = (None, "auto", "priority")
#: Options of what the provider does beside, for fees that no price list names; and of several requests for one call.
_FEES: Final = frozenset({"web_search_options", "search_parameters", "plugins", "probabilities"})
#: Options that say how much a model thinks. Some providers let it think that much beside ``max_tokens``.
_THOUGHTS: Final = ("thinking", "reasoning", "reasoning_effort")
#: The most that a word such as ``high`` stands for.
_MOST_THOUGHTS: Final = 65_536
_INPUT: Final = re.compile(
    r"(input_cost_per_|cache_(read|creation)_input_)(?!.*(batch|image|video|audio|character))\w*token"
)
_OUTPUT: Final = re.compile(r"output_cost_per_(?!.*(batch|image|video|audio|character))\w*token")
_SOUND: Final = re.compile(r"(input|output)_cost_per_audio_token")
_PICTURES: Final = re.compile(r"input_cost_per_image_token")

_WITHOUT_FEES: Final = (
    "{}: nothing says before a call what this costs: leave it out, or bound calls or tokens in place of cost "
    "(Budget(calls=..., tokens=...))"
)


class _NotBoundedError(Exception):
    """The cost of a call cannot be bounded; says why, and what to do."""


@frozen
class _Prompt:
    """What is sent.

    Args:
        tokens: the most tokens that it has.
        sounds: whether sounds are in it, or may be in the answer.
        pictures: whether pictures are in it.
    """

    tokens: int
    sounds: bool = False
    pictures: bool = False


def cost_bound(
    lm: Any, prompt: Any, messages: Any, options: Mapping[str, Any], prices: PriceTable | None = None
) -> CostBound:
    """Return the most that a call may cost.

    Args:
        lm: the language model.
        prompt: the prompt, as text or as a request of DSPy; None where there are messages.
        messages: the messages.
        options: options of the call, which go before those of ``lm``.
        prices: prices that go before those of DSPy.
    """
    own = prices is not None and lm.model in prices
    if not own and is_free(lm):
        return CostBound(0)
    entry = None if own else prices_of(lm)
    if not own and entry is None:
        return CostBound(None, "", unpriced=True)
    given = _Options.of(lm, options)
    try:
        request = next((item for item in (prompt, options.get("request")) if isinstance(item, Request)), None)
        sent = _of_request(request) if request is not None else _of_messages(lm, prompt, messages, given)
        if own and prices is not None:
            first, last = prices.highest(lm.model, sent.tokens) or (0.0, 0.0)
        else:
            first, last = _highest(entry or {}, sent, given.last("service_tier"))
        limit = _answer_limit(lm, given) if request is None else _answer_limit_of(request)
        if not limit and last:
            raise _NotBoundedError(
                f"{lm.model}: a ceiling on cost needs a bound of every answer: set max_tokens, with "
                "parameters={'max_tokens': 1000}, --parameter max_tokens=1000, HOKUSAI_PARAMETERS=max_tokens=1000 or "
                "dspy.LM(..., max_tokens=1000)"
            )
    except _NotBoundedError as error:
        return CostBound(None, str(error))
    count = answers_asked_for(lm, options)
    dollars = count * (sent.tokens * Decimal(str(first)) + (limit or 0) * Decimal(str(last)))
    return CostBound(picodollars(dollars))


def answers_asked_for(lm: Any, options: Mapping[str, Any]) -> int:
    """Return how many answers a call asks for."""
    return _Options.of(lm, options).most(_COUNTS) or 1


@frozen
class _Options:
    """The options of a call, wherever they are given: with it, with its model, or for its body."""

    sources: tuple[Mapping[str, Any], ...]

    @classmethod
    def of(cls, lm: Any, options: Mapping[str, Any]) -> _Options:
        given = [options, getattr(lm, "kwargs", None) or {}]
        bodies = [body for source in given if isinstance(body := source.get("extra_body"), Mapping)]
        return cls((*bodies, *given))

    def last(self, name: str) -> Any:
        return next((source[name] for source in self.sources if source.get(name) is not None), None)

    def most(self, names: tuple[str, ...]) -> int | None:
        """Return the greatest number that is given by one of the names; a call goes before its model."""
        found = [self.last(name) for name in names]
        numbers = [value for value in found if isinstance(value, (int, float)) and not isinstance(value, bool)]
        return math.ceil(max(numbers)) if numbers else None

    def texts(self) -> Iterator[tuple[str, Any]]:
        """Yield the options that may be part of the prompt."""
        seen: set[str] = set()
        for source in self.sources:
            for name, value in source.items():
                if name not in _NO_TEXT and name not in seen and value is not None:
                    seen.add(name)
                    yield name, value


def _of_messages(lm: Any, prompt: Any, messages: Any, given: _Options) -> _Prompt:
    counted = _counted(lm, prompt, messages, given)
    if counted is not None:
        return _Prompt(counted + _PER_PROMPT)
    tokens, sounds, pictures = _PER_PROMPT, "audio" in (given.last("modalities") or ()), False
    for message in messages or ({"role": "user", "content": prompt},):
        content = message.get("content")
        tokens += _PER_MESSAGE
        for part in content if isinstance(content, list) else (content,):
            kind, more = _of_part(part)
            tokens += more
            sounds, pictures = sounds or kind == "input_audio", pictures or kind == "image_url"
        if len(message) > 2:
            tokens += _bytes_of({name: value for name, value in message.items() if name not in ("role", "content")})
    for name, value in given.texts():
        if name in _FEES:
            raise _NotBoundedError(_WITHOUT_FEES.format(name))
        tokens += _of_option(name, value)
    return _Prompt(tokens, sounds, pictures)


def _counted(lm: Any, prompt: Any, messages: Any, given: _Options) -> int | None:
    """Return the tokens of a prompt as the tokenizer of the model counts them; None where there is none."""
    count = getattr(getattr(lm, "_engine_spec", None), "count_tokens", None)
    if not callable(count) or not is_managed(lm) or any(True for _ in given.texts()):
        return None
    try:
        asked = messages or [{"role": "user", "content": prompt}]
        return int(count(request_of({"model": lm.model, "messages": asked})))
    except Exception:  # the bytes bound it as well
        return None


def _of_part(part: Any) -> tuple[str, int]:
    """Return the kind of a part of a message, and the most tokens that it has."""
    if part is None or isinstance(part, str):
        return "text", len((part or "").encode("utf-8", "surrogatepass"))
    kind = str(part.get("type")) if isinstance(part, Mapping) else type(part).__name__
    if kind == "text":
        return kind, len(str(part.get("text") or "").encode("utf-8", "surrogatepass"))
    held = part.get(kind) if isinstance(part, Mapping) else None
    if kind == "image_url":
        url = held.get("url") if isinstance(held, Mapping) else held
        return kind, max(_PER_PICTURE, len(str(url or "")))
    if kind == "input_audio" and isinstance(held, Mapping) and isinstance(held.get("data"), str):
        return kind, len(held["data"])
    raise _NotBoundedError(
        f"nothing bounds what a part of the kind {kind!r} costs before it is sent: give its text or pictures of it, or "
        "bound calls or tokens in place of cost (Budget(calls=..., tokens=...))"
    )


def _of_option(name: str, value: Any) -> int:
    if name == "response_format" and isinstance(value, type):
        schema = getattr(value, "model_json_schema", None)
        return _PER_SCHEMA + (_STRICT * _schema_bytes(value) if callable(schema) else 0)
    if name in ("tools", "functions"):
        fees = [tool for tool in value if isinstance(tool, Mapping) and tool.get("type", "function") != "function"]
        if fees or not isinstance(value, (list, tuple)):
            raise _NotBoundedError(_WITHOUT_FEES.format("a tool of the provider's own"))
        return _PER_SCHEMA + _STRICT * _bytes_of(value)
    return (_PER_SCHEMA if name == "response_format" else 0) + _bytes_of(value)


def _bytes_of(value: Any) -> int:
    """Return the bytes of a value as JSON; what JSON has no form for as its text."""
    return len(json.dumps(value, default=str))


@lru_cache(maxsize=256)
def _schema_bytes(model: Any) -> int:
    return _bytes_of(model.model_json_schema())


def _answer_limit(lm: Any, given: _Options) -> int | None:
    """Return the most tokens that an answer has, thoughts included; None where nothing bounds them."""
    limit = given.most(_OUTPUT_LIMITS)
    if not limit:
        return None
    thoughts = [value for name in _THOUGHTS if (value := given.last(name)) is not None]
    numbers = [number for value in thoughts if isinstance(value, Mapping) for number in value.values()]
    most = max((number for number in numbers if isinstance(number, int) and not isinstance(number, bool)), default=0)
    beside = "claude" in lm.model or "anthropic" in lm.model
    return limit + max(most, _MOST_THOUGHTS if beside and thoughts else 0)


def _answer_limit_of(request: Request) -> int | None:
    limit, reasoning = request.config.max_tokens, request.config.reasoning
    thoughts = getattr(reasoning, "thinking_budget", None) or (0 if reasoning is None else _MOST_THOUGHTS)
    return limit + thoughts if limit else None


def _of_request(request: Request) -> _Prompt:
    """Return what a request of DSPy sends."""
    written = request_to_dict(request)
    for kind in _kinds_in(written):
        if kind in ("image", "audio", "video", "document", "binary", "builtin"):
            raise _NotBoundedError(_WITHOUT_FEES.format(f"a part of the kind {kind!r} in a request"))
    return _Prompt(_PER_PROMPT + _PER_SCHEMA + _PER_MESSAGE * len(request.messages) + _STRICT * _bytes_of(written))


def _kinds_in(value: Any) -> Iterator[Any]:
    """Yield every ``type`` in JSON-able data."""
    if isinstance(value, Mapping):
        yield value.get("type")
        for item in value.values():
            yield from _kinds_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _kinds_in(item)


def _highest(entry: Mapping[str, Any], sent: _Prompt, tier: Any) -> tuple[float, float]:
    """Return the most that a token of the prompt and one of the answer may cost, by an entry of a price list.

    Args:
        entry: the entry.
        sent: what is sent.
        tier: tier of service that the call asks for, None for none.
    """
    first = last = 0.0
    for name, value in entry.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        special = _TIER.search(name)
        if special is not None and special[1] != tier and (special[1] != "priority" or tier not in _ANY_TIER):
            continue
        if (long := _LONG.search(name)) is not None and sent.tokens <= int(long[1]) * 1000:
            continue
        sound = sent.sounds and _SOUND.match(name) is not None
        if _INPUT.match(name) or (sound and name.startswith("input")) or (sent.pictures and _PICTURES.match(name)):
            first = max(first, value)
        if _OUTPUT.match(name) or (sound and name.startswith("output")):
            last = max(last, value)
    return first, last
