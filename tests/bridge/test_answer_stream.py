"""What is handed out of an answer while it comes in is what the answer says as a whole."""

from __future__ import annotations

import random
import time
from collections.abc import Collection, Iterator
from typing import Any

import dspy
import pytest

from hokusai_core.dspy_bridge.answer_reader import AnswerFormatError
from hokusai_core.dspy_bridge.answer_stream import AnswerStream
from hokusai_core.dspy_bridge.output_readers import reader_of
from hokusai_core.dspy_bridge.text_markers import disarm_markers
from hokusai_core.signatures.value_text import is_same

READER = reader_of(dspy.Signature("q -> title: str, score: int, body: str, note: str"))
NAMES = {name: name for name in ("title", "score", "body", "note")}
TEXTS = frozenset({"title", "body", "note"})


class Listener:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.pieces: dict[str, list[str]] = {}
        self.values: dict[str, Any] = {}

    @property
    def texts(self) -> Collection[str]:
        return TEXTS

    def text(self, name: str, piece: str) -> None:
        assert piece
        self.pieces.setdefault(name, []).append(piece)

    def value(self, name: str, value: Any) -> None:
        assert name not in self.values
        self.values[name] = value

    def thought(self, name: str, piece: str) -> None:
        raise AssertionError(f"a plain answer has no thoughts: {name}, {piece}")

    def restart(self, reason: str) -> None:
        raise AssertionError(f"one answer begins once: {reason}")

    @property
    def heard(self) -> dict[str, str]:
        return {name: "".join(pieces) for name, pieces in self.pieces.items()}


def streamed(answer: str, cuts: Iterator[str]) -> Listener:
    listener = Listener()
    stream = AnswerStream(READER, NAMES, listener)
    for piece in cuts:
        stream.feed(piece)
    return listener


def cut(text: str, chance: random.Random, longest: int) -> Iterator[str]:
    at = 0
    while at < len(text):
        size = chance.randint(1, longest)
        yield text[at : at + size]
        at += size


LINES = [
    "plain words", "  indented", "", "   ", "- item", "1. first", "# heading", "> quote", "**bold** word", "`code`",
    "```", "```python", "a [[ link ]] b", "[[ #", "half [[ ## ma", "list[[int]]", "1", "None", "\ttab", "blanks  ",
    "<b>", "<<CUSTOM", "<", "[", "é—漢字 🎉", "x" * 300, "\u2028", "a\rb", "</p>", "[[ ## body", "##", "~", "*", "_",
    "\u200b",
]  # fmt: skip


def some_text(chance: random.Random) -> str:
    lines = [chance.choice(LINES) for _ in range(chance.randint(1, 6))]
    text = "\n".join(lines)
    return disarm_markers(text) if chance.random() < 0.8 else text


def some_answer(chance: random.Random) -> str:
    """Return an answer as models write them, or nearly so."""
    names = ["title", "score", "body", "note"]
    if chance.random() < 0.1:
        names.insert(chance.randint(0, 4), chance.choice([*names, "other"]))
    parts = []
    for name in names:
        value = str(chance.randint(0, 9)) if name == "score" else some_text(chance)
        header = chance.choice(["[[ ## {} ## ]]"] * 8 + ["[[## {} ##]]", "**[[ ## {} ## ]]**", "### [[ ## {} ## ]]"])
        between = chance.choice(["\n"] * 6 + [" ", "\n\n", ": ", ""])
        parts.append(header.format(name) + between + value)
    glue = chance.choice(["\n\n"] * 6 + ["\n", " ", "\n  \n"])
    end = chance.choice(["[[ ## completed ## ]]"] * 6 + ["", "[[ ## completed ## ]]\n<|im_end|>", "\n[[ ## complet"])
    answer = glue.join([*parts, end])
    before = chance.choice([""] * 6 + ["Sure:\n", "<think>\n[[ ## title ## ]]\nno\n</think>\n", "```\n", "- a\n"])
    if before == "```\n" and chance.random() < 0.7:
        answer += "\n```"
    return before + answer


