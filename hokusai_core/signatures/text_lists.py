"""Read lists from text."""

from __future__ import annotations

import re

__all__ = ["split_list"]

#: Longer pieces are sentences or clauses rather than items of an enumeration.
LONGEST_ITEM = 60

#: Matched at the beginning of a stripped line only: what stands inside an item is no bullet.
_BULLET = re.compile(r"(?:[-*\u2022\u2013]|\(?\d{1,3}[.)])\s+")
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
    lines = [_without_bullet(line.strip()) for line in text.splitlines()]
    lines = [line for line in lines if line]
    if len(lines) != 1:
        return lines
    pieces = [piece.strip() for piece in re.split(r"[,;]", lines[0])]
    if _SENTENCE_END.search(lines[0]) or any(len(piece) > LONGEST_ITEM for piece in pieces):
        return lines
    return [piece for piece in pieces if piece]


def _without_bullet(line: str) -> str:
    bullet = _BULLET.match(line)
    return line[bullet.end() :] if bullet else line
