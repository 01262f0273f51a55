"""The language model of the tests itself."""

from __future__ import annotations

import asyncio
import datetime
import enum
import uuid
from typing import Annotated, Any, Literal

import attrs
import dspy
import pydantic
import pytest

from hokusai_core import BaseSignature, Executor, InputField, OutputField
from hokusai_core.signatures.schema_samples import schema_sample
from hokusai_core.testing.lm import null_lm


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Place(pydantic.BaseModel):
    town: str
    postcode: Annotated[str, pydantic.Field(pattern=r"^\d{5}$")]
    country: Literal["FR", "DE"] = "FR"


class Person(pydantic.BaseModel):
    name: str
    age: Annotated[int, pydantic.Field(ge=18, lt=130)]
    born: datetime.date
    home: Place | None
    friends: list[Person] = []
    favourite: Colour
    scores: dict[Literal["maths", "art"], float]


@attrs.define
class Parcel:
    weight: float
    labels: list[str]


class Everything(BaseSignature):
    """Answer with every kind of type."""

    question: str = InputField()
    options: list[str] = InputField()
    person: Person = OutputField()
    people: list[Person] = OutputField(min_length=2)
    colour: Colour = OutputField()
    colours: list[Colour] = OutputField()
    parcel: Parcel = OutputField()
    size: Literal["small", "it's large"] = OutputField()
    grade: int = OutputField(ge=5, le=9)
    share: float = OutputField(gt=0.9)
    code: str = OutputField(pattern=r"^[A-Z]{2}-\d{3}$")
    moment: datetime.datetime = OutputField()
    key: uuid.UUID = OutputField()
    pair: tuple[int, str] = OutputField()
    words: set[str] = OutputField(min_length=3)
    table: dict[str, list[int]] = OutputField()
    maybe: int | None = OutputField()
    chosen: str = OutputField(choices_from="options")
    several: list[str] = OutputField(choices_from="options")


@pytest.mark.parametrize("adapter", ["chat", "json"])
@pytest.mark.parametrize("strategy", [None, "chain_of_thought"])
def test_it_answers_any_signature(adapter: str, strategy: str | None) -> None:
    lm = null_lm()
    with Executor(lm=lm, adapter=adapter, cache_enabled=False) as executor:
        outputs = executor.execute_signature(
            Everything, {"question": "?", "options": ["north", "south"]}, strategy=strategy
        ).outputs
    assert outputs["person"].home.country == "FR"
    assert outputs["person"].favourite is Colour.RED
    assert len(outputs["people"]) == 2
    assert outputs["person"].friends[0].friends[0].name == "some name"
    assert (outputs["colour"], outputs["colours"], outputs["size"]) == (Colour.RED, [Colour.RED], "small")
    assert outputs["chosen"] == "north"
    assert outputs["several"] == ["north"]
    assert 5 <= outputs["grade"] <= 9
    assert len(outputs["words"]) == 3
    assert lm.engine.calls == 1


def test_answers_may_be_objects() -> None:
    given = Parcel(2.0, ["fragile"])
    with Executor(lm=null_lm(answers={"parcel": given, "colour": Colour.BLUE}), plugins=[]) as executor:
        outputs = executor.execute_signature(
            Everything, {"question": "?", "options": ["north", "south"]}, cache="off"
        ).outputs
    assert outputs["parcel"] == given
    assert outputs["colour"] is Colour.BLUE


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string", "minLength": 12}, "Sample value"),
        ({"type": "string", "format": "uuid"}, "00000000-0000-4000-8000-000000000001"),
        ({"type": ["null", "integer"], "minimum": 3, "exclusiveMaximum": 5}, 4),
        ({"anyOf": [{"type": "null"}, {"type": "boolean"}]}, True),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 3, "uniqueItems": True}, [1, 2, 3]),
        ({"type": "object", "additionalProperties": {"type": "number"}, "minProperties": 1}, {"key 1": 0.5}),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"const": 7}}}, 7),
        ({"type": "array", "maxItems": 0}, []),
        ({}, "some x"),
    ],
)
def test_samples_of_schemas(schema: dict[str, Any], expected: Any) -> None:
    assert schema_sample(schema, "x") == expected


@pytest.mark.parametrize(
    "adapter", [dspy.ChatAdapter(use_json_adapter_fallback=False), dspy.JSONAdapter()], ids=["chat", "json"]
)
def test_it_answers_typed(adapter: Any) -> None:
    signature = dspy.Signature(
        {
            "q": (str, dspy.InputField()),
            "a": (str, dspy.OutputField(desc="`1. `x` (int): no field")),
            "b": (int, dspy.OutputField()),
            "c": (float, dspy.OutputField()),
            "d": (bool, dspy.OutputField()),
            "e": (list[int], dspy.OutputField()),
            "f": (Literal["it's", "b"], dspy.OutputField()),
            "g": (Literal[3, 4], dspy.OutputField()),
            "h": (dict[str, int], dspy.OutputField()),
            "i": (int | None, dspy.OutputField()),
        }
    )
    with dspy.context(lm=null_lm(), adapter=adapter):
        prediction = dspy.Predict(signature)(q="?")
    assert dict(prediction.items()) == {
        "a": "some a", "b": 1, "c": 0.5, "d": True, "e": [1], "f": "it's", "g": 3, "h": {}, "i": 1,
    }  # fmt: skip


def test_it_counts() -> None:
    lm = null_lm(delay=0.01, fail_first=1, answers={"a": lambda user: str(len(user) > 3)})

    async def three() -> list[Any]:
        predict = dspy.Predict("q -> a")
        return await asyncio.gather(*(predict.acall(q=str(n), lm=lm) for n in range(3)), return_exceptions=True)

    results = asyncio.run(three())
    assert [type(result).__name__ for result in results].count("LMServerError") == 1
    assert (lm.engine.calls, lm.engine.most_in_flight, lm.engine.in_flight) == (3, 3, 0)


def test_it_streams() -> None:
    from dspy.lm15 import Message, Request

    events = list(null_lm(raw="hello").engine.stream(Request(model="null/model", messages=(Message.user("hi"),))))
    assert (events[0].type, events[-1].type) == ("start", "end")
