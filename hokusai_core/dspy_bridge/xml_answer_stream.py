"""Hand out the parts of an answer in XML format while it comes in.

The tags of a text that stand in it are a part of it, as the reader of whole answers takes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hokusai_core.dspy_bridge.answer_reader import AnswerFormatError, AnswerReader
from hokusai_core.dspy_bridge.answer_stream import AnswerBegin, AnswerStream, TrimmedText
from hokusai_core.dspy_bridge.xml_markup import Markup, MarkupSplitter, TopElement
from hokusai_core.stream_events import StreamListener

__all__ = ["XMLAnswerStream"]


class XMLAnswerStream(AnswerStream):
    """Takes the pieces of one answer in XML format and tells a listener what is certain of it.

    Args:
        reader: the reader of the outputs.
        names: name of each output in the prompt -> its name in the signature. Others are not handed out.
        listener: receives the parts.
        begin: leaves out what comes before the answer.
        read: returns what an element says, from its output by its name in the prompt; raises ``ValueError``.
        open_text: makes what hands out a text, from its name in the signature.
    """

    def __init__(
        self,
        reader: AnswerReader,
        names: Mapping[str, str],
        listener: StreamListener,
        begin: AnswerBegin,
        read: Callable[[str, TopElement], Any],
        open_text: Callable[[str], TrimmedText],
    ) -> None:
        super().__init__(reader, names, listener)
        self._begin, self._read, self._open_text = begin, read, open_text
        self._splitter = MarkupSplitter()
        #: The output whose element is open, by its name in the prompt; its parts, and how deep in it the answer is.
        self._name: str | None = None
        self._parts: list[Markup] = []
        self._depth = 0

    @property
    def _held(self) -> int:
        return max(self._begin.held, self._splitter.held)

    def _take(self, piece: str) -> None:
        for part in self._splitter.feed(self._begin.feed(piece)):
            self._take_part(part)

    def _take_part(self, part: Markup) -> None:
        if not self._depth:
            if part.opens is None:
                return  # between two elements
            if "xmlns" in part.source:
                raise AnswerFormatError("has a tag whose name means another one")
            self._name, self._parts = self._reader.name(part.opens), []
            if self._name is not None and self._awaits(self._name) and self._is_text(self._name):
                self._text = self._open_text(self._names[self._name])
        elif self._text is not None and part.opens is not None and self._reader.name(part.opens) is not None:
            raise AnswerFormatError("may have an output inside a text", self._name)
        self._parts.append(part)
        self._depth += (part.opens is not None) - part.closes
        if not self._depth:
            self._end()
        elif self._text is not None and len(self._parts) > 1:
            self._text.add(part.text)

    def _end(self) -> None:
        name = self._name
        if name is None or not self._awaits(name):
            return
        source = "".join(part.source for part in self._parts)
        inner = "".join(part.text for part in self._parts[1:-1])
        read = self._read(name, TopElement(source, inner))
        self._close(name, self._reader.take_output(name, read), read)
