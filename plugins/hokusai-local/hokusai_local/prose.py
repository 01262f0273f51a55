"""Tidies the free text of a small model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

__all__ = ["fenced", "repeats_prompt", "strip_invented_signature", "tidy", "without_frame"]

_SENTENCE_END = re.compile(r"[.!?][\"')\u201d\u2019]?(?=\s|$)|\n")
# An answer that is cut is cut back to a whole sentence only where most of it remains.
_LEAST_KEPT = 0.4
_FENCED = re.compile(r"^```[^\n]*\n(.*?)(?:\n```|\Z)", re.S | re.M)
_GREETING = re.compile(r"^(?:Dear|Hi|Hello|Hey|Good (?:morning|afternoon|evening))\b[^\n]*", re.I | re.M)
# A letter's last lines: the closing, and the few short ones of a signature.
_CLOSING = re.compile(
    r"\n((?:with )?(?:kind|best|warm|warmest)(?: \w+)?|(?:yours )?(?:sincerely|faithfully|truly)|cheers|respectfully)"
    r"[,.!]? *((?:\n+[^\n]{1,50}){0,4})\s*\Z",
    re.I,
)
_WORD = re.compile(r"\w+")
_ECHO = 0.85
_NAMED = re.compile(r"[A-Z][\w ]{0,40}: ")
_FOREWORD = re.compile(r"^(Here's|Here is|Here are|Sure|Certainly|Of course)\b[^\n]{0,200}:\s*\n+", re.I)
_AFTERWORD = re.compile(
    r"\n\n(?=(I|I've|I have) (made|changed|added|rephrased|corrected)\b|The changes (made|include)"
    r"|The (original|revised|rewritten|corrected) (text|sentence|message|version)\b"
    r"|In this (version|revision|(revised|rewritten) (text|sentence|message|version))\b)"
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


def fenced(text: str) -> str | None:
    """Return the code between the first fences of Markdown; None where there is no such block.

    Example:
        >>> fenced("Here it is:\\n```python\\nprint(1)\\n```\\nIt prints 1.")
        'print(1)'
    """
    found = _FENCED.search(text)
    return found[1].strip("\n") if found and found[1].strip() else None


def strip_invented_signature(text: str, given: str) -> str:
    """Return a letter without a name below its closing that is not among the inputs: its sender signs it.

    A small model signs with a name that it invents, or with that of the recipient. It did so in four of five e-mails.

    Args:
        text: any text; one that is not a letter comes back as it is.
        given: what the letter was made from.

    Example:
        >>> strip_invented_signature("Dear Ana,\\nall is done.\\nBest regards,\\nYour Name\\nManager", "recipient: Ana")
        'Dear Ana,\\nall is done.\\nBest regards'
    """
    greeting, closing = _GREETING.search(text), _CLOSING.search(text)
    if greeting is None or closing is None or closing.start() < greeting.end():
        return text
    name = closing[2].strip().partition("\n")[0]
    addressed = set(_WORD.findall(name)) & set(_WORD.findall(greeting[0]))
    known = name and name in given and not addressed
    return text[: closing.end(1)] + (f",\n{name}" if known else "")


def repeats_prompt(text: str, messages: Sequence[Mapping[str, str]]) -> bool:
    """Return whether a text hardly does more than repeat the prompt.

    That is the instructions, slightly reworded perhaps, or several inputs together with their names.

    Args:
        text: the answer.
        messages: the prompt, of which the last one holds the inputs.
    """
    given = set(messages[-1]["content"].splitlines())
    if sum(line in given and bool(_NAMED.match(line)) for line in text.splitlines()) > 1:
        return True
    instructions = "\n".join(message["content"] for message in messages if message["role"] == "system")
    words = set(_WORD.findall(text.lower()))
    known = set(_WORD.findall(instructions.lower()))
    return bool(words) and len(words & known) >= _ECHO * len(words)
