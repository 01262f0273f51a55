"""Hand out the parts of an answer while it comes in. Each format has its own form of the one reader of its answers.

A part is handed out once it is certain: whatever comes next, the reader of whole answers will read it as part of the
same output, or refuse the answer. In doubt nothing is handed out until the answer is whole.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from hokusai_core.dspy_bridge.answer_reader import AnswerFormatError, AnswerReader
from hokusai_core.stream_events import StreamListener

__all__ = ["AnswerBegin", "AnswerStream", "OpenText", "TrimmedText"]

#: Characters that may be held back; beyond, nothing is handed out until the answer is whole.
_LONGEST_HELD = 4096
#: Characters of the longest tag around thoughts.
_LONGEST_TAG = 16


class AnswerStream(ABC):
    """Takes the pieces of one answer and tells a listener what is certain of it.

    Args:
        reader: the reader of the outputs.
        names: name of each output in the prompt -> its name in the signature. Others are not handed out.
        listener: receives the parts.
    """

    def __init__(self, reader: AnswerReader, names: Mapping[str, str], listener: StreamListener) -> None:
        self._reader, self._names, self._listener = reader, names, listener
        self._text: OpenText | None = None
        self._done: set[str] = set()
        self._silent = False

    def feed(self, piece: str) -> None:
        """Take the next piece of the answer."""
        if self._silent or not piece:
            return
        try:
            self._take(piece)
        except ValueError:  # of the reader, which will say so when the answer is whole
            self._silent = True
        held = self._held if self._text is None else max(self._held, self._text.held)
        self._silent = self._silent or held > _LONGEST_HELD

    @property
    @abstractmethod
    def _held(self) -> int:
        """Characters that are not decided yet."""

    @abstractmethod
    def _take(self, piece: str) -> None:
        """Take the next piece.

        Raises:
            ValueError: nothing more of the answer is certain before it is whole.
        """

    def _awaits(self, name: str | None) -> bool:
        """Return whether an output by its name in the prompt is handed out, and has not been yet."""
        return name in self._names and name not in self._done

    def _is_text(self, name: str) -> bool:
        """Return whether the text of an output is handed out piece by piece."""
        return self._names[name] in self._listener.texts

    def _close(self, name: str, value: Any, content: Any) -> None:
        """Hand out the rest of an output that is complete.

        Args:
            name: its name in the prompt.
            value: its value.
            content: what its text says as a whole, if it is a text.
        """
        self._done.add(name)
        own = self._names[name]
        text = self._text if self._text is not None and self._text.name == own else OpenText(own, self._listener)
        if text is self._text:
            self._text = None
        if isinstance(content, str) and self._is_text(name):
            text.close(content)
        self._listener.value(own, value)


class OpenText:
    """The text of an output that goes on.

    Args:
        name: name of the output in the signature.
        listener: receives the text.
    """

    def __init__(self, name: str, listener: StreamListener) -> None:
        self.name, self._listener = name, listener
        self._sent: list[str] = []

    @property
    def held(self) -> int:
        """Characters that are held back."""
        return 0

    def add(self, text: str) -> None:
        """Take more of the text, which is certain to belong to it."""
        if text:
            self._send(text)

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


class TrimmedText(OpenText):
    """A text that is read without the blank lines around it, and whose markers are restored.

    Args:
        name: name of the output in the signature.
        listener: receives the text.
        restore: restores markers and tags.
        begun: what may still grow into one of them, at the end of a text; None where the caller holds that back.
    """

    def __init__(
        self, name: str, listener: StreamListener, restore: Callable[[str], str], begun: re.Pattern[str] | None = None
    ) -> None:
        super().__init__(name, listener)
        self._restore, self._begun = restore, begun
        self._tail = ""

    @property
    def held(self) -> int:
        """Characters that are held back."""
        return len(self._tail)

    def add(self, text: str) -> None:
        """Take more of the text, which is certain to belong to it, unless it is white space at the end."""
        text = self._tail + text
        if not self._sent:
            text = self._without_blank_lines(text)
        end = self._certain_end(text)
        self._tail = text[end:]
        if end:
            self._send(self._restore(text[:end]))

    def _without_blank_lines(self, text: str) -> str:
        """Return a text that has only begun without the blank lines before it."""
        begin = len(text) - len(text.lstrip())
        return text[max(text.rfind("\n", 0, begin), text.rfind("\r", 0, begin)) + 1 :]

    def _certain_end(self, text: str) -> int:
        """Return how much of a text does not depend on what comes next."""
        end = len(text.rstrip())
        begun = None if self._begun is None else self._begun.search(text, 0, end)
        return end if begun is None else begun.start()


class AnswerBegin:
    """Leaves out what comes before an answer: the thoughts of a reasoning model, as ``skip_thoughts`` does.

    Args:
        begin_or_thoughts: what ``begin_of_answer`` returned.
        longest: characters of the longest begin of an answer.
        keeps_prose: whether what comes between thoughts and answer is returned, too.
    """

    def __init__(self, begin_or_thoughts: re.Pattern[str], longest: int = 1, *, keeps_prose: bool = False) -> None:
        self._begin, self._overlap, self._keeps_prose = begin_or_thoughts, max(longest, _LONGEST_TAG), keeps_prose
        self._closing: re.Pattern[str] | None = None
        self._text, self._from, self._begun = "", 0, False

    @property
    def held(self) -> int:
        """Characters that are held back."""
        return 0 if self._begun else len(self._text)

    def feed(self, piece: str) -> str:
        """Take the next piece; return what is behind the thoughts, once the answer has begun."""
        if self._begun:
            return piece
        self._text += piece
        while True:
            if self._closing is not None:
                closing = self._closing.search(self._text)
                if closing is None:
                    self._text = self._text[-self._overlap :]
                    return ""
                self._text, self._from, self._closing = self._text[closing.end() :], 0, None
            found = self._begin.search(self._text, self._from)
            if found is None or (found[1] is None and found.end() == len(self._text)):  # a name may go on
                self._wait()
                return ""
            if found[1] is None:
                self._begun = True
                return self._text
            self._text, self._from = self._text[found.end() :], 0
            self._closing = re.compile(rf"</{found[1]}>", re.IGNORECASE)

    def _wait(self) -> None:
        if self._keeps_prose:
            self._from = max(self._from, len(self._text) - self._overlap)
        else:
            self._text = self._text[-self._overlap :]
