"""Hand out the parts of an answer while it comes in, by the rules of the one reader of answers.

A part is handed out once it is certain: whatever comes next, the reader will read it as part of the same output. A
text is certain up to the last character that is no white space, and up to what may still grow into a header. Where the
reader would have to look further, nothing is handed out until the answer is whole.

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
from hokusai_core.dspy_bridge.text_markers import restore_markers
from hokusai_core.stream_events import StreamListener

__all__ = ["AnswerStream"]

#: Characters that may be held back; beyond, nothing is handed out until the answer is whole.
_LONGEST_HELD = 4096


class AnswerStream:
    """Takes the pieces of one answer and tells a listener what is certain of it.

    Args:
        reader: the reader of the answer.
        names: name of each output in the prompt -> its name in the signature.
        listener: receives the parts.
    """

    def __init__(self, reader: AnswerReader, names: Mapping[str, str], listener: StreamListener) -> None:
        self._reader, self._names, self._listener = reader, names, listener
        self._pieces: list[str] = []
        #: What is not decided yet of the line that has not ended, and whether that is the whole line.
        self._line, self._from_start = "", True
        #: Characters before it, those of them that the open text has got, and where that begins.
        self._decided = self._given = self._start = 0
        self._looks = 2 * len(names) + 8
        self._done: set[str] = set()
        self._text: _OpenText | None = None
        self._silent = False

    def feed(self, piece: str) -> None:
        """Take the next piece of the answer."""
        if self._silent or not piece:
            return
        self._pieces.append(piece)
        try:
            *lines, rest = (self._line + piece).split("\n")
            for line in lines:
                self._take_line(line + "\n")
            self._line = rest
            self._take_certain()
        except ValueError:  # of the reader, which will say so when the answer is whole
            self._silent = True
        held = len(self._line) if self._text is None else max(len(self._line), self._text.held)
        self._silent = self._silent or held > _LONGEST_HELD

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
            self._close(name, content)
        self._open(begun, text)
        self._silent = begun.ended

    def _close(self, name: str, content: str) -> None:
        if name in self._done:
            return
        self._done.add(name)
        own = self._names[name]
        value = self._reader.read_output(name, content)
        if self._text is not None and self._text.name == own:
            self._text.close(content)
            self._text = None
        elif own in self._listener.texts and content:
            self._listener.text(own, content)
        self._listener.value(own, value)

    def _open(self, begun: BegunAnswer, text: str) -> None:
        if begun.open is None or begun.open in self._done or not begun.plain:
            return
        own = self._names[begun.open]
        if own in self._listener.texts:
            if self._text is None or self._start != begun.start:
                self._text, self._start = _OpenText(own, self._listener, fenced=begun.fenced), begun.start
                self._given = begun.start
            self._give(text[self._given :])


class _OpenText:
    """The text of the section that goes on.

    Args:
        name: name of the output in the signature.
        listener: receives the text.
        fenced: whether a code fence around the answer may end in it.
    """

    def __init__(self, name: str, listener: StreamListener, *, fenced: bool) -> None:
        self.name, self._listener, self._fenced = name, listener, fenced
        self._sent: list[str] = []
        self._tail = ""
        self._on_header_line = True

    @property
    def held(self) -> int:
        """Characters that are held back."""
        return len(self._tail)

    def add(self, text: str) -> None:
        """Take more of the text, which is certain to belong to it, unless it is white space at the end."""
        text = self._tail + text
        if not self._sent:
            text = self._without_blank_lines(text)
        end = len(text.rstrip())
        if self._fenced and text[text.rfind("\n", 0, end) + 1 : end].strip().strip("`") == "":
            end = len(text[: text.rfind("\n", 0, end) + 1].rstrip())  # the fence may be that around the answer
        self._tail = text[end:]
        if end:
            self._send(restore_markers(text[:end]))

    def _without_blank_lines(self, text: str) -> str:
        """Return a text that has only begun without the blank lines before it."""
        begin = len(text) - len(text.lstrip())
        line = max(text.rfind("\n", 0, begin), text.rfind("\r", 0, begin)) + 1
        if line:
            self._on_header_line = False
        # Behind a header on its line blanks do not count.
        return text.lstrip(BLANKS) if self._on_header_line and text[:1] in BLANKS else text[line:]

    def close(self, content: str) -> None:
        """Send the rest of what the text is as a whole.

        Raises:
            AnswerFormatError: it begins otherwise than what was sent.
        """
        sent = "".join(self._sent)
        if not content.startswith(sent):
            raise AnswerFormatError("was read otherwise when it was whole", self.name)
        if len(content) > len(sent):
            self._send(content[len(sent) :])

    def _send(self, text: str) -> None:
        self._sent.append(text)
        self._listener.text(self.name, text)
