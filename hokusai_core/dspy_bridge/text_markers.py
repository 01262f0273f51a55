"""Escape texts that look like markers of a prompt, and restore them in answers.

DSPy marks the fields of a prompt as ``[[ ## name ## ]]`` and encloses images and files in
``<<CUSTOM-TYPE-START-IDENTIFIER>>``. A text that holds such a marker could pass for another field, or become another
part of the request. So a ``~`` is put into it: ``[[ ~## name ## ]]``. A text that holds that already gets one more, so
``restore_markers`` always gives back the very same text. The sign means nothing in JSON, so this works on values that
are written as JSON, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

__all__ = [
    "BEGUN_MARKER",
    "BEGUN_TAG",
    "GAP",
    "HEADER_OPENING",
    "PromptText",
    "RestoredText",
    "TagMarkers",
    "disarm_markers",
    "restore_markers",
    "restored_value",
]

#: White space that may stand inside a header.
GAP = r"[ \t\xa0]*"
#: How a header begins, as a regular expression.
HEADER_OPENING = rf"\[\[{GAP}##"

_ARMED = re.compile(rf"\[\[{GAP}~*(?=##)|<<~*(?=CUSTOM-TYPE-)")
_DISARMED = re.compile(rf"(\[\[{GAP}~*)~(?=##)|(<<~*)~(?=CUSTOM-TYPE-)")
#: What may grow into a header or a marker that was disarmed, at the end of a text.
BEGUN_MARKER = re.compile(rf"\[(?:\[{GAP}~*#?)?\Z|<(?:<~*[A-Z-]{{0,11}})?\Z")

#: The same for tags, too.
BEGUN_TAG = re.compile(rf"\[(?:\[{GAP}~*#?)?\Z|<{{1,2}}/?(?:~+[\w-]*)?\Z")


def disarm_markers(text: str) -> str:
    """Return ``text`` with no marker in it; the text itself if it has none."""
    if "##" not in text and "CUSTOM-TYPE-" not in text:
        return text
    return _ARMED.sub(r"\g<0>~", text)


def restore_markers(text: str) -> str:
    """Return the text that ``disarm_markers`` was given."""
    if "~##" not in text and "~CUSTOM-TYPE-" not in text:
        return text
    return _DISARMED.sub(r"\1\2", text)


def restored_value(value: Any) -> Any:
    """Return ``value`` with the markers that its texts had, also inside lists and mappings."""
    if isinstance(value, str):
        return restore_markers(value)
    if isinstance(value, list):
        return [restored_value(item) for item in value]
    if isinstance(value, dict):
        return {restored_value(key): restored_value(item) for key, item in value.items()}
    return value


class RestoredText:
    """Restores the markers of a text that comes piece by piece."""

    def __init__(self) -> None:
        self._begun = ""

    @property
    def held(self) -> int:
        """Characters that are held back."""
        return len(self._begun)

    def feed(self, piece: str) -> str:
        """Take the next piece; return what is certain."""
        text = self._begun + piece
        begun = BEGUN_MARKER.search(text)
        end = len(text) if begun is None else begun.start()
        self._begun = text[end:]
        return restore_markers(text[:end])


class TagMarkers:
    """Does the same for the tags of an XML prompt: ``<name>`` becomes ``<~name>`` for the names of one signature."""

    def __init__(self, names: Iterable[str]) -> None:
        alternatives = "|".join(sorted(map(re.escape, names), key=len, reverse=True)) or "(?!)"
        self._armed = re.compile(rf"<(/?)(~*)(?=(?:{alternatives})\b)", re.IGNORECASE)
        self._disarmed = re.compile(rf"<(/?)(~*)~(?=(?:{alternatives})\b)", re.IGNORECASE)

    def disarm(self, text: str) -> str:
        """Return ``text`` with no tag of the signature in it."""
        return self._armed.sub(r"<\1\2~", text) if "<" in text else text

    def restore(self, text: str) -> str:
        """Return the text that ``disarm`` was given."""
        return self._disarmed.sub(r"<\1\2", text) if "<" in text else text


class PromptText(str):
    """Text of a prompt whose values have been disarmed already; as a value of a field it is taken as it is."""

    __slots__ = ()
