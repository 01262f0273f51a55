"""Generates several outputs one after the other, as a conversation, because small models write poorly inside JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import evolve

from hokusai_local.inference_sequence import Generation, InferenceSequence, Messages, prefix_of
from hokusai_local.json_generation import write_json
from hokusai_local.output_request import ASK_KEY, PROSE_KEY, QUESTION_KEY, OutputRequest
from hokusai_local.request_context import Enough, GeneratedAnswer, RequestContext
from hokusai_local.text_generation import write_text

__all__ = ["write_outputs"]


def write_outputs(context: RequestContext, messages: Messages, window: int) -> GeneratedAnswer:
    """Return a JSON object whose properties were asked for one by one, each with those before it in view.

    Args:
        context: what is wanted; each property of its schema says how it is asked for.
        messages: the prompt.
        window: tokens that prompt and answer may have together.

    Raises:
        NoValidAnswer: where a property could not be had.
    """
    schema = context.wanted.schema or {}
    properties: Mapping[str, Any] = schema["properties"]
    definitions = {key: schema[key] for key in ("$defs",) if key in schema}
    texts = sum(map(_is_text, properties.values()))
    # All of them together have what the prompt leaves, and may have more than one text alone.
    budget = min(context.budget * 2 // (texts + 1), (window - context.room) // len(properties))
    conversation = [dict(message) for message in messages]
    values: dict[str, Any] = {}
    answers: list[GeneratedAnswer] = []
    with context.server.slot(context.interruption, prefix_of(messages)) as slot:
        ask = _Conversation(context, slot)
        for name, part in properties.items():
            _add(conversation, part[ASK_KEY], answered=bool(answers))
            turn = evolve(context, budget=budget, wanted=_output_request(part, definitions), ask=ask)
            if _is_text(part):
                answers.append(write_text(turn, conversation))
                values[name] = answers[-1].text
            else:
                answers.append(write_json(turn, conversation, window))
                values[name] = json.loads(answers[-1].text)
            conversation.append({"role": "assistant", "content": answers[-1].text})
    return GeneratedAnswer(
        json.dumps(values, ensure_ascii=False),
        all(answer.complete for answer in answers),
        sum(answer.prompt_tokens for answer in answers),
        sum(answer.reused_tokens for answer in answers),
        sum(answer.output_tokens for answer in answers),
        max(answer.attempts for answer in answers),
    )


class _Conversation:
    """Asks in one slot, whose state each turn goes on from; it depends on the conversation only."""

    def __init__(self, context: RequestContext, slot: InferenceSequence) -> None:
        self._context = context
        self._slot = slot
        self._began = False

    def __call__(self, messages: Messages, body: Mapping[str, Any], enough: Enough | None) -> Generation:
        # What the first turn had room for is followed by no more than was reserved.
        context, reuse, room = self._context, self._began, None if self._began else self._context.room
        if not self._began:
            reuse = self._slot.begin(messages, context.interruption, prefix=prefix_of(messages), room=room)
            self._began = True
        request = {**body, "messages": list(messages), "cache_prompt": reuse}
        return self._slot.generate(request, context.interruption, room=room, enough=enough)


def _is_text(schema: Mapping[str, Any]) -> bool:
    return (
        schema.get("type") == "string" and not {"enum", "format", "pattern", "maxLength", "minLength"} & schema.keys()
    )


def _output_request(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> OutputRequest:
    prose, question = bool(schema.get(PROSE_KEY)), bool(schema.get(QUESTION_KEY))
    return OutputRequest(schema=None if _is_text(schema) else {**schema, **definitions}, prose=prose, question=question)


def _add(conversation: list[dict[str, str]], ask: str, *, answered: bool) -> None:
    if answered:
        conversation.append({"role": "user", "content": ask})
    elif ask:
        conversation[-1]["content"] += f"\n{ask}"
