"""OutputRequest: the outputs that an lm15 request asks of the embedded model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen
from dspy.lm15 import Request, UnsupportedFeatureError

__all__ = [
    "ASK_KEY",
    "BASELINES_KEY",
    "PROSE_KEY",
    "QUESTION_KEY",
    "WORDS_KEY",
    "OutputRequest",
    "chat_messages",
    "read_output_request",
]

#: Annotations that ``LocalAdapter`` adds to a schema; other models ignore keywords that start with ``x-``.
BASELINES_KEY = "x-content-free"
ASK_KEY = "x-ask"
PROSE_KEY = "x-prose"
QUESTION_KEY = "x-question"
WORDS_KEY = "x-words"

Message = dict[str, str]


@frozen
class OutputRequest:
    """The kind of output that a request wants: plain text, one of several options, or JSON.

    Args:
        options: the labels to choose from; empty where the output is not a choice.
        schema: the schema of a JSON answer; None where the answer is not JSON.
        baselines: user messages without content, for judging the options by.
        prose: whether the texts of the answer are prose, which has no use for brackets and braces.
        question: whether plain text is to be one question. Texts inside JSON say so themselves.
        counts_words: whether the token limit stands for a number of words that an input gives. The text is then cut
            back to its last whole sentence; at any other limit it counts as cut off.
    """

    options: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    baselines: tuple[str, ...] = ()
    prose: bool = False
    question: bool = False
    counts_words: bool = False

    @property
    def in_turns(self) -> bool:
        """Whether the outputs are asked for one after the other."""
        properties = (self.schema or {}).get("properties", {})
        return bool(properties) and all(ASK_KEY in value for value in properties.values())

    @property
    def kind(self) -> str:
        """``"choice"``, ``"json"`` or ``"text"``."""
        return "choice" if self.options else "text" if self.schema is None else "json"


def read_output_request(request: Request) -> OutputRequest:
    """Return the kind of output that ``request`` asks for.

    A schema whose root is a string asks for the bare string, without quotes: one of its ``enum``, or free text.
    """
    response_format = request.config.response_format
    if not response_format:
        return OutputRequest()
    if response_format.get("type") != "json_schema":
        return OutputRequest(schema={"type": "object"})
    schema = response_format.get("schema") or response_format.get("json_schema", {}).get("schema", {})
    prose = bool(schema.get(PROSE_KEY, False))
    if schema.get("type") != "string":
        return OutputRequest(schema=schema, prose=prose)
    options = tuple(dict.fromkeys(str(option) for option in schema.get("enum", ())))
    return OutputRequest(
        options=options,
        baselines=tuple(schema.get(BASELINES_KEY, ())),
        prose=prose,
        question=bool(schema.get(QUESTION_KEY, False)),
        counts_words=bool(schema.get(WORDS_KEY, False)),
    )


def chat_messages(request: Request) -> list[Message]:
    """Return the conversation of ``request`` as llama.cpp's chat endpoint takes it.

    Raises:
        UnsupportedFeatureError: where it holds tools, images or anything but text.
    """
    if request.tools:
        raise UnsupportedFeatureError("the embedded model calls no tools", feature="tools")
    messages = []
    if request.system is not None:
        messages.append({"role": "system", "content": _system_text(request.system)})
    for message in request.messages:
        if any(part.type != "text" for part in message.parts):
            raise UnsupportedFeatureError("the embedded model reads and writes text only", feature="messages")
        role = "user" if message.role not in ("user", "assistant", "system") else message.role
        messages.append({"role": role, "content": message.text or ""})
    return messages


def _system_text(system: Any) -> str:
    return system if isinstance(system, str) else "".join(getattr(part, "text", "") for part in system)
