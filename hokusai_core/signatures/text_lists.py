"""Read lists from text that has another form than JSON."""

from __future__ import annotations

import re

__all__ = ["bulleted", "split_list"]

#: Longer pieces are sentences or clauses rather than items of an enumeration.
LONGEST_ITEM = 60

#: Matched at the beginning of a stripped line only: what stands inside an item is no bullet.
_BULLET = re.compile(r"^(?:[-*\u2022\u2013]|\(?\d{1,3}[.)])\s+")
_SENTENCE_END = re.compile(r"[.!?]\s")


def split_list(text: str) -> list[str]:
    """Split text into the items that it enumerates.

    Lines win, with bullets and numbering stripped; else commas and semicolons. Prose stays one item: where a piece is
    longer than 60 characters, or a sentence ends inside. Takes time proportional to the length of the text.

    Example:
        >>> split_list("Milestone completed, Next steps, Budget update")
        ['Milestone completed', 'Next steps', 'Budget update']
        >>> split_list("We met on Monday. Ann, Bob and Carl were there.")
        ['We met on Monday. Ann, Bob and Carl were there.']
    """
    lines = [_BULLET.sub("", line.strip(), count=1) for line in text.splitlines()]
    lines = [line for line in lines if line]
    if len(lines) != 1:
        return lines
    pieces = [piece.strip() for piece in re.split(r"[,;]", lines[0])]
    if _SENTENCE_END.search(lines[0]) or any(len(piece) > LONGEST_ITEM for piece in pieces):
        return lines
    return [piece for piece in pieces if piece]


def bulleted(text: str) -> list[str] | None:
    """Return the items of a text whose lines all begin with a bullet or number, else None."""
    lines = [line for line in map(str.strip, text.splitlines()) if line]
    items = [_BULLET.sub("", line, count=1) for line in lines]
    return items if lines and all(map(str.__ne__, items, lines)) else None
