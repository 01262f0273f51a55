"""Tidies free text as a small model leaves it."""

from __future__ import annotations

import re

__all__ = ["echoes", "tidy", "without_frame"]

_SENTENCE_END = re.compile(r"[.!?][\"')\u201d\u2019]?(?=\s|$)|\n")
# An answer that is cut is cut back to a whole sentence only where most of it remains.
_LEAST_KEPT = 0.4
_WORD = re.compile(r"\w+")
_ECHO = 0.85
_FOREWORD = re.compile(r"^(Here's|Here is|Here are|Sure|Certainly|Of course)\b[^\n]{0,200}:\s*\n+", re.I)
_AFTERWORD = re.compile(
    r"\n\n(?=(I|I've|I have) (made|changed|added|rephrased|corrected)\b|The changes (made|include))"
)


def tidy(text: str, *, complete: bool) -> tuple[str, bool]:
    """Return ``text`` without surrounding white space and, where it was cut off, without its unfinished sentence.

    Args:
        text: what the model wrote.
        complete: whether it ended by itself.

    Returns:
        The text, and whether it ends where a sentence does.
    """
    text = text.strip()
    if complete:
        return text, True
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    if ends and ends[-1] > len(text) * _LEAST_KEPT:
        return text[: ends[-1]].rstrip(), True
    return text, False


def without_frame(text: str) -> str:
    """Return a text without the talk around it: "Here is a revised version:" before, "I made these changes" after.

    Example:
        >>> without_frame("Here's a revised version of the text:\\n\\nThe price went up.\\n\\nI changed the verb.")
        'The price went up.'
    """
    bare = _AFTERWORD.split(_FOREWORD.sub("", text, count=1), maxsplit=1)[0].strip()
    if bare.startswith('"') and bare.endswith('"') and bare.count('"') == 2:
        bare = bare.strip('"').strip()
    return bare or text


def echoes(text: str, instructions: str) -> bool:
    """Return whether a text is hardly more than a repetition of the instructions, slightly reworded perhaps."""
    words = set(_WORD.findall(text.lower()))
    known = set(_WORD.findall(instructions.lower()))
    return bool(words) and len(words & known) >= _ECHO * len(words)
