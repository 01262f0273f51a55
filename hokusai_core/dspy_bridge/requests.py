"""Build the request of an engine directly from chat messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from dspy.lm15 import Config, Message, Request, TextPart, request_from_openai_chat

__all__ = ["request_of"]

#: Options that steer DSPy and are no part of what the engine is asked.
_NOT_FOR_ENGINE = frozenset({"n", "num_generations", "prompt_cache", "rollout_id"})
#: Options that mean the same to the engine, under the same name.
_DIRECT = ("max_tokens", "temperature", "top_p", "top_k", "seed")
_EASY = frozenset({"model", "messages", *_DIRECT})


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
