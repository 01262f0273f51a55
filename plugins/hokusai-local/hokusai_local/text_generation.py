"""Writes free text."""

from __future__ import annotations

from typing import Any, NamedTuple

from attrs import evolve

from hokusai_local.grammar import text_grammar
from hokusai_local.inference_sequence import Messages
from hokusai_local.prose import repeats_prompt, tidy
from hokusai_local.repetition import loops, repeated_share, repetition_problem, without_loop
from hokusai_local.request_context import (
    AGAINST_LOOPS,
    ATTEMPTS,
    GeneratedAnswer,
    NoValidAnswer,
    RequestContext,
    UnusableText,
)

__all__ = ["write_text"]

# Share of repeated phrases above which a text is written again. Lines of code resemble each other.
_MOST_REPEATED = 0.12
_MOST_REPEATED_IN_CODE = 0.5


class _Flaws(NamedTuple):
    """What is wrong with a text, the worst first; of two texts the one with the lesser flaws is taken."""

    unusable: bool
    cut: bool
    repeated: float


def write_text(context: RequestContext, messages: Messages) -> GeneratedAnswer:
    """Return a text that hardly repeats itself or the prompt; of several attempts, the one that does so least.

    A text that ends at its token limit is incomplete, also where it is cut back to a whole sentence. Only a limit that
    stands for a number of words is kept that way.

    Raises:
        NoValidAnswer: where nothing but white space came.
        UnusableText: where it repeats itself in every attempt.
    """
    prose = context.wanted.prose
    most = _MOST_REPEATED if prose else _MOST_REPEATED_IN_CODE
    ends = context.server.turn_ends()
    grammar = (
        {"grammar": text_grammar(ends, context.alphabet(messages), question=context.wanted.question)} if ends else {}
    )
    limits = {"max_tokens": context.budget, "stop": list(context.request.config.stop)}
    best, least, output_tokens, problem = None, _Flaws(True, True, 1.0), 0, ""
    written = None if context.draft is None else context.draft.add
    for attempt in range(ATTEMPTS):
        if attempt and context.draft is not None:
            context.draft.restart()
        body = _sampling(context, attempt) | limits | grammar
        generation = context.generate(messages, body, enough=loops, written=written)
        output_tokens += generation.output_tokens
        endless = loops(generation.text)
        text, whole = tidy(without_loop(generation.text), complete=generation.complete)
        if not text:
            continue
        complete = generation.complete or (whole and context.wanted.counts_words and not endless)
        flaws = _Flaws(endless or repeats_prompt(text, messages), not complete, repeated_share(text))
        if best is None or flaws < least:
            # Cut back to its last whole sentence, an incomplete answer still shows what there is of it.
            details = {} if generation.complete else {"cut_at_repetition" if endless else "cut_at_max_tokens": True}
            best = evolve(GeneratedAnswer.of(generation, text, 0, 0), complete=complete, details=details)
            least, problem = flaws, repetition_problem(generation.text if endless or prose else "")
        # Code, and what is asked for without an adapter, would only be cut again.
        if not flaws.unusable and flaws.repeated <= most and not (flaws.cut and prose):
            break
    if best is None:
        raise NoValidAnswer("it wrote nothing but white space")
    if problem:
        raise UnusableText(problem)
    return evolve(best, output_tokens=output_tokens, attempts=attempt + 1)


def _sampling(context: RequestContext, attempt: int) -> dict[str, Any]:
    if context.wanted.question:
        # A small model asks better where it does not repeat the words of the prompt.
        return context.sampling(attempt) | AGAINST_LOOPS[-1]
    # The first attempt takes the model at its word: what is right for a name or a number mostly stands in the prompt,
    # and the penalties drive the answer away from it. Those of the next ones are what makes them different.
    return context.sampling() | AGAINST_LOOPS[attempt]
