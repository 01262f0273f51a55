"""Writes JSON under a schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jsonschema

from hokusai_local.alphabet import Alphabet
from hokusai_local.grammar import json_grammar
from hokusai_local.inference_sequence import Generation, Messages
from hokusai_local.prose import tidy
from hokusai_local.repetition import repetition_problem
from hokusai_local.request_context import (
    AGAINST_LOOPS,
    ATTEMPTS,
    GeneratedAnswer,
    NoValidAnswer,
    RequestContext,
    UnusableText,
)
from hokusai_local.schema import Bounds, bounded, open_strings

__all__ = ["write_json"]

# Characters of open strings for each token of the budget. Prose has more than four per token, so that the first try
# seldom ends early; the last one cannot: not one character takes more than one token.
_CHARACTERS_PER_TOKEN = (3.0, 0.8, 0.25)
# A text inside JSON that is longer than this has lost its way.
_MOST_CHARACTERS = 400
# The names and signs of JSON come again and again; they must not end what counts as a repetition, nor be punished.
_IN_JSON = {"repeat_penalty": 1.0, "dry_sequence_breakers": ["\n"]}


def write_json(context: RequestContext, messages: Messages, window: int) -> GeneratedAnswer:
    """Return JSON that fits the schema of ``context``.

    Args:
        context: what is wanted.
        messages: the prompt.
        window: tokens that prompt and answer may have together.

    Raises:
        NoValidAnswer: where no attempt gave any.
        UnusableText: where a text repeats itself, also when it is asked for again.
    """
    schema = context.wanted.schema or {"type": "object"}
    problem, output_tokens = "", 0
    texts = max(1, open_strings(bounded(schema, Bounds(characters=1))))
    for attempt, ratio in enumerate(_CHARACTERS_PER_TOKEN):
        last = attempt + 1 == ATTEMPTS
        characters = max(16, min(_MOST_CHARACTERS, int(context.budget * ratio / texts)))
        limits = bounded(schema, _bounds(characters, context.alphabet(messages), last=last))
        body = context.sampling(attempt) | AGAINST_LOOPS[-1] | _IN_JSON
        # A little more than the budget, for the braces and names; and all that there is for the last attempt.
        body["max_tokens"] = window // 2 if last else context.budget + 64
        body["grammar"] = json_grammar(limits)
        generation = context.generate(messages, body)
        output_tokens += generation.output_tokens
        problem = _problem(generation, limits)
        repeats = "" if problem or not context.wanted.prose else _repetition(generation.text)
        if repeats and attempt:
            # The limits of the last attempt would only hide it.
            raise UnusableText(repeats)
        if not problem and not repeats:
            text = _tidied(generation.text, characters) if context.wanted.prose else generation.text
            return GeneratedAnswer.of(generation, text, output_tokens, attempt + 1)
    raise NoValidAnswer(f"{ATTEMPTS} attempts gave no JSON that fits the schema: {problem}")


def _repetition(text: str) -> str:
    """Return what is wrong with the first text of an answer that repeats itself; an empty string for none."""
    return next(filter(None, map(repetition_problem, _texts_in(json.loads(text)))), "")


def _texts_in(value: Any) -> Iterator[str]:
    """Yield every text in a JSON value, names of properties left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts_in(part)


def _bounds(characters: int, alphabet: Alphabet, *, last: bool) -> Bounds:
    if last:
        return Bounds(characters, inner_characters=16, alphabet=alphabet, items=2, entries=2, depth=1)
    return Bounds(characters, alphabet=alphabet)


def _problem(generation: Generation, schema: Mapping[str, Any]) -> str:
    """Return what is wrong with an answer; the grammar alone is not trusted, it can be dropped without a word."""
    try:
        value = json.loads(generation.text)
    except ValueError as error:
        return f"not JSON ({error})" if generation.complete else "the answer was cut off at its token limit"
    found = next(iter(_Validator(schema).iter_errors(value)), None)
    return f"{found.json_path}: does not fit {found.validator!r}" if found else ""


def _tidied(text: str, limit: int) -> str:
    """Return a JSON object whose texts do not stop in the middle of a sentence where the limit cut them."""
    value = json.loads(text)
    if not isinstance(value, dict):
        return text
    cut = {name: one for name, one in value.items() if isinstance(one, str) and len(one) >= limit}
    return json.dumps(value | {name: tidy(one, complete=False)[0] for name, one in cut.items()}) if cut else text


def _multiple_of(_validator: Any, step: float, instance: Any, _schema: Any) -> Sequence[jsonschema.ValidationError]:
    # In floating point 0.3 is no multiple of 0.001, but it is what the grammar means by three decimals.
    if not isinstance(instance, (int, float)) or abs(instance / step - round(instance / step)) < 1e-6:
        return ()
    return [jsonschema.ValidationError(f"{instance} is not a multiple of {step}")]


_Validator = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"multipleOf": _multiple_of})
