"""Read an answer in chat format: split it at its headers and read the text below each as an output.

One rule stands above the others: an answer is read as what it says, or it is refused. It is never read as another
value. DSPy's own parser is more generous: it takes the first of two values for one output, and it drops the text under
a header that it does not know.

A header is judged by the line it is on and by the headers before it. A reader of streams can therefore hand out all
text but the last line, and the parts of a header that may still grow.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from attrs import define, field, frozen

from hokusai_core.dspy_bridge.text_markers import BEGUN_MARKER, GAP, HEADER_OPENING, restore_markers
from hokusai_core.signatures.value_text import is_same

__all__ = [
    "BLANKS",
    "AnswerFormatError",
    "AnswerReader",
    "AnswerSplitter",
    "BegunAnswer",
    "OutputReader",
    "begin_of_answer",
    "certain_part",
    "ends_line",
    "header_on_line",
    "is_header_line",
    "skip_thoughts",
    "trim_blank_lines",
]

#: Name in the header that ends an answer.
END = "completed"

#: Blanks of a line, and the characters without width that models and editors put beside a header.
BLANKS = " \t\xa0\u200b\ufeff"
#: A header as prompts ask for it: alone on its line, and spelled as DSPy spells it.
_USUAL_HEADER = re.compile(r"(?:^|(?<=\n))\[\[ ## (\w+) ## \]\](?=\n|$)")
_OPENING = re.compile(HEADER_OPENING)
_HEADER = re.compile(rf"{HEADER_OPENING}([^\[\]#\n]{{1,200}})##{GAP}\]\]")
#: Characters of a marker that was disarmed; one that is longer has more than a hundred signs in it.
_LONGEST_MARKER = 200
_THOUGHTS = "think|thinking|thought|thoughts|reasoning|reflection|scratchpad"
_THOUGHT_TAG = re.compile(rf"<(/?)(?:{_THOUGHTS})>", re.IGNORECASE)
_FENCE_LINE = re.compile(r"^[ \t]*```[\w+-]*[ \t]*$", re.MULTILINE)
#: What looks like the header of an output: its name behind ``#`` at the begin of a line, or between ``##`` anywhere.
#: Bounded: answers may be long. A marker that was neutralised has a ``~`` and is part of a text.
_MANGLED_HEADER = (
    r"^[^\w\n~]{{0,8}}#[ \t]{{0,4}}{name}(?:[ \t]{{0,4}}[#:]|[^\w\n]{{0,12}}$)"
    r"|(?<![~#])##[ \t]{{0,4}}{name}[ \t]{{0,4}}##"
)
#: What may follow the end marker on its line: tokens such as ``<|im_end|>``, or the end of an emphasis.
_AFTER_END = re.compile(r"(?:<[^<>\s]{1,40}>\s*)*[`*_]*")
#: What may come before a header on its line: a mark of a heading, quote or list, and the begin of an emphasis.
_BEFORE_HEADER = re.compile(rf"[{BLANKS}]*+(?:(#{{1,6}}|>|[-+*]|\d{{1,3}}[.)])[{BLANKS}]++)?([*_`]{{0,3}})[{BLANKS}]*+")
#: A part of that, which the next character may complete.
_BEGUN_BEFORE_HEADER = re.compile(
    rf"[{BLANKS}]*+(?:#{{1,6}}|>|[-+*]|\d{{1,3}}[.)]?)?[{BLANKS}]*+[*_`]{{0,3}}[{BLANKS}]*+"
)


def begin_of_answer(begin: str) -> re.Pattern[str]:
    """Return the expression for what ends the text before an answer: its begin, or thoughts of a reasoning model."""
    return re.compile(rf"{begin}|<({_THOUGHTS})>", re.IGNORECASE)


_HEADER_OR_THOUGHTS = begin_of_answer(HEADER_OPENING)


class AnswerFormatError(ValueError):
    """An answer that cannot be read without guessing.

    Args:
        message: what is wrong with it, as the end of a sentence that begins with "the answer".
        field: name of the output that it concerns, None for the answer as a whole.
    """

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


@frozen
class OutputReader:
    """How one output is read.

    Args:
        read: turns its text into its value; raises ``ValueError`` for text that does not fit.
        take: turns a value that was read from JSON into its value; raises ``ValueError`` for one that does not fit.
        absent: returns its value where the answer has no header for it; None where every answer must have one.
    """

    read: Callable[[str], Any]
    take: Callable[[Any], Any]
    absent: Callable[[], Any] | None = None


class AnswerReader:
    """Reads the answers for one signature; safe to use from many threads at once.

    Args:
        outputs: the outputs by name, in order.
    """

    def __init__(self, outputs: Mapping[str, OutputReader]) -> None:
        self._outputs = dict(outputs)
        self._splitter = AnswerSplitter({name: output.absent is None for name, output in outputs.items()})

    def read(self, answer: str) -> dict[str, Any]:
        """Return the outputs in ``answer``.

        Raises:
            AnswerFormatError: an output is missing, does not fit its type, or could be read in more than one way.
        """
        restored = restore_markers(answer) != answer
        sections = self._splitter.split(answer)
        if len(sections) < len(self._outputs) and "#" in answer:
            self._refuse_mangled(answer, {name for name, _ in sections})
        return self.collect(
            ((name, restore_markers(text) if restored else text) for name, text in sections), from_text=True
        )

    def _refuse_mangled(self, answer: str, found: Collection[str]) -> None:
        """Refuse an answer with a line that looks like the header of an output that would be taken for absent."""
        for name in self._outputs.keys() - found:
            if re.search(_MANGLED_HEADER.format(name=re.escape(name)), answer, re.MULTILINE | re.IGNORECASE):
                raise AnswerFormatError(f"has a header of {name} that is not spelled as asked for", name)

    def collect(self, parts: Iterable[tuple[str, Any]], *, from_text: bool) -> dict[str, Any]:
        """Return the outputs of an answer that is split already.

        Args:
            parts: name of each output with its text, or with the value that was read from JSON.
            from_text: whether they are texts.

        Raises:
            AnswerFormatError: an output is missing, does not fit its type, or has two values.
        """
        found: dict[str, Any] = {}
        for name, part in parts:
            output = self._outputs[name]
            try:
                value = output.read(part) if from_text else output.take(part)
            except ValueError as error:
                raise AnswerFormatError(f"does not fit the output {name}: {error}", name) from error
            if name in found and not is_same(found[name], value):
                raise AnswerFormatError(f"has two values for the output {name}", name)
            found[name] = value
        return self._complete(found)

    def read_begun(self, text: str) -> BegunAnswer:
        """Return how far an answer has come of which only the begin is there.

        Args:
            text: the begin; it ends with a whole line, or with a header.

        Raises:
            AnswerFormatError: the answer cannot be read, or what has come may still be read in another way.
        """
        return self._splitter.split_begun(text)

    def read_output(self, name: str, text: str) -> Any:
        """Return the value of one output.

        Args:
            name: its name.
            text: its text in the answer.

        Raises:
            ValueError: the text does not fit.
        """
        return self._outputs[name].read(text)

    def take_output(self, name: str, value: Any) -> Any:
        """Return the value of one output that was read from JSON or XML.

        Args:
            name: its name.
            value: what was read.

        Raises:
            ValueError: it does not fit.
        """
        return self._outputs[name].take(value)

    def name(self, written: str) -> str | None:
        """Return the output that a name in an answer means, without regard to case; None if it is none."""
        name = self._splitter.name(written)
        return None if name == END else name

    def _complete(self, found: Mapping[str, Any]) -> dict[str, Any]:
        if len(found) == len(self._outputs):
            return {name: found[name] for name in self._outputs}
        missing = [name for name, output in self._outputs.items() if name not in found and output.absent is None]
        if missing:
            raise AnswerFormatError(f"lacks {', '.join(missing)}")
        return {
            name: found[name] if name in found or output.absent is None else output.absent()
            for name, output in self._outputs.items()
        }


@frozen
class _Header:
    """A header; ``name`` is None where it names no output and does not end the answer."""

    written: str
    name: str | None
    start: int
    end: int


@define
class _Section:
    """The text under one header, from ``start`` to ``end``; ``indent`` is what stands before the header."""

    name: str
    start: int
    end: int = 0
    indent: str = ""


@frozen
class BegunAnswer:
    """How far an answer has come.

    Args:
        closed: name and text of every section that is over; what comes next changes none of them.
        open: name of the section that goes on, None if there is none.
        start: where the text of that section begins.
        plain: whether the header of that section stands at the begin of its line, so that its lines are not indented.
        fenced: whether a code fence is open around the answer.
        ended: whether the end marker has come.
    """

    closed: list[tuple[str, str]]
    open: str | None = None
    start: int = 0
    plain: bool = True
    fenced: bool = False
    ended: bool = False


class AnswerSplitter:
    """Splits the answers for one signature into the texts of their outputs.

    Args:
        outputs: name of each output -> whether every answer must have it.
    """

    def __init__(self, outputs: Mapping[str, bool]) -> None:
        self._order = {name: place for place, name in enumerate(outputs)}
        self._required = {name for name, required in outputs.items() if required} or set(outputs)
        self._spellings = _spellings([*outputs, END])

    def split(self, answer: str) -> list[tuple[str, str]]:
        """Return name and text of every section, in order; an output may come twice.

        Raises:
            AnswerFormatError: the answer could be split in more than one way.
        """
        usual = self._split_usual(answer)
        if usual is not None:
            return usual
        start = self._after_thoughts(answer)
        scan = _Scan(answer, list(self._headers(answer, start)))
        scan.run()
        if scan.sections and scan.ended_at is None:
            _leave_out_fence(answer, start, scan.sections)
        if "</" in answer:
            self._refuse_stray_thoughts(answer, scan.sections)
        return [(section.name, _content(answer, section)) for section in scan.sections]

    def split_begun(self, text: str) -> BegunAnswer:
        """Split the begin of an answer; see ``AnswerReader.read_begun``."""
        try:
            start = skip_thoughts(text, _HEADER_OR_THOUGHTS)
        except AnswerFormatError:  # they go on
            return BegunAnswer([])
        if not start and "</" in text and _THOUGHT_TAG.search(text):
            raise AnswerFormatError("may begin again after the end of thoughts")
        scan = _Scan(text, list(self._headers(text, start)))
        scan.run()
        going_on = scan.sections[-1] if scan.unfinished else None
        closed = scan.sections[:-1] if scan.unfinished else scan.sections
        before = text[start : scan.sections[0].start] if scan.sections else ""
        return BegunAnswer(
            [(section.name, restore_markers(_content(text, section))) for section in closed],
            None if going_on is None else going_on.name,
            0 if going_on is None else going_on.start,
            going_on is None or not going_on.indent,
            "```" in before,
            scan.ended_at is not None,
        )

    def _split_usual(self, answer: str) -> list[tuple[str, str]] | None:
        """Return the sections of an answer that leaves nothing to decide, as nearly all do; None for any other."""
        parts = _USUAL_HEADER.split(answer)
        names = parts[1::2]
        ended = bool(names) and names[-1] == END
        if parts[0].strip() or (ended and parts[-1].strip()) or "</" in answer or answer.count("[[") != len(names):
            return None
        if ended:
            del names[-1]
        if not names or len(set(names)) != len(names) or not self._order.keys() >= set(names):
            return None
        return [(name, trim_blank_lines(text)) for name, text in zip(names, parts[2::2], strict=False)]

    def _headers(self, text: str, start: int) -> Iterator[_Header]:
        for opening in _OPENING.finditer(text, start):
            found = _HEADER.match(text, opening.start())
            if found is not None:
                written = found[1].strip()
                yield _Header(written, self.name(written), found.start(), found.end())
            else:
                self._refuse_malformed(text, opening)

    def name(self, written: str) -> str | None:
        """Return the output that a name in an answer means, or the one that ends it; None if it is none."""
        return self._spellings.get(written) or self._spellings.get(_plain_name(written))

    def _refuse_malformed(self, text: str, opening: re.Match[str]) -> None:
        line = _first_line(text[opening.end() : opening.end() + 200])
        word = re.match(r"\w+", line.lstrip())
        begins_line = not _last_line(text[max(0, opening.start() - 200) : opening.start()]).strip()
        if begins_line or (word is not None and self.name(word[0])):
            raise AnswerFormatError("has a header that does not end")

    def _after_thoughts(self, text: str) -> int:
        """Return where the answer begins: after the thoughts that a reasoning model writes before its first header."""
        start = skip_thoughts(text, _HEADER_OR_THOUGHTS)
        if start or "</" not in text:
            return start
        tag = _THOUGHT_TAG.search(text)
        if tag is None or not tag[1]:
            return 0
        # The provider's own prompt has opened the thoughts. What follows them is the answer if it is complete.
        return tag.end() if self._required.issubset(self._names_until_end(text, tag.end())) else 0

    def _names_until_end(self, text: str, start: int) -> Iterator[str | None]:
        for found in _HEADER.finditer(text, start):
            name = self.name(found[1].strip())
            if name == END:
                return
            yield name

    def _refuse_stray_thoughts(self, text: str, sections: list[_Section]) -> None:
        """Refuse an answer that begins again after the end of thoughts whose begin is not marked."""
        for number, section in enumerate(sections):
            tag = _THOUGHT_TAG.search(text, section.start, section.end)
            if tag is not None and tag[1]:
                place = self._order[section.name]
                if any(self._order[later.name] <= place for later in sections[number + 1 :]):
                    raise AnswerFormatError("begins again after the end of thoughts", section.name)


@define
class _Scan:
    """Goes through the headers of one answer in order."""

    text: str
    headers: list[_Header]
    sections: list[_Section] = field(factory=list)
    #: Where the first end marker ends, and how many sections came before it.
    ended_at: int | None = None
    complete: int = 0
    #: Whether the last section goes on until the end of the text.
    unfinished: bool = False
    _open: bool = False
    _mark: str | None = None

    def run(self) -> None:
        text, behind = self.text, 0
        for number, header in enumerate(self.headers):
            if header.name is None:
                if self._is_new_turn(header, behind):
                    return self._close(header.start)
                continue
            if text[header.start - 1 : header.start] in ("\n", "") and text[header.end : header.end + 1] in ("\n", ""):
                self._accept(header, header.start, header.end, "")  # nearly all are alone on their line
            else:
                after = self.headers[number + 1].start if number + 1 < len(self.headers) else len(text)
                self._accept_in_line(header, _last_line(text[behind : header.start]), text[header.end : after])
            behind = header.end
        self.unfinished = self._open
        return self._close(len(text))

    def _is_new_turn(self, header: _Header, behind: int) -> bool:
        """Whether the model goes on with an example of its own; refuse an unknown header inside a value."""
        before = _BEFORE_HEADER.fullmatch(_last_line(self.text[behind : header.start]))
        ends_line = not _first_line(self.text[header.end : header.end + 200]).strip()
        if before is None and not ends_line:
            return False  # in the middle of a line it is part of a text
        if self.ended_at is None and self._open:
            raise AnswerFormatError(f"has a header {header.written!r} of no output", self.sections[-1].name)
        return self.ended_at is not None and before is not None

    def _accept_in_line(self, header: _Header, prefix: str, after: str) -> None:
        suffix = _first_line(after)
        before = _BEFORE_HEADER.fullmatch(prefix)
        mark, emphasis = (before[1] or "", before[2]) if before is not None else ("", "")
        emphasized = bool(emphasis) and suffix.startswith(emphasis[::-1])
        if emphasis and not emphasized and emphasis != "```" and self._open:
            raise AnswerFormatError(f"has a {emphasis!r} before the header {header.written!r}", self.sections[-1].name)
        if before is None or (emphasis and not emphasized):
            if prefix[-1] in "`'\"" and suffix.startswith(prefix[-1]):
                if not self._open:
                    return  # the text before the answer says how the answer will look
                raise AnswerFormatError(f"quotes the header {header.written!r} in a value", self.sections[-1].name)
            if header.name == END and self._open and not _AFTER_END.fullmatch(suffix.strip()):
                raise AnswerFormatError("has its end marker in the middle of a line", self.sections[-1].name)
            self._accept(header, header.start, header.end, "", glued=True)
            return
        if mark and self._open and mark != self._mark:
            raise AnswerFormatError(f"has a {mark!r} before the header {header.written!r}", self.sections[-1].name)
        if not self.sections:
            self._mark = mark
        end = header.end + (len(emphasis) if emphasized else int(suffix.startswith(":")))
        self._accept(header, header.start - len(prefix), end, prefix if prefix.isspace() else "")

    def _accept(self, header: _Header, start: int, end: int, indent: str, *, glued: bool = False) -> None:
        self._close(start, glued=glued)
        if header.name == END:
            if self.ended_at is None:
                self.ended_at, self.complete = header.end, len(self.sections)
            elif len(self.sections) == self.complete and not _AFTER_END.fullmatch(
                self.text[self.ended_at : start].strip()
            ):
                raise AnswerFormatError("goes on behind its end marker, and ends again")
            return
        name = str(header.name)
        if self.ended_at is not None and all(section.name != name for section in self.sections[: self.complete]):
            raise AnswerFormatError(f"has the output {name} behind its end marker", name)
        self.sections.append(_Section(name, end, indent=indent))
        self._open = True

    def _close(self, end: int, *, glued: bool = False) -> None:
        if self._open:
            section = self.sections[-1]
            section.end = max(section.start, end)
            if glued:
                section.end = section.start + len(self.text[section.start : section.end].rstrip(BLANKS))
        self._open = False


def certain_part(line: str, *, from_start: bool) -> int:
    """Return how much of a line that has not ended is part of a text, whatever comes next.

    Args:
        line: the line, or its rest.
        from_start: whether it is the whole line.
    """
    opening = _OPENING.search(line)
    end = opening.start() if opening else len(line)
    begun = BEGUN_MARKER.search(line, max(0, end - _LONGEST_MARKER), end)
    end = begun.start() if begun else end
    last = _last_line(line[:end])  # a header may also follow the end of a line that is none of Unix
    if (from_start or len(last) < end) and _BEGUN_BEFORE_HEADER.fullmatch(last):
        end -= len(last)
    return end


def ends_line(text: str) -> bool:
    """Return whether a text ends with the end of a line."""
    return not _last_line(text)


def is_header_line(line: str) -> bool:
    """Return whether something on a line begins like a header."""
    return _OPENING.search(line) is not None


def header_on_line(line: str) -> int:
    """Return where the text behind a header begins that a line which has not ended begins with; 0 if there is none."""
    found = _HEADER.match(line)
    if found is None:
        return 0
    text = line[found.end() :].lstrip(BLANKS)
    return 0 if not text or text[0] in ":*_`'\"[" else found.end()


def skip_thoughts(text: str, begin_or_thoughts: re.Pattern[str]) -> int:
    """Return where thoughts end that come before the begin of an answer; 0 if there are none.

    Args:
        text: the answer.
        begin_or_thoughts: what ``begin_of_answer`` returned.

    Raises:
        AnswerFormatError: the thoughts do not end.
    """
    start = 0
    while (found := begin_or_thoughts.search(text, start)) and found[1]:
        closing = re.compile(rf"</{found[1]}>", re.IGNORECASE).search(text, found.end())
        if closing is None:
            raise AnswerFormatError(f"has thoughts behind <{found[1]}> that do not end")
        start = closing.end()
    return start


def trim_blank_lines(text: str) -> str:
    """Return ``text`` without the blank lines before and after it; every other character stays."""
    inner = text.strip("\n")
    if inner and not inner[0].isspace() and not inner[-1].isspace():
        return inner
    lead = len(text) - len(text.lstrip())
    if lead == len(text):
        return ""
    begin = max(text.rfind("\n", 0, lead), text.rfind("\r", 0, lead)) + 1
    tail = len(text.rstrip())
    ends = [at for at in (text.find("\n", tail), text.find("\r", tail)) if at >= 0]
    return text[begin : min(ends)] if ends else text[begin:]


def _spellings(names: list[str]) -> dict[str, str]:
    """Return the names by how a header may spell them: as they are, or in other case where that names one only."""
    plain = [_plain_name(name) for name in names]
    spellings = {spelling: name for spelling, name in zip(plain, names, strict=True) if plain.count(spelling) == 1}
    return spellings | {name: name for name in names}


def _plain_name(written: str) -> str:
    return re.sub(rf"[{BLANKS}-]+", "_", written).casefold()


def _first_line(text: str) -> str:
    return ("x" + text).splitlines()[0][1:]


def _last_line(text: str) -> str:
    return (text + "x").splitlines()[-1][:-1]


def _leave_out_fence(text: str, start: int, sections: list[_Section]) -> None:
    """Leave out the end of a code fence that was opened before the first header, around the whole answer."""
    first, last = sections[0], sections[-1]
    if "```" not in text[start : first.start] or len(_FENCE_LINE.findall(text, start, first.start)) % 2 == 0:
        return
    body = text[last.start : last.end].rstrip()
    alone = body.endswith("```") and not _last_line(body[:-3]).strip()
    if alone and len(_FENCE_LINE.findall(text, first.start, last.end)) % 2:
        last.end = last.start + len(body) - 3


def _content(text: str, section: _Section) -> str:
    content = text[section.start : section.end]
    if content[:1] in BLANKS and _first_line(content).strip():
        content = content.lstrip(BLANKS)
    content = trim_blank_lines(content)
    if section.indent:
        lines = content.split("\n")
        if all(line.startswith(section.indent) or not line.strip() for line in lines):
            content = "\n".join(line.removeprefix(section.indent) for line in lines)
    return content
