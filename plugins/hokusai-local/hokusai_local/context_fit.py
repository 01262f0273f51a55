"""Shortens prompts to fit the context and warns about it; detects early that a prompt cannot fit."""

from __future__ import annotations

import warnings
from collections.abc import Callable

from dspy.lm15 import Adaptation

from hokusai_local.inference_sequence import Messages, TooLong

__all__ = ["fit", "refuse_hopeless"]

# Prose has four to five characters per token and the widest code about ten. A prompt with this many for each token of
# the context is far too long whatever it holds, and reading megabytes only to count them takes seconds.
_HOPELESS_CHARACTERS_PER_TOKEN = 100
_USUAL_CHARACTERS_PER_TOKEN = 4.0
_GAP = "\n[...]\n"
# Share of what is kept that comes from the beginning: texts say early what they are about.
_FROM_THE_BEGINNING = 0.7
_MOST_ROUNDS = 8
_ANNOUNCEMENT = (
    "a prompt does not fit the embedded model's context: the middle of its longest message is left out, as "
    "overflow='truncate' asks (the response's adaptations have the counts)"
)


def refuse_hopeless(messages: Messages, context: int, room: int) -> None:
    """Raise where a prompt is so long that its tokens need not be counted.

    Raises:
        TooLong: with an estimate of its tokens.
    """
    characters = _characters(messages)
    if characters > context * _HOPELESS_CHARACTERS_PER_TOKEN:
        raise TooLong(round(characters / _USUAL_CHARACTERS_PER_TOKEN), room, estimated=True)


def fit(
    messages: Messages, too_long: TooLong, count: Callable[[Messages], int]
) -> tuple[list[dict[str, str]], tuple[Adaptation, ...]]:
    """Shorten the longest message of a prompt until it fits, and announce that with a warning.

    Args:
        messages: a prompt that does not fit.
        too_long: how long it is, and what fits.
        count: counts the tokens of a prompt; may raise ``TooLong`` with an estimate.

    Returns:
        The shorter prompt, and a record of what was done for the response.

    Raises:
        TooLong: where the rest of the prompt leaves no room for the longest message.
    """
    fitted = [dict(message) for message in messages]
    asked = too_long.asked
    for _ in range(_MOST_ROUNDS):
        if asked <= too_long.room:
            break
        if not _shorten(fitted, too_long.room / asked):
            raise too_long
        try:
            asked = count(fitted)
        except TooLong as error:
            asked = error.asked
    else:
        raise too_long
    reason = f"the prompt has {too_long.asked:,} tokens and {too_long.room:,} fit: the middle of a message was left out"
    # The same words each time, so that Python shows them once.
    warnings.warn(_ANNOUNCEMENT, UserWarning, stacklevel=2)
    return fitted, (Adaptation(field="messages", action="clamped", asked=too_long.asked, applied=asked, reason=reason),)


def _shorten(messages: list[dict[str, str]], share: float) -> bool:
    """Cut the longest message so that about ``share`` of the prompt remains; return whether that leaves enough."""
    longest = max(messages, key=lambda message: len(message["content"]))
    content = longest["content"]
    # A little more than needed, since the message's own tokens may be shorter than the prompt's on average.
    drop = round(_characters(messages) * (1 - share * 0.97)) + len(_GAP)
    keep = len(content) - drop
    if keep < 64:
        return False
    head = round(keep * _FROM_THE_BEGINNING)
    longest["content"] = content[:head] + _GAP + content[len(content) - (keep - head) :]
    return True


def _characters(messages: Messages) -> int:
    return sum(len(message["content"]) for message in messages)
