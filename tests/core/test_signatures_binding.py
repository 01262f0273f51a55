"""Binding: aliases, defaults, coercion, and every problem at once."""

from __future__ import annotations

import enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hokusai_core.base_signature import BaseSignature
from hokusai_core.errors import InputError
from hokusai_core.signatures import FieldSpec, InputBinder, InputField, OutputField, SignatureSpec
from hokusai_core.signatures.text_lists import split_list


class Draft(BaseSignature):
    topic: str = InputField(aliases=("subject", "title"))
    points: list[str] = InputField()
    count: int = InputField(default=3, ge=1, le=10)
    extras: list[str] = InputField(default=["x"])
    tone: str = InputField(required=False)
    password: str = InputField(required=False, sensitive=True, max_length=3)
    draft: str = OutputField()


class Classify(BaseSignature):
    text: str = InputField()
    categories: list[str] = InputField()
    note: str = InputField(min_length=0)
    label: str = OutputField(choices_from="categories")


def codes(cls: type[BaseSignature], inputs: Any) -> list[tuple[str, str]]:
    return [(problem.field, problem.code) for problem in InputBinder(cls.spec).problems(inputs)]


def test_names_defaults_and_order() -> None:
    bound = InputBinder(Draft.spec).bind({"points": ["a"], "subject": "s"})
    assert list(bound) == ["topic", "points", "count", "extras", "tone", "password"]
    assert bound == {"topic": "s", "points": ["a"], "count": 3, "extras": ["x"], "tone": None, "password": None}


def test_what_is_bound_is_nobody_elses() -> None:
    binder, points = InputBinder(Draft.spec), ["a"]
    first = binder.bind({"topic": "t", "points": points})
    first["extras"].append("y")
    first["points"].append("b")
    assert points == ["a"]
    assert binder.bind({"topic": "t", "points": points})["extras"] == ["x"]


def test_every_problem_at_once() -> None:
    given_inputs = {"subject": "s", "title": "t", "points": 3, "count": 11, "tome": 1, "password": "hunter2"}
    with pytest.raises(InputError) as caught:
        InputBinder(Draft.spec).bind(given_inputs)
    assert [(problem.field, problem.code) for problem in caught.value.problems] == [
        ("subject", "duplicate"),
        ("points", "wrong_type"),
        ("count", "out_of_range"),
        ("password", "out_of_range"),
        ("tome", "unknown"),
    ]
    message = str(caught.value)
    assert "'Draft'" in message
    assert caught.value.signature == "Draft"
    assert "points: expected a list, each item text, got int" in message
    assert "did you mean 'tone'?" in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({}, [("topic", "missing"), ("points", "missing")]),
        ({"topic": None, "points": "a"}, [("topic", "missing")]),
        ({"topic": " ", "points": []}, [("topic", "empty"), ("points", "empty")]),
        ({"topic": 3, "points": [1]}, [("topic", "wrong_type"), ("points", "wrong_type")]),
        ({"topic": "t", "points": "a", "tone": ""}, []),
        ({"topic": "t", "points": "a", 3: 1}, [("inputs", "unknown")]),
        ([("topic", "t")], [("inputs", "wrong_type")]),
        (None, [("inputs", "wrong_type")]),
    ],
)
def test_codes(inputs: Any, expected: list[tuple[str, str]]) -> None:
    assert codes(Draft, inputs) == expected


def test_choices_must_be_choices() -> None:
    ok = {"text": "t", "note": ""}
    assert codes(Classify, {**ok, "categories": "a, b"}) == []
    assert codes(Classify, {**ok, "categories": []}) == [("categories", "empty")]
    assert codes(Classify, {**ok, "categories": ["a", " "]}) == [("categories", "empty")]
    assert codes(Classify, {**ok, "categories": ""}) == [("categories", "empty")]


def test_none_for_an_optional_input_is_its_default() -> None:
    assert InputBinder(Draft.spec).bind({"topic": "t", "points": "a", "count": None})["count"] == 3


def test_texts_of_other_classes_become_plain_text() -> None:
    class Tone(enum.StrEnum):
        KIND = "kind"

    bound = InputBinder(Draft.spec).bind({"topic": "t", "points": ["a"], "tone": Tone.KIND})
    assert type(bound["tone"]) is str


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("a, b;c", ["a", "b", "c"]),
        ("a\nb, c", ["a", "b, c"]),
        ("- a\n* b\n\n\u2022 c\n1. d\n2) e", ["a", "b", "c", "d", "e"]),
        ("- one", ["one"]),
        ("3.5 percent, rest", ["3.5 percent", "rest"]),
        ("We met. Ann, Bob came.", ["We met. Ann, Bob came."]),
        ("x" * 61 + ", b", ["x" * 61 + ", b"]),
        ("Sales - EMEA, Sales - US", ["Sales - EMEA", "Sales - US"]),
        ("Phase 1. Start\nPhase 2. End", ["Phase 1. Start", "Phase 2. End"]),
        ("- Tier 1) gold\n- Tier 2) silver", ["Tier 1) gold", "Tier 2) silver"]),
        ("1. Rome - capital\n2. Paris - capital", ["Rome - capital", "Paris - capital"]),
        ("", []),
        (" , ", []),
    ],
)
def test_splitting(text: str, items: list[str]) -> None:
    assert split_list(text) == items


ITEM = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=20)


@given(st.lists(ITEM, min_size=1, max_size=8), st.sampled_from([", ", ";", "\n", "\n- "]))
def test_joined_items_come_back(items: list[str], separator: str) -> None:
    assert split_list(separator.join(items)) == items


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=8,
)
NAMES = st.sampled_from(["topic", "subject", "points", "count", "extras", "tone", "password", "other"])
BINDER = InputBinder(Draft.spec)


@given(st.dictionaries(NAMES, JSON_LIKE))
def test_binding_answers_or_explains_whatever_is_given(inputs: dict[str, Any]) -> None:
    problems = BINDER.problems(inputs)
    if problems:
        with pytest.raises(InputError) as caught:
            BINDER.bind(inputs)
        assert caught.value.problems == tuple(problems)
        return
    bound = BINDER.bind(inputs)
    assert list(bound) == list(Draft.spec.inputs)
    assert type(bound["topic"]) is str
    assert type(bound["count"]) is int
    assert all(type(item) is str for item in bound["points"])
    # What was bound binds to itself, so a chain or a journal may bind it again.
    assert BINDER.bind(bound) == bound


@given(
    st.dictionaries(
        st.sampled_from(["topic", "points", "count", "tone"]), st.text() | st.lists(st.text()) | st.integers()
    )
)
def test_values_of_the_very_type_are_bound_like_those_that_are_checked(inputs: dict[str, Any]) -> None:
    class Text(str):
        __slots__ = ()

    class Number(int):
        pass

    def checked(value: Any) -> Any:
        return Number(value) if isinstance(value, int) else Text(value) if isinstance(value, str) else value

    slow = {name: checked(value) for name, value in inputs.items()}
    problems = [[(item.field, item.code) for item in BINDER.problems(given)] for given in (inputs, slow)]
    assert problems[0] == problems[1]
    if not BINDER.problems(inputs):
        assert BINDER.bind(inputs) == BINDER.bind(slow)


def test_a_signature_without_inputs_binds_nothing() -> None:
    spec = SignatureSpec("Joke", "Tell one.", (FieldSpec("joke", "output"),)).check()
    assert InputBinder(spec).bind({}) == {}
    with pytest.raises(InputError):
        InputBinder(spec).bind({"topic": "x"})
