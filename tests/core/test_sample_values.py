"""Sample values fit every rule, or an error asks for an example."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from typing import Annotated, Any, Literal

import annotated_types
import pydantic
import pytest

from hokusai_core import BaseSignature, Executor
from hokusai_core.errors import SignatureDefinitionError
from hokusai_core.signatures import FieldSpec, SignatureSpec, sample_value


class Size(enum.IntEnum):
    SMALL = 1


class Mail(pydantic.BaseModel):
    address: str = pydantic.Field(pattern=r".+@.+")
    sent: datetime.datetime
    size: Size
    pages: Annotated[int, annotated_types.Interval(gt=3, lt=5)]


class Even(pydantic.BaseModel):
    n: int

    @pydantic.field_validator("n")
    @classmethod
    def even(cls, value: int) -> int:
        if value % 2 or value < 10:
            raise ValueError("must be even, 10 or more")
        return value


class Span(pydantic.BaseModel):
    start: int
    end: int

    @pydantic.model_validator(mode="after")
    def order(self) -> Span:
        if self.end <= self.start:
            raise ValueError("end before start")
        return self


DAY = datetime.date(2025, 6, 1)


@pytest.mark.parametrize(
    ("annotation", "options"),
    [
        (Mail, {}),
        (list[Mail], {"min_length": 2}),
        (Mail | None, {}),
        (datetime.date, {"gt": DAY, "lt": DAY + datetime.timedelta(days=2)}),
        (datetime.date, {"le": datetime.date(1999, 1, 1)}),
        (datetime.datetime, {"ge": datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)}),
        (datetime.time, {"ge": datetime.time(23)}),
        (datetime.timedelta, {"lt": datetime.timedelta(minutes=1)}),
        (decimal.Decimal, {"ge": 0, "le": 1, "decimal_places": 0}),
        (decimal.Decimal, {"multiple_of": 0.5}),
        (uuid.UUID, {}),
        (pydantic.HttpUrl, {}),
        (pydantic.FileUrl, {}),
        (set[str], {"min_length": 3}),
        (frozenset[int], {"min_length": 2}),
        (tuple[str, int, Literal["a"]], {}),
        (tuple[float, ...], {"min_length": 2}),
        (str, {"pattern": r"^\d{4}-\d\d-\d\d$"}),
        (str, {"pattern": "^[A-Z]{3}$", "max_length": 3}),
        (str, {"min_length": 40, "max_length": 40}),
    ],
)
def test_samples_fit(annotation: Any, options: dict[str, Any]) -> None:
    field = FieldSpec("a", "output", annotation, **options)
    spec = SignatureSpec("S", "Do.", (field,)).check()
    value = sample_value(field)
    assert spec.codec.check({}, {"a": value}) == []
    assert value == sample_value(field)


@pytest.mark.parametrize("annotation", [Even, Span, list[Even], dict[str, Span], Span | None])
def test_an_example_is_asked_for_and_used(annotation: Any) -> None:
    field = FieldSpec("a", "output", annotation)
    with pytest.raises(SignatureDefinitionError, match="give the signature an example"):
        sample_value(field)
    spec = SignatureSpec("S", "Do.", (FieldSpec("q", "input"), field))
    with Executor(mode="testing", plugins=[]) as executor:
        executor.register_signature("S", BaseSignature.from_spec(spec))
        with pytest.raises(SignatureDefinitionError, match="give the signature an example"):
            executor.execute_signature("S", {"q": "x"})
        plain: Any = {"n": 12} if "Even" in str(annotation) else {"start": 1, "end": 2}
        plain = [plain] if "list" in str(annotation) else {"k": plain} if "dict" in str(annotation) else plain
        example = {"inputs": {"q": "another"}, "outputs": {"a": plain}}
        executor.register_signature("S", BaseSignature.from_spec(spec.evolve(examples=(example,))), replace=True)
        assert executor.execute_signature("S", {"q": "x"})["a"] == field.coerce(plain)
