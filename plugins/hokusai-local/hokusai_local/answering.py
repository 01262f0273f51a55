"""Turns one request into one valid answer: plain text, a label, or JSON, each with its own sampling and checks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import jsonschema
from attrs import evolve, field, frozen
from dspy.lm15 import Adaptation, Request

from hokusai_local.alphabet import Alphabet, needs_other_scripts
from hokusai_local.choosing import MOST_OPTIONS, Chooser, NotScorable
from hokusai_local.fitting import fit, refuse_hopeless
from hokusai_local.grammar import choice_grammar, json_grammar, text_grammar
from hokusai_local.interruption import Interruption
from hokusai_local.options import EngineOptions
from hokusai_local.prose import echoes, tidy
from hokusai_local.schema import Bounds, bounded, open_strings
from hokusai_local.server import LlamaServer
from hokusai_local.slot import Generation, Messages, TooLong, prefix_of
from hokusai_local.wanted import Wanted, wanted_output

__all__ = ["Answer", "Answerer", "NoValidAnswer"]

_DEFAULT_MAX_TOKENS = 256
# Characters of open strings for each token of the budget. Prose has more than four per token, so that the first try
# seldom ends early; the last one cannot: not one character takes more than one token.
_CHARACTERS_PER_TOKEN = (3.0, 0.8, 0.25)
# A text inside JSON that is longer than this has lost its way.
_MOST_CHARACTERS = 400
_BASE_SEED = 1234
# Against loops, for prose only: the penalties count the prompt's tokens too and would punish labels seen in demos.
_AGAINST_LOOPS = {
    "repeat_penalty": 1.1,
    "repeat_last_n": 64,
    "dry_multiplier": 0.8,
    "dry_allowed_length": 4,
    "dry_penalty_last_n": 256,
}
# The names and signs of JSON come again and again; they must not end what counts as a repetition, nor be punished.
_IN_JSON = {"repeat_penalty": 1.0, "dry_sequence_breakers": ["\n"]}
_SAMPLING = ("top_p", "top_k", "frequency_penalty", "presence_penalty")


class NoValidAnswer(Exception):
    """No attempt gave an answer that fits the schema; the message says what was wrong with the last one."""


@frozen
class Answer:
    """A validated answer and what it took.

    Args:
        text: the answer.
        complete: whether it ended by itself rather than at the token limit.
        prompt_tokens: tokens of the prompt.
        reused_tokens: how many of them did not have to be computed again.
        output_tokens: tokens written, over all attempts.
        attempts: how often the model was asked.
        details: more for those who look, such as the share of each label.
        adaptations: what was done other than asked.
    """

    text: str
    complete: bool
    prompt_tokens: int
    reused_tokens: int
    output_tokens: int
    attempts: int = 1
    details: Mapping[str, Any] = field(factory=dict)
    adaptations: tuple[Adaptation, ...] = ()


class Answerer:
    """Answers one request.

    Args:
        server: the loaded model.
        options: how to treat prompts that are too long, and labels.
        interruption: when to stop.
        seed: a number that differs from call to call; enters only above temperature 0, and only without a seed of
            the request's own.
    """

    def __init__(self, server: LlamaServer, options: EngineOptions, interruption: Interruption, *, seed: int) -> None:
        self._server = server
        self._options = options
        self._interruption = interruption
        self._fresh_seed = seed

    def answer(self, messages: list[dict[str, str]], request: Request) -> Answer:
        """Return the answer to ``messages`` that ``request`` wants.

        Raises:
            TooLong: where the prompt does not fit, and was not to be truncated or could not be.
            Interrupted: where nobody waits any longer.
            NoValidAnswer: where no attempt gave a valid answer.
            ServerProblem: where llama.cpp refused the request.
        """
        wanted = wanted_output(request)
        budget = min(request.config.max_tokens or _DEFAULT_MAX_TOKENS, self._options.context // 2)
        # A generous max_tokens does not claim half the context for itself: an answer may end at the context's end.
        room = self._options.context - min(budget, self._options.context // 4) - 64
        work = _Work(wanted, request, budget, room, english=self._server.settings.small)
        try:
            refuse_hopeless(messages, self._options.context, room)
            return self._run(messages, work)
        except TooLong as error:
            if self._options.overflow != "truncate":
                raise
            too_long = error
        fitted, notes = fit(messages, too_long, lambda shorter: self._count(shorter, room))
        return evolve(self._run(fitted, work), adaptations=notes)

    def _run(self, messages: Messages, work: _Work) -> Answer:
        if work.wanted.kind == "choice":
            return self._choose(messages, work)
        return self._text(messages, work) if work.wanted.kind == "text" else self._json(messages, work)

    def _count(self, messages: Messages, room: int) -> int:
        """Return how many tokens a prompt has where it does not fit, else ``room``."""
        refuse_hopeless(messages, self._options.context, room)
        with self._server.slot(self._interruption) as slot:
            slot.prefix = ""
            try:
                slot.generate({"messages": list(messages), "max_tokens": 1}, self._interruption, room=0)
            except TooLong as error:
                return error.asked
        return room

    def _generate(self, messages: Messages, body: Mapping[str, Any], room: int) -> Generation:
        prefix = prefix_of(messages)
        with self._server.slot(self._interruption, prefix) as slot:
            reuse = slot.begin(messages, self._interruption, prefix=prefix, room=room)
            return slot.generate(
                {**body, "messages": list(messages), "cache_prompt": reuse}, self._interruption, room=room
            )

    def _sampling(self, request: Request, attempt: int = 0) -> dict[str, Any]:
        config = request.config
        temperature = config.temperature or 0.0
        seed = config.seed if config.seed is not None else _BASE_SEED + (self._fresh_seed if temperature else 0)
        # What failed at temperature 0 would fail the same way again.
        body = {"temperature": max(temperature, 0.3 * attempt), "seed": (seed + attempt) & 0x7FFFFFFF}
        return body | {name: getattr(config, name) for name in _SAMPLING if getattr(config, name) is not None}

    def _text(self, messages: Messages, work: _Work) -> Answer:
        output_tokens = 0
        instructions = "\n".join(message["content"] for message in messages if message["role"] == "system")
        for attempt in range(len(_CHARACTERS_PER_TOKEN)):
            last = attempt + 1 == len(_CHARACTERS_PER_TOKEN)
            body = self._sampling(work.request, attempt) | _AGAINST_LOOPS
            body |= {
                "max_tokens": work.budget,
                "stop": list(work.request.config.stop),
            }
            ends = self._server.turn_ends()
            if ends:
                body["grammar"] = text_grammar(ends, work.alphabet(messages), question=work.wanted.question)
            generation = self._generate(messages, body, work.room)
            output_tokens += generation.output_tokens
            text, whole = tidy(generation.text, complete=generation.complete)
            if text and (last or not echoes(text, instructions)):
                answer = _answer(generation, text, output_tokens, attempt)
                # Cut back to its last whole sentence, an answer can be used as it is.
                cut = not generation.complete
                return evolve(answer, complete=whole, details={"cut_at_max_tokens": True}) if cut else answer
        raise NoValidAnswer("it wrote nothing but white space")

    def _json(self, messages: Messages, work: _Work) -> Answer:
        schema = work.wanted.schema or {"type": "object"}
        problem, output_tokens = "", 0
        texts = max(1, open_strings(bounded(schema, Bounds(characters=1))))
        for attempt, ratio in enumerate(_CHARACTERS_PER_TOKEN):
            last = attempt + 1 == len(_CHARACTERS_PER_TOKEN)
            characters = max(16, min(_MOST_CHARACTERS, int(work.budget * ratio / texts)))
            limits = bounded(schema, _bounds(characters, work.alphabet(messages), last=last))
            body = self._sampling(work.request, attempt) | _AGAINST_LOOPS | _IN_JSON
            # A little more than the budget, for the braces and names; and all that there is for the last attempt.
            body["max_tokens"] = self._options.context // 2 if last else work.budget + 64
            body["grammar"] = json_grammar(limits)
            generation = self._generate(messages, body, work.room)
            output_tokens += generation.output_tokens
            problem = _json_problem(generation, limits)
            if not problem:
                text = _whole_sentences(generation.text, characters) if work.wanted.prose else generation.text
                return _answer(generation, text, output_tokens, attempt)
        raise NoValidAnswer(f"{len(_CHARACTERS_PER_TOKEN)} attempts gave no JSON that fits the schema: {problem}")

    def _choose(self, messages: Messages, work: _Work) -> Answer:
        if len(work.wanted.options) <= MOST_OPTIONS:
            try:
                return self._choose_by_probability(messages, work)
            except NotScorable:
                pass  # The grammar can write what cannot be scored.
        return self._choose_by_grammar(messages, work)

    def _choose_by_probability(self, messages: Messages, work: _Work) -> Answer:
        options = work.wanted.options
        sampling = self._sampling(work.request)
        baselines = [[*messages[:-1], {"role": "user", "content": text}] for text in work.wanted.baselines]
        choice = Chooser(self._server, self._interruption, work.room).choose(
            messages,
            options,
            baselines=baselines if self._options.calibrate else (),
            temperature=sampling["temperature"],
            seed=sampling["seed"],
        )
        shares = {label: round(share, 4) for label, share in zip(options, choice.shares, strict=True)}
        return Answer(
            choice.label, True, choice.prompt_tokens, 0, choice.output_tokens, details={"label_shares": shares}
        )

    def _choose_by_grammar(self, messages: Messages, work: _Work) -> Answer:
        options = work.wanted.options
        body = self._sampling(work.request) | {"max_tokens": 128, "grammar": choice_grammar(options)}
        generation = self._generate(messages, body, work.room)
        if generation.text not in options:
            raise NoValidAnswer(f"{generation.text[:40]!r} is none of the options")
        return _answer(generation, generation.text, generation.output_tokens, 0)


@frozen
class _Work:
    wanted: Wanted
    request: Request
    budget: int
    room: int
    english: bool

    def alphabet(self, messages: Messages) -> Alphabet:
        wide = needs_other_scripts(message["content"] for message in messages)
        return Alphabet(code=not self.wanted.prose, wide=wide, english=self.english)


def _bounds(characters: int, alphabet: Alphabet, *, last: bool) -> Bounds:
    if last:
        return Bounds(characters, inner_characters=16, alphabet=alphabet, items=2, entries=2, depth=1)
    return Bounds(characters, alphabet=alphabet)


def _answer(generation: Generation, text: str, output_tokens: int, attempt: int) -> Answer:
    return Answer(
        text, generation.complete, generation.prompt_tokens, generation.reused_tokens, output_tokens, attempt + 1
    )


def _json_problem(generation: Generation, schema: Mapping[str, Any]) -> str:
    """Return what is wrong with an answer; the grammar alone is not trusted, it can be dropped without a word."""
    try:
        value = json.loads(generation.text)
    except ValueError as error:
        return f"not JSON ({error})" if generation.complete else "the answer was cut off at its token limit"
    found = next(iter(_Validator(schema).iter_errors(value)), None)
    return f"{found.json_path}: does not fit {found.validator!r}" if found else ""


def _whole_sentences(text: str, limit: int) -> str:
    """Return a JSON object whose texts do not stop in the middle of a sentence where the limit cut them."""
    value = json.loads(text)
    cut = {name: one for name, one in value.items() if isinstance(one, str) and len(one) >= limit}
    return json.dumps(value | {name: tidy(one, complete=False)[0] for name, one in cut.items()}) if cut else text


def _multiple_of(_validator: Any, step: float, instance: Any, _schema: Any) -> Sequence[jsonschema.ValidationError]:
    # In floating point 0.3 is no multiple of 0.001, but it is what the grammar means by three decimals.
    if not isinstance(instance, (int, float)) or abs(instance / step - round(instance / step)) < 1e-6:
        return ()
    return [jsonschema.ValidationError(f"{instance} is not a multiple of {step}")]


_Validator = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"multipleOf": _multiple_of})
