"""Detects repetition in a text; small models often repeat themselves."""

from __future__ import annotations

import re

__all__ = ["loops", "repeated_share", "repetition_problem", "without_loop"]

_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"\d+")
_PHRASE = 4
_LOOP = re.compile(r"(.{3,200}?)\1{2,}\Z", re.S)
# A list of zeros or a line of dashes is none.
_SHORTEST_LOOP = 100
# Above this share a text is of no use. People write up to 0.03.
_MOST_REPEATED = 0.25


def repeated_share(text: str) -> float:
    """Return the share of phrases of four words that were there before: 0 to 0.03 in what people write.

    Example:
        >>> repeated_share("One more time, one more time, one more time.")
        0.5
    """
    # Counting is a repetition, too.
    words = _WORD.findall(_NUMBER.sub("0", text.lower()))
    phrases = [tuple(words[start : start + _PHRASE]) for start in range(len(words) - _PHRASE + 1)]
    return 1 - len(set(phrases)) / len(phrases) if phrases else 0.0


def repetition_problem(text: str) -> str:
    """Return what is wrong with a text that repeats itself; an empty string for other texts.

    It does so if it ends in a loop, or if more than a quarter of its phrases of four words were there before.
    """
    if loops(text):
        return "it ends with the same words again and again"
    share = repeated_share(text)
    return f"it repeats itself: {share:.0%} of its phrases were there before" if share > _MOST_REPEATED else ""


def loops(text: str) -> bool:
    """Return whether a text ends with the same words again and again, so that nothing else will follow."""
    return without_loop(text) != text


def without_loop(text: str) -> str:
    """Return a text with the words that it repeats at its end only once.

    Example:
        >>> without_loop("All is well.\\n" + "Best regards\\n" * 9)
        'All is well.\\nBest regards\\n'
    """
    found = _LOOP.search(text[-600:])
    if found is None or len(found[0]) < _SHORTEST_LOOP or not _WORD.search(found[1]):
        return text
    unit = found[1]
    start = len(text) - len(found[0])
    while start >= len(unit) and text[start - len(unit) : start] == unit:
        start -= len(unit)
    return text[: start + len(unit)]
