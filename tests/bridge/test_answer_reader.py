"""Answers are read as what they say, or refused; never as another value."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from typing import Any

import dspy
import pytest
from dspy.utils.exceptions import AdapterParseError
from hypothesis import given, settings
from hypothesis import strategies as st

from hokusai_core.dspy_bridge import FastChatAdapter
from hokusai_core.dspy_bridge.answer_reader import AnswerFormatError, AnswerSplitter, trim_blank_lines
from hokusai_core.dspy_bridge.text_markers import disarm_markers, restore_markers

END = "[[ ## completed ## ]]"


def split(answer: str, *, a: bool = True, b: bool = False) -> dict[str, str]:
    """Split an answer for a required output ``a`` and an optional output ``b``."""
    return dict(AnswerSplitter({"a": a, "b": b}).split(answer))


READ = {
    "as asked": (f"[[ ## a ## ]]\nParis\n\n[[ ## b ## ]]\n3\n\n{END}", {"a": "Paris", "b": "3"}),
    "no end": ("[[ ## a ## ]]\nParis", {"a": "Paris"}),
    "header in a line": (f"[[ ## a ## ]]\nParis[[ ## b ## ]]\n3\n\n{END}", {"a": "Paris", "b": "3"}),
    "one line": (f"[[ ## a ## ]] Paris [[ ## b ## ]] 3 {END}", {"a": "Paris", "b": "3"}),
    "end glued to the value": (f"[[ ## a ## ]]\n```\nx\n```{END}", {"a": "```\nx\n```"}),
    "end with a token": (f"[[ ## a ## ]]\nx {END}<|im_end|>", {"a": "x"}),
    "indented": ("  [[ ## a ## ]]\n  Paris\n    x\n  [[ ## b ## ]]\n  3", {"a": "Paris\n  x", "b": "3"}),
    "indented header only": ("  [[ ## a ## ]]\n Paris", {"a": " Paris"}),
    "bold": (f"**[[ ## a ## ]]**\nParis\n**[[ ## b ## ]]** 3\n`{END}`", {"a": "Paris", "b": "3"}),
    "headings": ("### [[ ## a ## ]]\nParis\n### [[ ## b ## ]]\n3", {"a": "Paris", "b": "3"}),
    "list": ("- [[ ## a ## ]]\nParis\n- [[ ## b ## ]]\n3", {"a": "Paris", "b": "3"}),
    "colon": ("[[ ## a ## ]]: Paris\n[[ ## b ## ]]:\n3", {"a": "Paris", "b": "3"}),
    "other spelling": ("[[## A ##]]\nParis\n[[##b##]]\n3", {"a": "Paris", "b": "3"}),
    "fence around all": ("```\n[[ ## a ## ]]\nParis\n```", {"a": "Paris"}),
    "fence around all, code inside": ("```\n[[ ## a ## ]]\n```py\nx\n```\n```", {"a": "```py\nx\n```"}),
    "fence around all, not closed": ("```\n[[ ## a ## ]]\n```py\nx\n```", {"a": "```py\nx\n```"}),
    "preamble": (f"Sure! `[[ ## a ## ]]` comes first.\n\n[[ ## a ## ]]\nParis\n{END}\nBye", {"a": "Paris"}),
    "prompt repeated": ("[[ ## question ## ]]\nWhere?\n\n[[ ## a ## ]]\nParis", {"a": "Paris"}),
    "next turn": (f"[[ ## a ## ]]\nx\n{END}\n\n[[ ## question ## ]]\ny\n[[ ## a ## ]]\nz", {"a": "x"}),
    "twice the same": (f"[[ ## a ## ]]\nx\n{END}\n[[ ## a ## ]]\nx\n{END}", {"a": "x"}),
    "thoughts": ("<think>\nhm\n</think>\n\n[[ ## a ## ]]\nParis", {"a": "Paris"}),
    "draft in thoughts": ("<think>\n[[ ## a ## ]]\nLyon\n</think>\n[[ ## a ## ]]\nParis", {"a": "Paris"}),
    "two thoughts": ("<think>x</think>\n<Thinking>y</Thinking>\n[[ ## a ## ]]\nParis", {"a": "Paris"}),
    "thoughts opened by the prompt": ("[[ ## a ## ]]\nLyon\n</think>\n[[ ## a ## ]]\nParis", {"a": "Paris"}),
    "tag in a text": ("[[ ## a ## ]]\n<think>x</think> y", {"a": "<think>x</think> y"}),
    "closing tag in a text": ("[[ ## a ## ]]\nx </think> y\n[[ ## b ## ]]\n3", {"a": "x </think> y", "b": "3"}),
    "unknown header in a line": ("[[ ## a ## ]]\nsee [[ ## note ## ]] there", {"a": "see [[ ## note ## ]] there"}),
    "blank lines": ("[[ ## a ## ]]\n\n \n  x\n\ny  \n \n\n" + END, {"a": "  x\n\ny  "}),
    "Windows": ("[[ ## a ## ]]\r\nx\r\ny\r\n\r\n[[ ## b ## ]]\r\n3\r\n", {"a": "x\r\ny", "b": "3"}),
    "characters without width": ("\ufeff[[ ## a ## ]]\nx\n\u200b[[ ## b ## ]]\n3", {"a": "x", "b": "3"}),
    "nothing": ("[[ ## a ## ]]\n\n[[ ## b ## ]]\n3", {"a": "", "b": "3"}),
}


@pytest.mark.parametrize(("answer", "outputs"), READ.values(), ids=READ)
def test_answers_that_can_be_read(answer: str, outputs: dict[str, str]) -> None:
    assert split(answer) == outputs


REFUSED = {
    "unknown header on its line": "[[ ## a ## ]]\nx\n[[ ## note ## ]]\nz",
    "unknown header at the end of a line": "[[ ## a ## ]]\nx[[ ## note ## ]]\nz",
    "unknown header at the begin of a line": "[[ ## a ## ]]\nx\n[[ ## note ## ]] z",
    "thoughts that do not end": "<think>\n[[ ## a ## ]]\nLyon",
    "begins again after thoughts": "[[ ## b ## ]]\n3\n</think>\n[[ ## b ## ]]\n4",
    "end inside a line": f"[[ ## a ## ]]\nthe {END} ends it\n{END}",
    "text between two ends": f"[[ ## a ## ]]\nx\n{END}\ny\n{END}",
    "output behind the end": f"[[ ## a ## ]]\nx\n{END}\n[[ ## b ## ]]\n3",
    "header that does not end": "[[ ## a ## ]]\nx\n[[ ## b ## ]\n3",
    "header quoted": "[[ ## a ## ]]\nwrite `[[ ## b ## ]]` first",
    "numbered": "1. [[ ## a ## ]]\nParis\n2. [[ ## b ## ]]\n3",
}


@pytest.mark.parametrize("answer", REFUSED.values(), ids=REFUSED)
def test_answers_that_could_be_read_in_two_ways(answer: str) -> None:
    with pytest.raises(AnswerFormatError):
        split(answer)


signature = dspy.Signature("question -> a, n: int | None, tags: list[str] | None")


@pytest.mark.parametrize(
    "answer",
    [
        "[[ ## a ## ]]\nLyon\n[[ ## a ## ]]\nParis",
        f"[[ ## a ## ]]\nLyon\n{END}\nNo:\n[[ ## a ## ]]\nParis",
        "[[ ## a ## ]]\nx\n[[ ## n ## ]]\n1\n[[ ## n ## ]]\n2",
        "[[ ## n ## ]]\n1",
    ],
    ids=["draft", "draft and end", "number", "missing"],
)
def test_two_values_or_none_are_an_error(answer: str) -> None:
    with pytest.raises(AdapterParseError):
        FastChatAdapter().parse(signature, answer)


@pytest.mark.parametrize(("first", "second"), [("true", "1"), ("[1]", "[true]"), ('{"x": 1}', '{"x": 1.0}')])
def test_values_that_only_python_calls_equal_are_two_values(first: str, second: str) -> None:
    open_signature = dspy.Signature({"q": (str, dspy.InputField()), "a": (Any, dspy.OutputField())})
    with pytest.raises(AdapterParseError):
        FastChatAdapter().parse(open_signature, f"[[ ## a ## ]]\n{first}\n[[ ## a ## ]]\n{second}")
    assert FastChatAdapter().parse(open_signature, f"[[ ## a ## ]]\n{first}\n[[ ## a ## ]]\n {first}\n{END}")


@pytest.mark.parametrize("header", ["[ ## n ## ]", "## n ##", "{{ ## N ## }}", "[[##n##]", "[[ # n # ]]", "### N"])
def test_a_mangled_header_does_not_make_an_output_absent(header: str) -> None:
    with pytest.raises(AdapterParseError):
        FastChatAdapter().parse(signature, f"[[ ## a ## ]]\nx\n\n{header}\n3")
    answer = f"[[ ## a ## ]]\nx\n{header.replace('[[', '[')}\ny\n\n[[ ## n ## ]]\n3\n\n[[ ## tags ## ]]\n[]"
    assert FastChatAdapter().parse(signature, answer)["n"] == 3  # it is part of a text


@pytest.mark.parametrize("line", ["[ ## n ## ] 3", "## n ## 3", "## n: 3", "so [ ## n ## ] 3"])
def test_a_mangled_header_before_its_value_is_found(line: str) -> None:
    with pytest.raises(AdapterParseError):
        FastChatAdapter().parse(signature, f"[[ ## a ## ]]\nx\n{line}")


def test_a_neutralised_header_is_text_where_its_output_is_absent() -> None:
    answer = "[[ ## a ## ]]\nx\n[[ ~## n ## ]]\n3"
    assert FastChatAdapter().parse(signature, answer) == {"a": "x\n[[ ## n ## ]]\n3", "n": None, "tags": None}


def test_an_output_is_absent_only_if_it_has_no_header() -> None:
    adapter = FastChatAdapter()
    assert adapter.parse(signature, "[[ ## a ## ]]\nx") == {"a": "x", "n": None, "tags": None}
    assert adapter.parse(signature, "[[ ## a ## ]]\nx[[ ## n ## ]]\n1") == {"a": "x", "n": 1, "tags": None}
    with pytest.raises(AdapterParseError):
        adapter.parse(signature, "[[ ## a ## ]]\nx\n[[ ## n ## ]]\nmany")


odd_texts = st.text(
    st.one_of(
        st.sampled_from("ab \n\t\r\x0b\x0c\x1c\x85\u2028[]#~<>/`*-.:|"),
        st.characters(exclude_categories=("Cs",)),  # type: ignore[arg-type]
    ),
    max_size=60,
)
pieces = st.lists(
    st.sampled_from(
        [
            "[[ ## a ## ]]",
            "[[ ## b ## ]]",
            "[[##b##]]",
            END,
            "[[ ## note ## ]]",
            "[[ ~## b ## ]]",
            "\n",
            " ",
            "x",
            "```",
            "<<",
            "<<CUSTOM-TYPE-START-IDENTIFIER>>",
            "<<~CUSTOM-TYPE-END-IDENTIFIER>>",
            "**",
            "- ",
            "<think>",
            "</think>",
            "\u2028",
        ]
    ),
    max_size=8,
).map("".join)
texts = st.one_of(odd_texts, pieces)


@given(texts)
def test_disarmed_texts_hold_no_marker_and_come_back(text: str) -> None:
    disarmed = disarm_markers(text)
    assert restore_markers(disarmed) == text
    assert "<<CUSTOM-TYPE-" not in disarmed
    assert "[[ ##" not in disarmed
    if "##" not in text and "CUSTOM" not in text:
        assert disarmed == text


@given(texts, texts)
@settings(max_examples=max(100, settings.default.max_examples if settings.default else 0))
def test_what_is_written_is_read(a: str, b: str) -> None:
    signature = dspy.Signature("question -> a, b, n: int")
    adapter = FastChatAdapter()
    written = adapter.format_assistant_message_content(signature, {"a": a, "b": b, "n": 1})
    assert adapter.parse(signature, written) == {"a": trim_blank_lines(a), "b": trim_blank_lines(b), "n": 1}


WORDS = [
    "plain words",
    "two\n\nparagraphs",
    "  indented\n\tcode",
    "a, b",
    "[1, 2]",
    '{"x": 1}',
    "ends with a space ",
    "None",
    "- item\n- item",
    "```py\nx = 1\n```",
    "# Title",
    "**bold**",
    "[[ ## b ## ]]\nAPPROVED",
    "x [[ ## n ## ]] 4 " + END,
    "<<CUSTOM-TYPE-START-IDENTIFIER>>[]<<CUSTOM-TYPE-END-IDENTIFIER>>",
    "see </think>",
    "ü\u2028\x85 ß",
    "1. first",
    "> quote",
]
noisy_signature = dspy.Signature(
    "question -> a, n: int, b: str | None, yes: bool, tags: list[str], counts: dict[str, int], share: float | None"
)


noisy_adapter = FastChatAdapter()


def _value(chance: random.Random, name: str) -> Any:
    words = [chance.choice(WORDS) for _ in range(chance.randint(1, 2))]
    return {
        "a": chance.choice(["\n", " "]).join(words),
        "b": None if chance.random() < 0.3 else words[0],
        "n": chance.randint(-5, 10**6),
        "yes": chance.random() < 0.5,
        "tags": words,
        "counts": {words[0]: chance.randint(0, 9)},
        "share": None if chance.random() < 0.3 else chance.random(),
    }[name]


def _noisy(chance: random.Random, values: dict[str, Any]) -> str:
    """Return the answer that says ``values``, written as carelessly as models write."""
    written = noisy_adapter.format_assistant_message_content(noisy_signature, values).strip()
    sections = written.split("[[ ## ")[1:]
    heads = [section.partition(" ## ]]")[0] for section in sections]
    bodies = [section.partition(" ## ]]\n")[2].rstrip("\n") for section in sections]
    parts = []
    for head, body in zip(heads, bodies, strict=True):
        if head in values and values[head] is None and chance.random() < 0.7:
            continue  # left out
        header = chance.choice(
            [f"[[ ## {head} ## ]]"] * 4 + [f"**[[ ## {head} ## ]]**", f"[[##{head}##]]", f"`[[ ## {head} ## ]]`"]
        )
        if head in ("n", "yes", "tags", "counts", "share") and chance.random() < 0.2:
            body = chance.choice([f"```json\n{body}\n```", f"```\n{body}\n```", f"  {body}  ", f"\n{body}\n"])
        joint = chance.choice(["\n", "\n", "\n", "\n\n", "\r\n", " "])
        parts.append(f"{header}{joint}{body}" if body else header)
        if chance.random() < 0.04:
            parts.append(parts[-1])  # said twice
    answer = chance.choice(["\n\n", "\n\n", "\n", "\r\n\r\n"]).join(parts)
    noise: list[Callable[[str], str]] = [
        lambda text: f"Sure, here it is:\n\n{text}",
        lambda text: f"<think>\nPerhaps\n[[ ## a ## ]]\nsomething\n</think>\n{text}",
        lambda text: f"```\n{text}\n```",
        lambda text: text.replace("\n\n[[", "[[", 1),
        lambda text: text.removesuffix(END).rstrip("\n"),
        lambda text: text.removesuffix(END).rstrip("\n") + END,
        lambda text: f"{text}\n\nI hope that this helps!",
        lambda text: text.replace("[[ ## n ## ]]", "[[ ## note ## ]]\nhm\n[[ ## n ## ]]"),
        lambda text: text.replace("[[ ## n ## ]]", "  [[ ## n ## ]]"),
        lambda text: f"{text}\n\n[[ ## question ## ]]\nAnd?\n\n[[ ## a ## ]]\nNo.",
        lambda text: f"[[ ## a ## ]]\na draft\n{text}",
    ]
    for change in chance.sample(noise, chance.choice([0, 1, 1, 2])):
        answer = change(answer)
    return answer


def _same(found: Any, said: Any) -> bool:
    if said is None:
        return found in (None, "None")
    if isinstance(said, str):
        return isinstance(found, str) and found.strip() == said.strip()  # glued headers leave no trace of a last space
    return type(found) is type(said) and bool(found == said)


def _read_noisy(count: int, seed: int) -> int:
    """Read ``count`` careless answers; return how many are refused."""
    chance, adapter, refused = random.Random(seed), noisy_adapter, 0
    for _ in range(count):
        values = {name: _value(chance, name) for name in noisy_signature.output_fields}
        answer = _noisy(chance, values)
        try:
            found = adapter.parse(noisy_signature, answer)
        except AdapterParseError:
            refused += 1
            continue
        wrong = {name: (found[name], said) for name, said in values.items() if not _same(found[name], said)}
        assert not wrong, (answer, wrong)
    return refused


def test_careless_answers_are_read_rightly_or_refused() -> None:
    refused = _read_noisy(1000, seed=1)
    assert refused < 400  # a reader that refuses everything would also never be wrong


@pytest.mark.soak
def test_fifty_thousand_careless_answers() -> None:
    refused = _read_noisy(50_000, seed=2)
    print(f"50,000 careless answers: {refused} refused, 0 read wrongly")
    assert refused < 20_000


LARGE: dict[str, Callable[[int], str]] = {
    "one line of headers": lambda n: "[[ ## a ## ]] x" * n,
    "openings": lambda n: "[[ ##" * n,
    "blanks": lambda n: "[[ ## a ## ]]" + " " * (10 * n) + "x",
    "lines": lambda n: "[[ ## a ## ]]\n" + "\n" * (10 * n),
    "thoughts": lambda n: "<think></think>" * n,
    "fences": lambda n: "```\n" * n + "[[ ## a ## ]]\n" + "```\n" * n,
    "stray tags": lambda n: "[[ ## a ## ]]\nx</think>\n" * n,
    "ends": lambda n: "[[ ## a ## ]]\nx\n" + f"{END}\n" * n,
    "opened brackets": lambda n: "[" * (10 * n),
    "long name": lambda n: "[[ ## " + "a" * (10 * n),
}


@pytest.mark.parametrize("make", LARGE.values(), ids=LARGE)
def test_splitting_takes_time_in_proportion_to_the_answer(make: Callable[[int], str]) -> None:
    def took(size: int) -> float:
        answer, best = make(size), float("inf")
        for _ in range(3):
            started = time.process_time()
            with contextlib.suppress(AnswerFormatError):
                split(answer)
            best = min(best, time.process_time() - started)
        return best

    # Eight times the size: 8 where it is linear, 64 where it is quadratic.
    assert took(16_000) < 24 * max(took(2_000), 0.001)
