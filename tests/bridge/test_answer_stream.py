"""What is handed out of an answer while it comes in is what the answer says as a whole."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any
from xml.sax.saxutils import escape

import dspy
import pytest
from dspy.utils.exceptions import AdapterParseError

from hokusai_core.dspy_bridge import strict_adapter
from hokusai_core.dspy_bridge.text_markers import disarm_markers
from hokusai_core.signatures.value_text import is_same

SIGNATURE = dspy.Signature("q -> title: str, score: int, body: str, note: str, tags: list[str] | None")
NAMES = {name: name for name in SIGNATURE.output_fields}
ADAPTERS = {name: strict_adapter(name) for name in ("chat", "json", "xml")}
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


def streamed(cuts: Iterator[str], kind: str = "chat") -> Listener:
    listener = Listener()
    stream = ADAPTERS[kind].answer_stream(SIGNATURE, NAMES, listener)
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


def json_text(text: str, chance: random.Random) -> str:
    """Return a JSON string, some of its characters as escapes."""
    written = json.dumps(text, ensure_ascii=chance.random() < 0.3)
    return written.replace("e", "\\u0065", 1) if chance.random() < 0.3 else written.replace("/", "\\/")


def some_json(chance: random.Random) -> str:
    """Return an object as models write it, or nearly so."""
    names = chance.sample(list(NAMES), len(NAMES))
    if chance.random() < 0.2:
        names.insert(chance.randint(0, 4), chance.choice([*names, "other", "Title", "score "]))
    members = []
    for name in names:
        value = json_text(some_text(chance) + chance.choice(["", "😀", "\ud83d", "\x00"]), chance)
        if name.strip().lower() == "score":
            value = chance.choice(["7", "7", '"7"', "7.0", "NaN"])
        elif name == "tags":
            value = chance.choice(["null", "[]", '["a]", "{\\""]', '[["a"]]'])
        elif name == "other":
            value = chance.choice(['{"title": "no"}', "[1, {}]", '"x"', "null"])
        members.append(json.dumps(name) + chance.choice([":", ": ", " :\n"]) + value)
    glue = chance.choice([", ", ",\n  ", " , "])
    answer = "{" + chance.choice(["", "\n  "]) + glue.join(members) + chance.choice(["}"] * 8 + ["\n}", ",}", "", "]"])
    draft = '<think>{"title": "no"}</think>\n'
    before = chance.choice(
        [""] * 6 + ["Sure:\n", "see [[ ~#", draft, "```json\n", "```\n", "{x} ", '{"title": "no"}\n']
    )
    after = chance.choice(["\n```"] * 5 + [""]) if "```" in before else chance.choice([""] * 4 + ["\nBye.", " {}"])
    if chance.random() < 0.05:
        after += '\n```json\n{"title": "t", "score": 1, "body": "b", "note": "n"}\n```'
    return before + answer + after


def some_xml(chance: random.Random) -> str:
    """Return elements as models write them, or nearly so."""
    names = chance.sample(list(NAMES), len(NAMES))
    if chance.random() < 0.2:
        names.insert(chance.randint(0, 4), chance.choice([*names, "other", "Title"]))
    parts = []
    for name in names:
        text = some_text(chance).replace("\x00", "")
        value = chance.choice([escape(text)] * 4 + [f"<![CDATA[{text}]]]>", f"a<b>c</b>{escape(text)}<!-- & -->", text])
        value += chance.choice(
            [""] * 4 + ["&#65;&#x42;", "&lt;~title> &lt;/~body>", "<i x='>'/>", "]]", "\r\n", "<note>x</note>"]
        )
        if name == "score":
            value = chance.choice(["7", " 7 ", "<![CDATA[7]]>", "x"])
        elif name == "tags":
            value = chance.choice(["<item>a</item><item>b</item>", '["a"]', "", "null"])
        tag = name + chance.choice([""] * 5 + [" ", ' lang="en"'])
        around = chance.choice(["\n", "\n", "", "  ", "\n\n "])
        parts.append(f"<{tag}>{around}{value}{around}</{name}>")
    glue = chance.choice(["\n", "\n\n", "", " and "])
    before = chance.choice(
        [""] * 6 + ["Sure:\n", "<think><title>no</title></think>", "a < b ", "<!-- <title> -->", "<w>"]
    )
    return before + glue.join(parts) + chance.choice([""] * 5 + ["\nBye.", "</w>", "<completed/>"])


MAKERS: dict[str, Callable[[random.Random], str]] = {"chat": some_answer, "json": some_json, "xml": some_xml}


def check(seed: int, kind: str) -> tuple[bool, bool]:
    """Stream one answer; return whether it can be read, and whether something of it was handed out early."""
    chance = random.Random(seed)
    answer = MAKERS[kind](chance)
    heard = streamed(cut(answer, chance, chance.choice([1, 4, 12, 80, 5000])), kind)
    try:
        read = ADAPTERS[kind].parse(SIGNATURE, answer)
    except AdapterParseError:
        return False, bool(heard.pieces)
    for name, text in heard.heard.items():
        assert read[name].startswith(text), (seed, name)
    for name, value in heard.values.items():
        assert is_same(read[name], value), (seed, name)
        assert name not in TEXTS or heard.heard.get(name, "") == value, (seed, name)
    return True, bool(heard.pieces)


@pytest.mark.parametrize("kind", ADAPTERS)
def test_parts_agree_with_the_whole(kind: str) -> None:
    outcomes = [check(seed, kind) for seed in range(600)]
    assert sum(read and early for read, early in outcomes) > 120


@pytest.mark.soak
@pytest.mark.parametrize("kind", ADAPTERS)
def test_parts_of_fifty_thousand_answers_agree_with_the_whole(kind: str) -> None:
    outcomes = [check(seed, kind) for seed in range(50_000)]
    print(f"{kind}: {sum(read for read, _ in outcomes)} of 50000 answers can be read; 0 parts differ")


USUAL = (
    "[[ ## title ## ]]\nA title\n\n[[ ## score ## ]]\n3\n\n[[ ## body ## ]]\nOne two\nthree.\n\n[[ ## note ## ]]\nn\n\n"
)


def test_each_character_is_handed_out_with_the_next_that_is_no_blank() -> None:
    listener = Listener()
    stream = ADAPTERS["chat"].answer_stream(SIGNATURE, NAMES, listener)
    said = []
    for character in USUAL[: USUAL.index("three.") + 6]:
        stream.feed(character)
        said.append(listener.heard.get("body", ""))
    assert said[-1] == "One two\nthree."
    assert said[-2] == "One two\nthree"
    assert listener.values == {"title": "A title", "score": 3}


def test_a_text_behind_its_header_on_the_line_does_not_wait_for_the_end_of_the_line() -> None:
    heard = streamed(iter(["[[ ## title ## ]] Once", " upon"]))
    assert heard.heard == {"title": "Once upon"}


CHAT = [
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
]
JSON = [
    ('{"title": "see ', "see "),
    ('{"title": "a\\', "a"),
    ('{"title": "a\\n', "a\n"),
    ('{"title": "a\\u00e', "a"),
    ('{"title": "a\\u00e9', "aé"),
    ('{"title": "a\\ud83d', "a"),
    ('{"title": "a\\ud83d\\ude00', "a😀"),
    ('{"title": "a\\ud83d and no other half', "a"),
    ('{"title": "a [[ ~#', "a "),
    ('{"title": "a [[ ~## x', "a [[ ## x"),
    ('{"title": "a\n', "a"),
    ('Sure, {x} here: {"title": "no', ""),
    ('Here it is:\n```json\n{\n  "score": 7,\n  "title": "yes', "yes"),
    ('<think>{"title": "no"}</think>{"title": "yes', "yes"),
    ('{"other": {"title": "no", "x": ["}", "\\""]}, " Title ": "yes', "yes"),
    ('{"title": ["no"], "body": "x"}', ""),
    ("{'title': 'no", ""),
    ('[{"title": "yes', "yes"),
]
XML = [
    ("<title>see ", "see"),
    ("<title>\n\n  see\n\n", "  see"),
    ("<title>a &am", "a"),
    ("<title>a &amp; b &#65;&#x42;", "a & b AB"),
    ("<title>a <b>c</", "a <b>c"),
    ("<title>a <b>c</b> d", "a <b>c</b> d"),
    ("<title>a <![CDATA[<b> & ]]", "a <b> &"),
    ("<title>a <![CDATA[<b> & ]]]> c", "a <b> & ] c"),
    ("<title>a <!-- b", "a"),
    ("<title>a <!-- b --> c", "a <!-- b --> c"),
    ("<title>a <score>7", "a"),
    ("<title>a &lt;~tit", "a "),
    ("<title>a &lt;~title> b", "a <title> b"),
    ("<titles>no</titles><title lang='en'>yes", "yes"),
    ("<w><title>no</title>", ""),
    ("<think><title>no</title></think>Well: <title>yes", "yes"),
    ("<note>x</note>\n<TITLE>yes", "yes"),
]


@pytest.mark.parametrize(
    ("kind", "answer", "heard"),
    [(kind, *case) for kind, cases in (("chat", CHAT), ("json", JSON), ("xml", XML)) for case in cases],
)
def test_what_may_still_be_read_otherwise_is_held_back(kind: str, answer: str, heard: str) -> None:
    for longest in (1, 3, 1000):
        said = streamed(cut(answer, random.Random(1), longest), kind).heard
        assert said.get("title", "") == heard


@pytest.mark.parametrize(
    ("kind", "answer", "values"),
    [
        ("json", '{"score": 7', {}),
        ("json", '{"score": 7 ', {}),
        ("json", '{"score": 7,', {"score": 7}),
        ("json", '{"score": "7"}', {"score": 7}),
        ("json", '{"score": NaN, "title": "x"}', {}),
        ("json", '{"tags": ["a]", "b"', {}),
        ("json", '{"tags": ["a]", "b"]}', {"tags": ["a]", "b"]}),
        ("json", '{"tags": null, "title": "", "score": 7, "score": 8}', {"tags": None, "title": "", "score": 7}),
        ("json", '{"score": 1, "note": "a" "b"}', {"score": 1}),
        ("xml", "<score>7</score", {}),
        ("xml", "<score>7</score>", {"score": 7}),
        ("xml", "<score> <![CDATA[7]]></score>", {"score": 7}),
        ("xml", "<tags><item>a</item><item>b &amp; c</item></tags><title/>", {"tags": ["a", "b & c"], "title": ""}),
    ],
)
def test_a_value_counts_when_it_is_over(kind: str, answer: str, values: dict[str, Any]) -> None:
    for longest in (1, 1000):
        assert streamed(cut(answer, random.Random(1), longest), kind).values == values


BEGINS = {"chat": "[[ ## title ## ]]\nx", "json": '{"title": "x', "xml": "<title>x"}


@pytest.mark.parametrize(
    ("kind", "unit"),
    [
        *(
            ("chat", unit)
            for unit in ("word ", "\n", " ", "[", "[[ ## title ## ]]\na\n", "- ", "```\n", "<", "#", "a\n")
        ),
        *(("json", unit) for unit in ("word ", " ", "[", "\\n", "\\ud83d", "<", '", "title": "', '", "x": [["')),
        *(
            ("xml", unit)
            for unit in ("word ", " ", "[", "&amp;", "<b/>", "<", "<!--", "]]", "<![CDATA[a]]>", "</title><title>")
        ),
    ],
)
def test_the_work_grows_with_the_length(kind: str, unit: str) -> None:
    def seconds(size: int) -> float:
        text = BEGINS[kind] + unit * (size // len(unit))
        best = 9.0
        for _ in range(3):
            stream = ADAPTERS[kind].answer_stream(SIGNATURE, NAMES, Listener())
            began = time.process_time()
            for at in range(0, len(text), 8):
                stream.feed(text[at : at + 8])
            best = min(best, time.process_time() - began)
        return best

    assert seconds(80_000) < 4 * 2 * seconds(20_000) + 0.02
