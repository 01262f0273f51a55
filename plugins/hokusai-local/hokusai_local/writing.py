"""Writes free text."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from hokusai_local.grammar import text_grammar
from hokusai_local.prose import echoes, tidy
from hokusai_local.repetition import loops, repeated_share, without_loop
from hokusai_local.slot import Messages
from hokusai_local.work import AGAINST_LOOPS, ATTEMPTS, Answer, NoValidAnswer, Work

__all__ = ["write_text"]

# Share of repeated phrases above which a text is written again. Lines of code resemble each other.
_MOST_REPEATED = 0.12
_MOST_REPEATED_IN_CODE = 0.5
# Characters before a loop that make an answer of their own.
_ENOUGH = 100


def write_text(work: Work, messages: Messages) -> Answer:
    """Return a text that hardly repeats itself or the prompt; where no attempt gives one, the one that does so least.

    Raises:
        NoValidAnswer: where nothing but white space came.
    """
    most = _MOST_REPEATED if work.wanted.prose else _MOST_REPEATED_IN_CODE
    ends = work.server.turn_ends()
    grammar = {"grammar": text_grammar(ends, work.alphabet(messages), question=work.wanted.question)} if ends else {}
    limits = {"max_tokens": work.budget, "stop": list(work.request.config.stop)}
    best, least, output_tokens = None, (True, 1.0), 0
    for attempt in range(ATTEMPTS):
        generation = work.generate(messages, _sampling(work, attempt) | limits | grammar, enough=loops)
        output_tokens += generation.output_tokens
        text, whole = tidy(without_loop(generation.text), complete=generation.complete)
        if not text:
            continue
        looped = loops(generation.text)
        broken = looped and not (whole and len(text) >= _ENOUGH)
        flaws = broken or echoes(text, messages), repeated_share(text)
        if best is None or flaws < least:
            # Cut back to its last whole sentence, an answer can be used as it is.
            details = {} if generation.complete else {"cut_at_repetition" if looped else "cut_at_max_tokens": True}
            best, least = evolve(Answer.of(generation, text, 0, 0), complete=whole, details=details), flaws
        if flaws <= (False, most):
            break
    if best is None:
        raise NoValidAnswer("it wrote nothing but white space")
    return evolve(best, output_tokens=output_tokens, attempts=attempt + 1)


def _sampling(work: Work, attempt: int) -> dict[str, Any]:
    if work.wanted.question:
        # A small model asks better where it does not repeat the words of the prompt.
        return work.sampling(attempt) | AGAINST_LOOPS[-1]
    # The first attempt takes the model at its word: what is right for a name or a number mostly stands in the prompt,
    # and the penalties drive the answer away from it. Those of the next ones are what makes them different.
    return work.sampling() | AGAINST_LOOPS[attempt]
