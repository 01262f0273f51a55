"""Outputs: types, checks, and the JSON that caches and journals keep."""

from __future__ import annotations

import enum
import json
from typing import Any, Literal

import attrs
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hokusai_core.base_signature import BaseSignature
from hokusai_core.results import Problem
from hokusai_core.signatures import FieldSpec, InputField, OutputField, SignatureSpec, example_problems, sample_value


class Mood(enum.Enum):
    HAPPY = "happy"
    SAD = "sad"


class Person(pydantic.BaseModel):
    name: str
    age: int = 0

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def adult(self) -> bool:
        return self.age >= 18


@attrs.frozen
class Point:
    x: int
    y: float = 0.5


class Everything(BaseSignature):
    options: list[str] = InputField(sensitive=True)
    text: str = OutputField()
    maybe: str | None = OutputField()
    score: float = OutputField(ge=0, le=1)
    mood: Mood = OutputField()
    pick: Literal["a", "b"] = OutputField()
    people: list[Person] = OutputField()
    point: Point = OutputField()
    places: dict[str, Point] = OutputField()
    choice: str = OutputField(choices_from="options")
    any: Any = OutputField()


INPUTS = {"options": ["red", "green"]}
OUTPUTS: dict[str, Any] = {
    "text": "t",
    "maybe": None,
    "score": 1.0,
    "mood": Mood.SAD,
    "pick": "a",
    "people": [Person(name="Ann", age=3)],
    "point": Point(1),
    "places": {"here": Point(2, 3.0)},
    "choice": "red",
    "any": {"k": [1, None]},
}


def test_typed_values_survive_writing_and_reading() -> None:
    spec = Everything.spec
    data = spec.codec.encode(OUTPUTS)
    assert json.loads(data)["people"] == [{"name": "Ann", "age": 3}]
    again = spec.codec.decode(data)
    assert again == OUTPUTS
    assert {name: type(value) for name, value in again.items()} == {name: type(v) for name, v in OUTPUTS.items()}
    assert spec.codec.check(INPUTS, again) == []


def test_what_a_language_model_gives_is_typed() -> None:
    raw = {
        **OUTPUTS, "score": 1, "mood": "SAD", "people": [{"name": "Ann", "age": "3"}],
        "point": {"x": 1},
        "places": '{"here": {"x": 2, "y": 3}}', "extra": "dropped",
    }  # fmt: skip
    typed, problems = Everything.spec.codec.coerce(raw)
    assert problems == []
    assert typed == OUTPUTS
    assert type(typed["score"]) is float


def test_everything_that_is_wrong_is_said() -> None:
    wrong = {**OUTPUTS, "text": " ", "score": 7.5, "mood": "angry", "choice": "blue", "point": 3}
    del wrong["maybe"], wrong["pick"]
    assert Everything.spec.codec.check(INPUTS, wrong) == [
        Problem("mood", "not_a_choice", "must be one of 'happy', 'sad'"),
        Problem("pick", "missing", "is missing from the answer"),
        Problem("point", "wrong_type", "expected a Point or a mapping of its fields, got int"),
        Problem("text", "empty", "must not be empty"),
        Problem("score", "out_of_range", "must be at most 1; it is 7.5"),
        Problem("choice", "not_a_choice", "must be one of the given options"),
    ]


def test_choices_are_named_where_they_are_no_secret() -> None:
    spec = SignatureSpec(
        "S",
        "",
        (FieldSpec("options", "input", list[str]), FieldSpec("picks", "output", list[str], choices_from="options")),
    ).check()
    assert spec.codec.check(INPUTS, {"picks": ["red"]}) == []
    assert spec.codec.check(INPUTS, {"picks": []}) == []
    problem = spec.codec.check(INPUTS, {"picks": ["red", "blue"]})[0]
    assert problem.message == "must be one of the given options: 'red', 'green'"


