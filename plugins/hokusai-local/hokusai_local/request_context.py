"""RequestContext: one request, and how the model is asked for its outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from attrs import field, frozen
from dspy.lm15 import Adaptation, Request

from hokusai_local.alphabet import Alphabet, needs_other_scripts
from hokusai_local.inference_sequence import Generation, Messages, prefix_of
from hokusai_local.interruption import Interruption
from hokusai_local.output_request import OutputRequest
from hokusai_local.server import LlamaServer

__all__ = [
    "AGAINST_LOOPS",
    "ATTEMPTS",
    "Ask",
    "Draft",
    "Enough",
    "GeneratedAnswer",
    "NoValidAnswer",
    "RequestContext",
    "UnusableText",
]

Enough = Callable[[str], bool]
Ask = Callable[[Messages, Mapping[str, Any], Enough | None], Generation]

_BASE_SEED = 1234
_SAMPLING = ("top_p", "top_k", "frequency_penalty", "presence_penalty")
#: Against texts that repeat themselves, from none to strong. What these penalize counts the prompt, too: labels seen in
#: demos, and the names and numbers of a text that is to be summarized.
AGAINST_LOOPS: tuple[dict[str, Any], ...] = (
    {},
    {
        "repeat_penalty": 1.05,
        "repeat_last_n": 64,
        "dry_multiplier": 0.8,
        "dry_allowed_length": 8,
        "dry_penalty_last_n": 512,
    },
    {
        "repeat_penalty": 1.1,
        "repeat_last_n": 64,
        "dry_multiplier": 0.8,
        "dry_allowed_length": 4,
        "dry_penalty_last_n": 256,
    },
)
#: How often the model is asked at most.
ATTEMPTS = len(AGAINST_LOOPS)


class Draft(Protocol):
    """Takes a text while it is written."""

    def add(self, piece: str) -> None:
        """Take the next piece."""
        ...

    def restart(self) -> None:
        """Begin another draft in place of this one."""
        ...


class UnusableText(Exception):
    """A text has the wanted form and is of no use; the message says why, and quotes nothing of it."""


class NoValidAnswer(Exception):
    """No attempt gave an answer that fits the schema; the message says what was wrong with the last one."""


@frozen
class GeneratedAnswer:
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

    @classmethod
    def of(cls, generation: Generation, text: str, output_tokens: int, attempts: int) -> GeneratedAnswer:
        """Return the answer that a generation gave."""
        return cls(
            text, generation.complete, generation.prompt_tokens, generation.reused_tokens, output_tokens, attempts
        )


@frozen
class RequestContext:
    """A request and the means to answer it.

    Args:
        server: the loaded model.
        interruption: when to stop.
        request: what was asked.
        wanted: the kind of output that it wants.
        budget: tokens that the answer may have.
        room: tokens that the prompt may have.
        fresh_seed: a number that differs from call to call; enters only above temperature 0, and only without a seed
            of the request's own.
        ask: asks the model in another way than ``generate`` does of itself.
        draft: takes a text while it is written, None where that is not wanted.
    """

    server: LlamaServer
    interruption: Interruption
    request: Request
    wanted: OutputRequest
    budget: int
    room: int
    fresh_seed: int
    ask: Ask | None = None
    draft: Draft | None = None

    def generate(
        self,
        messages: Messages,
        body: Mapping[str, Any],
        *,
        enough: Enough | None = None,
        written: Callable[[str], None] | None = None,
    ) -> Generation:
        """Ask the model once, in a state that depends on nothing but the messages.

        Args:
            messages: the prompt.
            body: the rest of the request as llama.cpp's chat endpoint takes it.
            enough: asked now and then with the text so far; True ends the answer there, as incomplete.
            written: takes each piece of the text.
        """
        if self.ask is not None:
            return self.ask(messages, body, enough)
        prefix = prefix_of(messages)
        with self.server.slot(self.interruption, prefix) as slot:
            reuse = slot.begin(messages, self.interruption, prefix=prefix, room=self.room)
            return slot.generate(
                {**body, "messages": list(messages), "cache_prompt": reuse},
                self.interruption,
                room=self.room,
                enough=enough,
                written=written,
            )

    def sampling(self, attempt: int = 0) -> dict[str, Any]:
        """Return how tokens are drawn in an attempt, as far as the request leaves it open."""
        config = self.request.config
        temperature = config.temperature or 0.0
        seed = config.seed if config.seed is not None else _BASE_SEED + (self.fresh_seed if temperature else 0)
        # What failed at temperature 0 would fail the same way again.
        body = {"temperature": max(temperature, 0.3 * attempt), "seed": (seed + attempt) & 0x7FFFFFFF}
        return body | {name: getattr(config, name) for name in _SAMPLING if getattr(config, name) is not None}

    def alphabet(self, messages: Messages) -> Alphabet:
        """Return the characters that the answer may be written with."""
        wide = needs_other_scripts(message["content"] for message in messages)
        return Alphabet(code=not self.wanted.prose, wide=wide, english=self.server.settings.small)
