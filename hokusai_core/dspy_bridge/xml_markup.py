"""Split an answer in XML format into its parts, as far as it has come.

Whether XML is well formed, a parser says that sees the whole. Here nothing is checked beyond what splitting needs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from attrs import frozen

from hokusai_core.dspy_bridge.answer_reader import AnswerFormatError

__all__ = ["Markup", "MarkupSplitter", "TopElement", "top_elements"]

_TEXT = re.compile(r"[^<&]+")
_TAG = re.compile(r"""<(/?)([^\s<>/!?"'=]+)((?:[^<>"']++|"[^"<]*"|'[^'<]*')*+)>""")
_ENTITY = re.compile(r"&(?:#(\d{1,7})|#x([0-9a-fA-F]{1,6})|(lt|gt|amp|quot|apos));")
_LONGEST_ENTITY = 10
_ENTITIES: Final = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "apos": "'"}
_CDATA, _END_OF_CDATA = "<![CDATA[", "]]>"
#: Begin of what is no tag -> its end.
_OTHER: Final = {"<!--": "-->", "<?": "?>"}


@frozen
class Markup:
    """A part of an answer.

    Args:
        source: how it is written.
        text: what it says as part of a text: entities and sections are resolved, tags and comments are as written.
        opens: name of the element that it begins, None if it begins none.
        closes: whether it ends an element.
    """

    source: str
    text: str
    opens: str | None = None
    closes: bool = False


class MarkupSplitter:
    """Splits an answer that comes piece by piece; all parts together are the answer."""

    def __init__(self) -> None:
        self._rest, self._in_section = "", False

    @property
    def held(self) -> int:
        """Characters that are held back."""
        return len(self._rest)

    def feed(self, piece: str) -> Iterator[Markup]:
        """Take the next piece; yield the parts that are certain.

        Raises:
            AnswerFormatError: it cannot be split.
        """
        self._rest += piece
        at = 0
        try:
            while at < len(self._rest) and (part := self._part(at)) is not None:
                at += len(part.source)
                yield part
        finally:
            self._rest = self._rest[at:]

    def _part(self, at: int) -> Markup | None:
        """Return the part that begins there, None if more must come."""
        rest = self._rest
        if self._in_section:
            return self._part_of_section(at)
        if (text := _TEXT.match(rest, at)) is not None:
            return Markup(text[0], text[0])
        if rest[at] == "&":
            return self._entity(at)
        if rest.startswith(_CDATA, at):
            self._in_section = True
            return Markup(_CDATA, "")
        for begin, end in _OTHER.items():
            if rest.startswith(begin, at):
                found = rest.find(end, at + len(begin))
                source = rest[at : found + len(end)]
                return None if found < 0 else Markup(source, source)
        if (tag := _TAG.match(rest, at)) is not None:
            closes = bool(tag[1]) or tag[3].endswith("/")
            return Markup(tag[0], tag[0], None if tag[1] else tag[2], closes)
        if rest.startswith("<!", at) and not (_CDATA.startswith(rest[at:]) or "<!--".startswith(rest[at:])):
            raise AnswerFormatError("is not valid XML")
        return None

    def _part_of_section(self, at: int) -> Markup | None:
        """Return the next part of a section of characters, which ends with ``]]>``."""
        end = self._rest.find(_END_OF_CDATA, at)
        if end == at:
            self._in_section = False
            return Markup(_END_OF_CDATA, "")
        if end < 0:
            end = len(self._rest)
            end -= 2 if self._rest.endswith("]]") else int(self._rest.endswith("]"))
        text = self._rest[at:end]
        return Markup(text, text) if text else None

    def _entity(self, at: int) -> Markup | None:
        found = _ENTITY.match(self._rest, at)
        if found is not None:
            number = found[1] or (found[2] and int(found[2], 16))
            return Markup(found[0], chr(int(number)) if number else _ENTITIES[found[3]])
        if len(self._rest) - at >= _LONGEST_ENTITY or ";" in self._rest[at:]:
            raise AnswerFormatError("is not valid XML")
        return None


@frozen
class TopElement:
    """An element of an answer that stands in no other.

    Args:
        source: how it is written.
        text: what it says as a text, tags in it as they are written.
    """

    source: str
    text: str


def top_elements(answer: str) -> Iterator[TopElement]:
    """Yield the elements of a well-formed answer that stand in no other, in order."""
    splitter = MarkupSplitter()
    depth = 0
    parts: list[Markup] = []
    for part in splitter.feed(answer):
        parts.append(part)
        depth += (part.opens is not None) - part.closes
        if depth:
            continue
        if parts[0].opens is not None:
            inner = "".join(inside.text for inside in parts[1:-1])
            yield TopElement("".join(inside.source for inside in parts), inner)
        parts = []
