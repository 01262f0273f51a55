"""Hand out the parts of an answer in chat format.

A text is certain up to the last character that is no white space, and up to what may still grow into a header. Where
the reader would have to look further, nothing is handed out until the answer is whole.

The work is linear in the length of the answer: the reader looks at the begin of the answer once for each header.
"""

from __future__ import annotations

from collections.abc import Mapping

from hokusai_core.dspy_bridge.answer_reader import (
    BLANKS,
    AnswerFormatError,
    AnswerReader,
    BegunAnswer,
    certain_part,
    ends_line,
    header_on_line,
    is_header_line,
)
from hokusai_core.dspy_bridge.answer_stream import AnswerStream, TrimmedText
from hokusai_core.dspy_bridge.text_markers import restore_markers
from hokusai_core.stream_events import StreamListener

__all__ = ["ChatAnswerStream"]


class ChatAnswerStream(AnswerStream):
    """Takes the pieces of one answer in chat format and tells a listener what is certain of it.

    Args:
        reader: the reader of the answer.
        names: name of each output in the prompt -> its name in the signature.
        listener: receives the parts.
    """

    def __init__(self, reader: AnswerReader, names: Mapping[str, str], listener: StreamListener) -> None:
        super().__init__(reader, names, listener)
        self._pieces: list[str] = []
        #: What is not decided yet of the line that has not ended, and whether that is the whole line.
        self._line, self._from_start = "", True
        #: Characters before it, those of them that the open text has got, and where that begins.
        self._decided = self._given = self._start = 0
        self._looks = 2 * len(names) + 8

    @property
    def _held(self) -> int:
        return len(self._line)

    def _take(self, piece: str) -> None:
        self._pieces.append(piece)
        *lines, rest = (self._line + piece).split("\n")
        for line in lines:
            self._take_line(line + "\n")
        self._line = rest
        self._take_certain()

    def _take_line(self, line: str) -> None:
        self._decided += len(line)
        if is_header_line(line):
            self._look()
        else:
            self._give(line)
        self._from_start = True

    def _take_certain(self) -> None:
        """Hand out what is certain of the line that has not ended."""
        if self._from_start and (end := header_on_line(self._line)):
            self._move(end)
            self._look()
        if self._text is not None and (end := certain_part(self._line, from_start=self._from_start)):
            text = self._line[:end]
            self._move(end)
            self._give(text)

    def _give(self, text: str) -> None:
        if self._text is not None:
            self._text.add(text)
        self._given = self._decided

    def _move(self, end: int) -> None:
        self._decided += end
        self._from_start = ends_line(self._line[:end])
        self._line = self._line[end:]

    def _look(self) -> None:
        """Read the answer as far as it is decided."""
        self._looks -= 1
        if self._looks < 0:
            raise AnswerFormatError("has too many headers to be read while it comes in")
        whole = "".join(self._pieces)
        self._pieces = [whole]
        text = whole[: self._decided]
        begun = self._reader.read_begun(text)
        for name, content in begun.closed:
            if self._awaits(name):
                self._close(name, self._reader.read_output(name, content), content)
        self._open(begun, text)
        self._silent = begun.ended

    def _open(self, begun: BegunAnswer, text: str) -> None:
        name = begun.open
        if name is None or not self._awaits(name) or not begun.plain or not self._is_text(name):
            return
        if self._text is None or self._start != begun.start:
            self._text = _SectionText(self._names[name], self._listener, fenced=begun.fenced)
            self._start = self._given = begun.start
        self._give(text[self._given :])


class _SectionText(TrimmedText):
    """The text of the section that goes on.

    Args:
        name: name of the output in the signature.
        listener: receives the text.
        fenced: whether a code fence around the answer may end in it.
    """

    def __init__(self, name: str, listener: StreamListener, *, fenced: bool) -> None:
        super().__init__(name, listener, restore_markers)
        self._fenced = fenced
        self._on_header_line = True

    def _without_blank_lines(self, text: str) -> str:
        rest = super()._without_blank_lines(text)
        if len(rest) < len(text):
            self._on_header_line = False
        # Behind a header on its line blanks do not count.
        return text.lstrip(BLANKS) if self._on_header_line and text[:1] in BLANKS else rest

    def _certain_end(self, text: str) -> int:
        end = super()._certain_end(text)
        if self._fenced and text[text.rfind("\n", 0, end) + 1 : end].strip().strip("`") == "":
            end = len(text[: text.rfind("\n", 0, end) + 1].rstrip())  # the fence may be that around the answer
        return end
