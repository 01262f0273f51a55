"""Hand out the parts of an answer in JSON format while its object comes in.

The object is the one that begins with the first brace, as the reader of whole answers takes it. A member counts once
what follows its value shows that it is over; a text counts character by character.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from hokusai_core.dspy_bridge.answer_reader import AnswerFormatError, AnswerReader, begin_of_answer
from hokusai_core.dspy_bridge.answer_stream import AnswerBegin, AnswerStream, OpenText
from hokusai_core.dspy_bridge.text_markers import RestoredText
from hokusai_core.signatures.text_json import parse_json
from hokusai_core.stream_events import StreamListener

__all__ = ["BEGIN_OF_OBJECT", "JSONAnswerStream"]

#: What ends the text before an object.
BEGIN_OF_OBJECT = begin_of_answer(r"\{")

_SPACE = re.compile(r"[ \t\n\r]*")
#: The inside of a string, as far as it is there.
_INSIDE = re.compile(r'(?:[^"\\\x00-\x1f]++|\\[^\x00-\x1f])*+')
#: The characters of a text that are certain: whole escapes, and both halves of a pair.
_CERTAIN = re.compile(
    r'(?:[^"\\\x00-\x1f]++|\\["\\/bfnrt]|\\u(?![dD][89a-fA-F])[0-9a-fA-F]{4}'
    r"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*+"
)
#: Characters of the longest escape, which is that of a pair.
_LONGEST_ESCAPE = 12
#: Characters of a number, or of true, false or null.
_SCALAR = re.compile(r"[-+.\w]*")
#: What is between the brackets and strings of a list or mapping.
_BETWEEN = re.compile(r'[^"\[\]{}]*')


class JSONAnswerStream(AnswerStream):
    """Takes the pieces of one answer in JSON format and tells a listener what is certain of it.

    Args:
        reader: the reader of the outputs.
        names: name of each output in the prompt -> its name in the signature. Others are not handed out.
        listener: receives the parts.
    """

    def __init__(self, reader: AnswerReader, names: Mapping[str, str], listener: StreamListener) -> None:
        super().__init__(reader, names, listener)
        self._begin, self._restored = AnswerBegin(BEGIN_OF_OBJECT), RestoredText()
        #: What is not decided yet is ``_rest`` from ``_at`` on.
        self._rest, self._at = "", 0
        #: Reads what comes next, and returns whether it was there.
        self._step: Callable[[], bool] = self._read_begin
        #: The output whose value is read, by its name in the prompt; None for a key that is none.
        self._name: str | None = None
        #: What of its value has been read, how deep in it the text is, and whether that is inside a string.
        self._value: list[str] = []
        self._depth, self._in_string = 0, False

    @property
    def _held(self) -> int:
        return max(self._begin.held, self._restored.held + len(self._rest))

    def _take(self, piece: str) -> None:
        self._rest += self._restored.feed(self._begin.feed(piece))
        while not self._silent and self._step():
            pass
        self._rest, self._at = self._rest[self._at :], 0

    def _next(self) -> str:
        """Go to the next character that is no white space and return it; "" if it has not come."""
        space = _SPACE.match(self._rest, self._at)
        self._at = self._at if space is None else space.end()
        return self._rest[self._at : self._at + 1]

    def _read_begin(self) -> bool:
        found = self._rest.find("{", self._at)
        self._at = len(self._rest) if found < 0 else found + 1
        if found >= 0:
            self._step = self._read_first_key
        return found >= 0

    def _read_first_key(self) -> bool:
        if self._next() == "}":
            self._silent = True
            return False
        return self._read_key()

    def _read_key(self) -> bool:
        character = self._next()
        if not character:
            return False
        if character != '"':
            raise AnswerFormatError("holds no JSON object")
        inside = _end(_INSIDE, self._rest, self._at + 1)
        if not self._is_over(inside):
            return False
        key = parse_json(self._rest[self._at : inside + 1])
        self._name, self._at = self._reader.name(key.strip()), inside + 1
        self._step = self._read_colon
        return True

    def _is_over(self, end: int) -> bool:
        """Return whether a string whose inside ends there is over; False if more must come.

        Raises:
            AnswerFormatError: what follows is no part of a string.
        """
        follows = self._rest[end : end + 2]
        if follows in ("", "\\"):
            return False
        if follows[0] != '"':
            raise AnswerFormatError("has a text with a character that JSON writes as an escape")
        return True

    def _read_colon(self) -> bool:
        character = self._next()
        if character not in ("", ":"):
            raise AnswerFormatError("lacks a colon behind a key")
        self._at += len(character)
        self._step = self._read_value if character else self._step
        return bool(character)

    def _read_value(self) -> bool:
        character = self._next()
        self._value, self._depth, self._in_string = [], 0, False
        if character == '"':
            self._value.append(character)
            self._at += 1
            name = self._name
            streams = name is not None and self._awaits(name) and self._is_text(name)
            self._text = OpenText(self._names[str(name)], self._listener) if streams else None
            self._step = self._read_text if streams else self._read_string
        elif character in ("{", "["):
            self._step = self._read_nested
        elif character:
            self._step = self._read_scalar
        return bool(character)

    def _read_text(self) -> bool:
        """Hand out a text as far as it is certain."""
        end = _end(_CERTAIN, self._rest, self._at)
        piece = self._rest[self._at : end]
        if piece and self._text is not None:
            self._text.add(parse_json(f'"{piece}"'))
        self._value.append(piece)
        self._at, left = end, len(self._rest) - end
        if not left or (self._rest[end] == "\\" and left < _LONGEST_ESCAPE):
            return False
        self._step = self._read_string  # it is over, or has an escape that only the whole text explains
        return True

    def _read_string(self) -> bool:
        end = _end(_INSIDE, self._rest, self._at)
        self._value.append(self._rest[self._at : end])
        self._at = end
        if not self._is_over(end):
            return False
        self._value.append('"')
        self._at += 1
        self._step = self._read_end
        return True

    def _read_scalar(self) -> bool:
        end = _end(_SCALAR, self._rest, self._at)
        if end == len(self._rest):
            return False
        self._value.append(self._rest[self._at : end])
        self._at = end
        self._step = self._read_end
        return True

    def _read_nested(self) -> bool:
        begin = self._at
        while self._at < len(self._rest):
            self._at = _end(_INSIDE if self._in_string else _BETWEEN, self._rest, self._at)
            if self._in_string:
                if not self._is_over(self._at):
                    break
                self._in_string = False
            else:
                character = self._rest[self._at : self._at + 1]
                self._in_string = character == '"'
                self._depth += (character in ("{", "[")) - (character in ("}", "]"))
            self._at += len(self._rest[self._at : self._at + 1])
            if not self._depth:
                self._step = self._read_end
                break
        self._value.append(self._rest[begin : self._at])
        return not self._depth

    def _read_end(self) -> bool:
        """Take a value as complete, if what follows says so."""
        character = self._next()
        if not character:
            return False
        if character not in (",", "}"):
            raise AnswerFormatError("has a value that goes on")
        self._at += 1
        if self._name is not None and self._awaits(self._name):
            read = parse_json("".join(self._value))
            self._close(self._name, self._reader.take_output(self._name, read), read)
        self._silent = character == "}"
        self._step = self._read_key
        return True


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Return where the match of a pattern that always matches ends."""
    found = pattern.match(text, at)
    return at if found is None else found.end()