def test_sensitive_values_stay_out_of_messages() -> None:
    spec = SignatureSpec("S", "", (FieldSpec("pin", "output", int, sensitive=True, le=10),)).check()
    assert spec.codec.check({}, {"pin": 4711})[0].message == "must be at most 10"
    assert "4711" not in str(spec.codec.check({}, {"pin": "x4711"}))


PLAIN = SignatureSpec(
    "Plain", "", (FieldSpec("a", "output", str), FieldSpec("b", "output", list[str]), FieldSpec("n", "output", int))
)


@given(st.text(st.characters()), st.lists(st.text(st.characters())), st.integers())
def test_plain_outputs_survive_surrogates_and_long_numbers(a: str, b: list[str], n: int) -> None:
    outputs = {"a": a, "b": b, "n": n}
    data = PLAIN.codec.encode(outputs)
    assert json.loads(data) == outputs
    assert PLAIN.codec.decode(data) == outputs


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10,
))  # fmt: skip
def test_anything_that_json_holds_comes_back(value: Any) -> None:
    spec = SignatureSpec("Any", "", (FieldSpec("v", "output", Any),))
    again = spec.codec.decode(spec.codec.encode({"v": value}))
    assert again == {"v": value}
    assert type(again["v"]) is type(value)


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {"k": float("-inf")}])
def test_numbers_that_are_not_finite_are_refused(value: Any) -> None:
    for spec in (
        SignatureSpec("N", "", (FieldSpec("v", "output", Any),)),
        SignatureSpec("P", "", (FieldSpec("w", "output", str | None),), provenance={"open_outputs": True}),
    ):
        assert [problem.field for problem in spec.codec.check({}, {"v": value})] == ["v"]
        with pytest.raises(ValueError, match="NaN and infinity"):
            spec.codec.encode({"v": value})


@pytest.mark.parametrize("data", [b"", b"[1]", b"{", b'{"text": 1}', b"\xff"])
def test_damaged_data_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - what else it says is up to the JSON library
        Everything.spec.codec.decode(data)


def test_a_program_with_open_outputs_keeps_what_it_gives() -> None:
    spec = SignatureSpec(
        "P", "", (FieldSpec("q", "input"), FieldSpec("a", "output", int)), provenance={"open_outputs": True}
    ).check()
    typed, problems = spec.codec.coerce({"a": "1", "reasoning": "r"})
    assert (typed, problems) == ({"a": 1, "reasoning": "r"}, [])
    assert spec.codec.decode(spec.codec.encode(typed)) == typed
    assert SignatureSpec("P", "", (), provenance={"open_outputs": True}).check().codec.coerce({"x": 1}) == (
        {"x": 1},
        [],
    )


def test_examples_are_checked_like_executions() -> None:
    spec = SignatureSpec(
        "S",
        "",
        (FieldSpec("n", "input", int, aliases=("m",)), FieldSpec("y", "output", float, le=1)),
        examples=({"inputs": {"m": "1"}, "outputs": {"y": 0.5}}, {"inputs": {"n": "1"}, "outputs": {"y": 2}}),
    ).check()
    assert [(p.field, p.code) for p in example_problems(spec)] == [("examples[1].outputs.y", "out_of_range")]


def test_samples_fit() -> None:
    for item in Everything.spec.outputs.values():
        if item.choices_from is None:
            assert sample_value(item) == sample_value(item)
    fields = [
        FieldSpec("a", "output", str, min_length=30),
        FieldSpec("b", "output", str, max_length=3),
        FieldSpec("c", "output", int, ge=5, le=5),
        FieldSpec("d", "output", float, le=-3),
        FieldSpec("e", "output", list[Person], min_length=2),
        FieldSpec("f", "output", dict[Mood, int]),
        FieldSpec("g", "output", int | None),
    ]
    spec = SignatureSpec("S", "", fields).check()
    assert spec.codec.check({}, {item.name: sample_value(item) for item in fields}) == []
