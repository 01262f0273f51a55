"""Reading lists out of text, and JSON out of text that is obviously JSON."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["looks_like_json", "split_list"]

#: Longer pieces are sentences or clauses rather than items of an enumeration.
LONGEST_ITEM = 60

_BULLET = re.compile(r"\s*(?:[-*\u2022\u2013]\s+|\(?\d{1,3}[.)]\s+)")
_SENTENCE_END = re.compile(r"[.!?]\s")


def split_list(text: str) -> list[str]:
    """Split text into the items that it enumerates.

    Lines win, with bullets and numbering stripped; else commas and semicolons. Prose stays one item: where a piece is
    longer than 60 characters, or a sentence ends inside.

    Example:
        >>> split_list("Milestone completed, Next steps, Budget update")
        ['Milestone completed', 'Next steps', 'Budget update']
        >>> split_list("We met on Monday. Ann, Bob and Carl were there.")
        ['We met on Monday. Ann, Bob and Carl were there.']
    """
    lines = [_BULLET.sub("", line, count=1).strip() for line in text.splitlines()]
    lines = [line for line in lines if line]
    if len(lines) != 1:
        return lines
    pieces = [piece.strip() for piece in re.split(r"[,;]", lines[0])]
    if _SENTENCE_END.search(lines[0]) or any(len(piece) > LONGEST_ITEM for piece in pieces):
        return lines
    return [piece for piece in pieces if piece]


def looks_like_json(text: str) -> Any:
    """Return the list or mapping that ``text`` spells out in JSON, or None where it does not."""
    stripped = text.strip()
    if (stripped[:1], stripped[-1:]) not in (("[", "]"), ("{", "}")):
        return None
    import json

    try:
        return json.loads(stripped)
    except (ValueError, RecursionError):
        return None
