from __future__ import annotations

from typing import Any

import dspy
import pytest

from hokusai_local.fitting import fit, refuse_hopeless
from hokusai_local.prompts import asks_questions, describe, wants_code, without_labels, word_limit
from hokusai_local.prose import echoes, tidy
from hokusai_local.slot import TooLong


@pytest.mark.parametrize(
    ("text", "complete", "expected"),
    [
        ("  Whole. And open", True, ("Whole. And open", True)),
        ("One. Two is long enough. And thr", False, ("One. Two is long enough.", True)),
        ("Short. " + "x" * 80, False, ("Short. " + "x" * 80, False)),
        ("It costs 3.50 euros and", False, ("It costs 3.50 euros and", False)),
    ],
)
def test_cut_texts_end_with_a_sentence(text: str, complete: bool, expected: tuple[str, bool]) -> None:
    assert tidy(text, complete=complete) == expected


def test_repeated_instructions_are_noticed() -> None:
    instructions = "Greet the recipient by name, mention every key point, and end with a polite closing line."
    assert echoes("Greet the recipient by name, mentioning every key point, and end with a closing line.", instructions)
    assert not echoes("Dear Ana, the photos come next week.", instructions)


@pytest.mark.parametrize(
    ("value", "expected"), [("50 words", 50), (60, 60), ("30 Wörter", 30), ("two sentences", None), (True, None)]
)
def test_word_limits_are_read(value: Any, expected: int | None) -> None:
    assert word_limit({"text": "100 words", "max_length": value}) == expected


def test_copied_labels_are_removed() -> None:
    signature = dspy.Signature("subject, key_points -> email_body")
    text = "Email body: Dear Ana,\nSubject: Launch\nAll is well: we start on Monday.\nKey points: launch"
    assert without_labels(signature, "email_body", text) == "Dear Ana,\nAll is well: we start on Monday."
    assert without_labels(signature, "email_body", "Subject: Launch") == "Subject: Launch"


def test_code_may_have_brackets_and_prose_may_not() -> None:
    assert wants_code(dspy.Signature("task -> code"), {"task": "add two numbers"})
    assert wants_code(dspy.Signature("text -> summary"), {"text": "a[0] is the first"})
    assert not wants_code(dspy.Signature("text -> summary"), {"text": "The price went up."})


def test_a_signature_without_instructions_still_says_what_to_do() -> None:
    assert describe(dspy.Signature("text -> short_summary"), name_options=False) == "Give the short summary."
    described = dspy.Signature({"text": (str, dspy.InputField()), "title": (str, dspy.OutputField(desc="Five words"))})
    assert describe(described, name_options=False) == "Title: Five words"


def test_questions_are_known_by_their_name() -> None:
    assert asks_questions("clarifying_question")
    assert asks_questions("follow_up_questions")
    assert not asks_questions("answer")


def test_fitting_keeps_both_ends_and_says_so() -> None:
    text = "begin " + "word " * 5000 + "end"
    messages = [{"role": "system", "content": "Summarize."}, {"role": "user", "content": text}]

    def count(shorter: Any) -> int:
        return sum(len(message["content"]) for message in shorter) // 5

    with pytest.warns(UserWarning, match="middle of its longest message is left out"):
        fitted, notes = fit(messages, TooLong(5002, 1000), count)
    assert count(fitted) <= 1000
    assert fitted[0] == messages[0]
    assert fitted[1]["content"].startswith("begin ")
    assert fitted[1]["content"].endswith("end")
    assert (notes[0].action, notes[0].asked) == ("clamped", 5002)


def test_what_cannot_be_shortened_enough_stays_an_error() -> None:
    messages = [{"role": "user", "content": "word " * 20} for _ in range(100)]
    with pytest.raises(TooLong):
        fit(messages, TooLong(3000, 100), lambda shorter: 3000)


def test_hopeless_prompts_are_refused_by_their_length() -> None:
    with pytest.raises(TooLong) as caught:
        refuse_hopeless([{"role": "user", "content": "word " * 200_000}], 4096, 3800)
    assert caught.value.estimated
    refuse_hopeless([{"role": "user", "content": "word " * 20_000}], 4096, 3800)
