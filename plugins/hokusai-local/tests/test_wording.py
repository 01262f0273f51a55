from __future__ import annotations

from typing import Any

import dspy
import pytest

from hokusai_local.context_fit import fit, refuse_hopeless
from hokusai_local.inference_sequence import TooLong
from hokusai_local.prompts import (
    asks_questions,
    describe,
    how_many,
    render_inputs,
    rewriting_messages,
    wants_code,
    without_labels,
    word_limit,
)
from hokusai_local.prose import fenced, repeats_prompt, strip_invented_signature, tidy, without_frame
from hokusai_local.repetition import loops, repeated_share, repetition_problem, without_loop


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
    system = "Greet the recipient by name, mention every key point, and end with a polite closing line."
    inputs = "Recipient: Ana\nSubject: Photos\nKey points: They come next week"
    messages = [{"role": "system", "content": system}, {"role": "user", "content": inputs}]
    assert repeats_prompt(
        "Greet the recipient by name, mentioning every key point, and end with a closing line.", messages
    )
    assert repeats_prompt("Dear Ana,\nSubject: Photos\nKey points: They come next week", messages)
    assert not repeats_prompt("Subject: Photos\nDear Ana, the photos come next week.", messages)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("All is well.\n" + "Best regards\n" * 12 + "Best", "All is well.\nBest regards\n"),
        ("I came, I came, I came.", None),
        ("x = [" + "0, " * 40, "x = [0, "),
        ("Title\n" + "-" * 120, None),
    ],
)
def test_loops_are_noticed_and_cut(text: str, expected: str | None) -> None:
    assert loops(text) is (expected is not None)
    assert without_loop(text).removesuffix("Best") == (expected or text)


def test_what_people_write_hardly_repeats_itself() -> None:
    assert repeated_share("The boat takes passengers at eight and at five. It cannot carry cars, and it is small.") == 0
    report = "The report mentions the board of directors. The report also mentions the board of managers. "
    assert repeated_share(report + "The report also mentions the board of advisers.") > 0.2
    assert repeated_share("1. 2. 3. 4. 5. 6. 7. 8. 9. 10. 11. 12. 13. 14. 15.") > 0.8
    assert repeated_share("Too short.") == 0


@pytest.mark.parametrize(
    ("text", "given", "expected"),
    [
        ("Dear Ana,\nall is done.\nBest regards,\nAna", "Ana", "Dear Ana,\nall is done.\nBest regards"),
        ("Dear Mr. Wu,\nhello.\n\nSincerely,\n\nLi Wu\nSales", "Li Wu", "Dear Mr. Wu,\nhello.\n\nSincerely"),
        ("Re: Bike\n\nHi Ana,\nhello.\nCheers,\nBen", "from Ben", "Re: Bike\n\nHi Ana,\nhello.\nCheers,\nBen"),
        ("Dear Ana,\nhello.\nKind regards", "Ana", "Dear Ana,\nhello.\nKind regards"),
        ("He said:\nBest\nBen", "", "He said:\nBest\nBen"),
        ("Dear Ana,\nBest wishes\n" + "and a long sentence that goes on and on, and on. " * 3, "", None),
    ],
)
def test_letters_are_signed_by_those_who_were_named_only(text: str, given: str, expected: str | None) -> None:
    assert strip_invented_signature(text, given) == (expected or text)


def test_talk_around_a_text_and_its_code_is_left_out() -> None:
    talk = "Here is a revised version:\n\nThe price went up.\n\nThe original sentence had a wrong verb."
    assert without_frame(talk) == "The price went up."
    assert without_frame("He left.\n\nThe original is in Rome.") == "He left.\n\nThe original is in Rome."
    assert fenced("Look:\n```sql\nSELECT 1\n```\nIt selects.") == fenced("```\nSELECT 1") == "SELECT 1"
    assert fenced("SELECT 1") is None


def test_a_text_to_rewrite_stands_alone() -> None:
    signature = dspy.Signature("tone, message, goals: list[str] -> answer", "Rephrase the message.")
    inputs = {"tone": "polite", "message": "Send it now, or else.", "goals": []}
    how, text = rewriting_messages(signature, inputs) or ({}, {})
    assert how["content"].endswith("Rephrase the message.\nTone: polite")
    assert text == {"role": "user", "content": "Send it now, or else."}
    assert rewriting_messages(signature.with_instructions("Answer the message."), inputs) is None
    assert rewriting_messages(signature, {"tone": "", "message": " ", "goals": ["a"]}) is None


@pytest.mark.parametrize(
    ("instructions", "expected"),
    [
        ("Write three short questions about it.", 3),
        ("Give 5 questions.", 5),
        ("Ask for two reasons in your questions.", None),
        ("Write up to three questions.", None),
        ("Write at least two questions.", None),
        ("Write 3 or fewer questions.", None),
        ("Write questions.", None),
    ],
)
def test_numbers_of_items_are_read(instructions: str, expected: int | None) -> None:
    assert how_many(dspy.Signature("text -> good_questions: list[str]", instructions), "good_questions") == expected


def test_names_without_a_value_are_left_out() -> None:
    signature = dspy.Signature("text, goal, items: list[str], count: int -> answer")
    assert render_inputs(signature, {"text": "A", "goal": "", "items": [], "count": 0}) == ["Text: A", "Count: 0"]


@pytest.mark.parametrize(
    ("value", "expected"), [("50 words", 50), (60, 60), ("30 Wörter", 30), ("two sentences", None), (True, None)]
)
def test_word_limits_are_read(value: Any, expected: int | None) -> None:
    assert word_limit({"text": "100 words", "max_length": value}) == expected


def test_copied_labels_are_removed() -> None:
    signature = dspy.Signature("subject, key_points -> email_body")
    text = "Email body: Dear Ana,\nSubject: Launch\nAll is well: we start on Monday.\nKey points: launch"
    assert without_labels(signature, "email_body", text) == "Dear Ana,\nAll is well: we start on Monday."
    assert without_labels(signature, "email_body", "Subject: Launch") == "Launch"
    copied = "Dear Ana,\n\nSubject: Launch\nKey points: We start on Monday, and all of you are welcome to come."
    kept = "Dear Ana,\n\nLaunch\nWe start on Monday, and all of you are welcome to come."
    assert without_labels(signature, "email_body", copied) == kept


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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("How wonderful, how wonderful, how wonderful, how wonderful, how wonderful how wonderful?", "repeats itself"),
        ("All is well.\n" + "Best regards\n" * 12, "again and again"),
        ("How long have you been waiting, and how long have you been sick?", ""),
        ("The boat takes passengers at eight and at five. It cannot carry cars, and it is small.", ""),
    ],
)
def test_a_text_that_repeats_itself_has_a_problem(text: str, expected: str) -> None:
    assert expected in repetition_problem(text)
    assert bool(repetition_problem(text)) is bool(expected)