def check(seed: int) -> tuple[bool, bool]:
    """Stream one answer; return whether it can be read, and whether something of it was handed out early."""
    chance = random.Random(seed)
    answer = some_answer(chance)
    heard = streamed(answer, cut(answer, chance, chance.choice([1, 4, 12, 80, 5000])))
    try:
        read = READER.read(answer)
    except AnswerFormatError:
        return False, bool(heard.pieces)
    for name, text in heard.heard.items():
        assert read[name].startswith(text), (seed, name)
    for name, value in heard.values.items():
        assert is_same(read[name], value), (seed, name)
        assert name not in TEXTS or heard.heard.get(name, "") == value, (seed, name)
    return True, bool(heard.pieces)


def test_parts_agree_with_the_whole() -> None:
    outcomes = [check(seed) for seed in range(1500)]
    assert sum(read and early for read, early in outcomes) > 700


@pytest.mark.soak
def test_parts_of_fifty_thousand_answers_agree_with_the_whole() -> None:
    outcomes = [check(seed) for seed in range(50_000)]
    print(f"{sum(read for read, _ in outcomes)} of 50000 answers can be read; 0 parts differ")


USUAL = (
    "[[ ## title ## ]]\nA title\n\n[[ ## score ## ]]\n3\n\n[[ ## body ## ]]\nOne two\nthree.\n\n[[ ## note ## ]]\nn\n\n"
)


def test_each_character_is_handed_out_with_the_next_that_is_no_blank() -> None:
    listener = Listener()
    stream = AnswerStream(READER, NAMES, listener)
    said = []
    for character in USUAL[: USUAL.index("three.") + 6]:
        stream.feed(character)
        said.append(listener.heard.get("body", ""))
    assert said[-1] == "One two\nthree."
    assert said[-2] == "One two\nthree"
    assert listener.values == {"title": "A title", "score": 3}


def test_a_text_behind_its_header_on_the_line_does_not_wait_for_the_end_of_the_line() -> None:
    heard = streamed("", iter(["[[ ## title ## ]] Once", " upon"]))
    assert heard.heard == {"title": "Once upon"}


@pytest.mark.parametrize(
    ("answer", "heard"),
    [
        ("[[ ## title ## ]]\n- ", ""),
        ("[[ ## title ## ]]\n- a", "- a"),
        ("[[ ## title ## ]]\n**", ""),
        ("[[ ## title ## ]]\n12", ""),
        ("[[ ## title ## ]]\n12 apples", "12 apples"),
        ("[[ ## title ## ]]\nsee [", "see"),
        ("[[ ## title ## ]]\nsee [[ ##", "see"),
        ("[[ ## title ## ]]\nsee [[ ## score", "see"),
        ("[[ ## title ## ]]\nsee [1]", "see [1]"),
        ("[[ ## title ## ]]\nsee [[ ~## score ## ]] there", "see [[ ## score ## ]] there"),
        ("[[ ## title ## ]]\nsee [[ ~#", "see"),
        ("```\n[[ ## title ## ]]\nsee\n```", "see"),
        ("```\n[[ ## title ## ]]\nsee\n```\nand", "see\n```\nand"),
        ("<think>[[ ## title ## ]]\nno\n", ""),
        ("<think>[[ ## title ## ]]\nno\n</think>\n[[ ## title ## ]]\nyes", "yes"),
        ("[[ ## other ## ]]\nno", ""),
    ],
)
def test_what_may_still_be_read_otherwise_is_held_back(answer: str, heard: str) -> None:
    for longest in (1, 3, 1000):
        said = streamed(answer, cut(answer, random.Random(1), longest)).heard
        assert said.get("title", "") == heard


@pytest.mark.parametrize(
    "unit", ["word ", "\n", " ", "[", "[[ ## title ## ]]\na\n", "- ", "```\n", "<", "[[ ##", "#", "a\n"]
)
def test_the_work_grows_with_the_length(unit: str) -> None:
    def seconds(size: int) -> float:
        text = "[[ ## title ## ]]\nx" + unit * (size // len(unit))
        best = 9.0
        for _ in range(3):
            listener = Listener()
            stream = AnswerStream(READER, NAMES, listener)
            began = time.process_time()
            for at in range(0, len(text), 8):
                stream.feed(text[at : at + 8])
            best = min(best, time.process_time() - began)
        return best

    assert seconds(160_000) < 4 * 2 * seconds(40_000) + 0.02
