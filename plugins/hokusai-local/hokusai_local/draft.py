"""LocalDraft: the part of a text that is certain while the embedded model writes it."""

from __future__ import annotations

import re
from collections.abc import Callable

from hokusai_local.prose import tidy

__all__ = ["LocalDraft"]

_ENDS = re.compile(r"[.!?\n]")
#: What the talk before a text begins with. It ends with a line, within so many characters.
_FOREWORD = re.compile(r"\s*(Here|Sure|Certainly|Of course)", re.I)
_LONGEST_FOREWORD = 260


class LocalDraft:
    """Hands a text out sentence by sentence. An answer that is cut off is cut back to a whole sentence, too.

    Args:
        output: name of the output.
        read: returns the text of the output in an answer.
    """

    def __init__(self, output: str, read: Callable[[str], str]) -> None:
        self.output, self._read = output, read
        self._text, self._sent = "", ""

    def feed(self, piece: str) -> str:
        """Take the next piece of the answer, and return the next piece of the text of the output."""
        self._text += piece
        if not _ENDS.search(piece):
            return ""
        text, whole = tidy(self._text, complete=False)
        shown = self._read(text) if whole and not _may_be_framed(text) else ""
        if not shown.startswith(self._sent):
            return ""
        new, self._sent = shown[len(self._sent) :], shown or self._sent
        return new


def _may_be_framed(text: str) -> bool:
    """Whether talk before a text that has begun, or a quote around it, may have to be left out."""
    if text.startswith('"'):
        return True
    return _FOREWORD.match(text) is not None and "\n" not in text and len(text) < _LONGEST_FOREWORD
