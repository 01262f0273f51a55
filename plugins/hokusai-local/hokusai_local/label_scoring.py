"""Chooses the label with the highest probability, corrected for labels that the model always prefers.

Letting the model write under a grammar decides by its first letters, and a small model then answers with the same
label whatever the text. Asking for the probability of each whole label, and dividing by the probability that the label
has for a text without content (contextual calibration), is right about twice as often and costs a few hundredths of a
second per label.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Sequence
from typing import Any

from attrs import frozen

from hokusai_local.grammar import tokens_grammar
from hokusai_local.inference_sequence import InferenceSequence, Messages, prefix_of
from hokusai_local.interruption import Interruption
from hokusai_local.server import LlamaServer

__all__ = ["MOST_OPTIONS", "LabelChoice", "LabelScorer", "NotScorable"]

# Each option costs a call of its own; beyond this many the grammar alone decides.
MOST_OPTIONS = 40
_REMEMBERED_BASELINES = 512
# The beginning of a prompt is read once for the text and for the texts without content, so less of it is worth keeping.
_PREFIX_CHARACTERS = 300


class NotScorable(Exception):
    """llama.cpp gives no probability for an option, as where a token of it is only a part of a character."""


@frozen
class LabelChoice:
    """A label, and what was counted on the way to it.

    Args:
        label: the chosen option.
        shares: probability of each option among the options, in their order, after the correction.
        prompt_tokens: tokens of the prompt.
        output_tokens: tokens that were scored or written.
    """

    label: str
    shares: tuple[float, ...]
    prompt_tokens: int
    output_tokens: int


class LabelScorer:
    """Scores options with a server.

    Args:
        server: the loaded model.
        interruption: looked at between and during calls.
        room: tokens that the prompt may have.
    """

    def __init__(self, server: LlamaServer, interruption: Interruption, room: int) -> None:
        self._server = server
        self._interruption = interruption
        self._room = room
        self._prompt_tokens = 0
        self._output_tokens = 0

    def choose(
        self,
        messages: Messages,
        options: Sequence[str],
        *,
        baselines: Sequence[Messages] = (),
        temperature: float = 0.0,
        seed: int = 0,
    ) -> LabelChoice:
        """Return one of ``options``.

        Args:
            messages: the prompt.
            options: at least one label, all different.
            baselines: the same prompt with texts that have no content.
            temperature: 0 takes the likeliest; above, options are drawn with their probability.
            seed: makes the draw repeatable.

        Raises:
            TooLong: the prompt does not fit.
            Interrupted: the caller has given up.
            NotScorable: one of the options cannot be scored.
        """
        with self._server.slot(self._interruption, prefix_of(messages, _PREFIX_CHARACTERS)) as slot:
            scores = self._scores(slot, messages, options)
            prompt_tokens, output_tokens = self._prompt_tokens, self._output_tokens
            corrections = [self._baseline(slot, baseline, options) for baseline in baselines]
        if corrections:
            usual = [sum(column) / len(corrections) for column in zip(*corrections, strict=True)]
            scores = [score - correction for score, correction in zip(scores, usual, strict=True)]
        shares = _softmax(scores, temperature if temperature > 0 else 1.0)
        if temperature > 0:
            label = random.Random(seed).choices(options, weights=shares)[0]  # noqa: S311 - sampling, not security
        else:
            label = options[max(range(len(options)), key=scores.__getitem__)]
        return LabelChoice(label, tuple(shares), prompt_tokens, output_tokens)

    def _baseline(self, slot: InferenceSequence, messages: Messages, options: Sequence[str]) -> Sequence[float]:
        key = hashlib.sha256(json.dumps([list(messages), list(options)]).encode()).hexdigest()
        known = self._server.baselines.get(key)
        if known is None:
            if len(self._server.baselines) >= _REMEMBERED_BASELINES:
                self._server.baselines.clear()
            known = self._server.baselines[key] = tuple(self._scores(slot, messages, options))
        return known

    def _scores(self, slot: InferenceSequence, messages: Messages, options: Sequence[str]) -> list[float]:
        prefix = prefix_of(messages, _PREFIX_CHARACTERS)
        reuse = slot.begin(messages, self._interruption, prefix=prefix, room=self._room)
        scores = []
        for option in options:
            scores.append(self._score(slot, messages, option, reuse=reuse))
            # The first call read the prompt; the others go on from there.
            reuse = True
        return scores

    def _score(self, slot: InferenceSequence, messages: Messages, option: str, *, reuse: bool) -> float:
        """Return the log-probability of ``option``, and of the answer ending there."""
        tokens, ends = self._server.tokenize(option), self._server.turn_ends()
        body: dict[str, Any] = {
            "messages": list(messages),
            "temperature": 0.0,
            "max_tokens": len(tokens) + 1,
            "grammar": tokens_grammar(tokens, ends),
            "logprobs": True,
            "top_logprobs": 1,
            "cache_prompt": reuse,
        }
        generation = slot.generate(body, self._interruption, room=self._room)
        if len(generation.logprobs) < len(tokens):
            raise NotScorable(option)
        self._prompt_tokens = generation.prompt_tokens
        self._output_tokens += generation.output_tokens
        return sum(generation.logprobs[: len(tokens) + 1])


def _softmax(scores: Sequence[float], temperature: float) -> list[float]:
    top = max(scores)
    weights = [math.exp((score - top) / temperature) for score in scores]
    return [weight / sum(weights) for weight in weights]
