"""The closed table of types: what is in it, what is not, and how its values are made."""

import dataclasses
import datetime
import enum
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal, NewType, Optional, TypedDict, Union

import attrs
import pydantic
import pytest

from hokusai_core.signatures.field_types import UnsupportedTypeError, parse_annotation
from hokusai_core.signatures.lenient_input import CoercionError, coercer
from hokusai_core.signatures.model_fields import model_problems


class Color(enum.Enum):
    RED = "red"
    GREEN = "green"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Person(pydantic.BaseModel):
    name: str
    age: int = pydantic.Field(default=0, ge=0, alias="years")
    friends: list["Person"] = []


@attrs.define
class Point:
    x: int
    label: str | None = None
    near: list["Point"] = attrs.field(factory=list)


@dataclasses.dataclass
class Data:
    x: int


class Typed(TypedDict):
    x: int


class Wrapped(pydantic.RootModel[int]):
    pass


class Photo(pydantic.BaseModel):
    pixels: bytes


UserId = NewType("UserId", int)


def coerce(annotation: Any, value: Any) -> Any:
    return coercer(parse_annotation(annotation))(value)


@pytest.mark.parametrize(
    "annotation",
    [
        bytes, tuple, set, set[Any], set[list[int]], frozenset[Person], datetime.tzinfo, Callable[[], str], object,
        Data, Sequence[str], Typed, pydantic.ImportString, pydantic.SecretStr, pydantic.FilePath, pydantic.PostgresDsn,
        list[int] | set[int], Decimal | float, Literal[1, "1"], enum.Enum("Twice", {"A": 1, "B": "1"}), complex,
        Annotated[str, pydantic.StringConstraints(strip_whitespace=True)], Annotated[int, pydantic.AfterValidator(abs)],
        Wrapped, dict[float, str], list[bytes], bytes | None, Literal[b"x"], Literal[Color.RED],
        enum.Flag("F", "A B"), enum.Enum("T", {"A": (1, 2)}), "str", 3, [1], type, Color.RED,
    ],
)  # fmt: skip
def test_refused(annotation: Any) -> None:
    with pytest.raises(UnsupportedTypeError):
        parse_annotation(annotation)


def test_models_are_looked_into() -> None:
    assert model_problems(parse_annotation(list[Photo])) == [
        "Photo.pixels: bytes is not among the types that a field may have (decode it to str first)"
    ]
    assert model_problems(parse_annotation(Person | Point)) == []


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (str, "x", "x"),
        (str, Color.RED.value, "red"),
        (int, "3", 3),
        (int, 3.0, 3),
        (int, Level.HIGH, 2),
        (UserId, " 4 ", 4),
        (float, 3, 3.0),
        (float, "0.5", 0.5),
        (bool, "Yes", True),
        (bool, False, False),
        (Literal["a", 1], "1", 1),
        (Literal["a", True], "true", True),
        (Literal["a", None], None, None),
        (Color, "red", Color.RED),
        (Color, "GREEN", Color.GREEN),
        (Color, Color.RED, Color.RED),
        (Level, 2, Level.HIGH),
        (list[int], ("1", 2), [1, 2]),
        (list[int], "1, 2", [1, 2]),
        (list[str], '["a, b", "c"]', ["a, b", "c"]),
        (list, [1, "x"], [1, "x"]),
        (dict[str, float], {"a": 1}, {"a": 1.0}),
        (dict[int, str], {"1": "x"}, {1: "x"}),
        (dict[Color, int], {"red": "1"}, {Color.RED: 1}),
        (dict[str, int], '{"a": 1}', {"a": 1}),
        (Optional[int], None, None),  # noqa: UP045 - the older way to write it
        (Union[str, int], 3, 3),  # noqa: UP007 - likewise
        (str | int, 3, 3),
        (str | int, "3", "3"),
        (int | str, "x", "x"),
        (Color | str, "red", Color.RED),
        (Color | str, "blue", "blue"),
        (str | list[str], ["a"], ["a"]),
        (Any, {"a": (1, Color.RED)}, {"a": [1, "red"]}),
        (Annotated[int, pydantic.Field(ge=1)], "1", 1),
        (Person, {"name": "Ann", "years": "3"}, Person(name="Ann", years=3)),
        (Person, {"name": "Ann", "age": 3}, Person(name="Ann", years=3)),
        (Person, '{"name": "Ann"}', Person(name="Ann")),
        (Point, {"x": "1", "near": [{"x": 2}]}, Point(1, None, [Point(2)])),
        (list[Point], [Point(1), {"x": 2, "label": "b"}], [Point(1), Point(2, "b")]),
        (Point | str, {"x": 1}, Point(1)),
        (Person | None, None, None),
    ],
)
def test_coerced(annotation: Any, value: Any, expected: Any) -> None:
    result = coerce(annotation, value)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (str, 1), (str, b"x"), (str, None), (str, ["x"]), (int, True), (int, 1.5), (int, "x"), (int, "9" * 5000),
        (float, True),
        (float, "nan"), (float, float("inf")), (float, 10**400), (float, b"1"),
        (bool, 1), (bool, "maybe"),
        (Literal["a", 1], True), (Literal["a"], "b"), (Literal["a"], ["a"]),
        (Color, "blue"), (Level, True), (Color, []),
        (list[int], "a, b"), (list[int], {1}), (list[str], 3), (list[Person], "a, b"), (dict[str, int], [("a", 1)]),
        (dict[str, int], {"a": "x"}), (dict[str, int], {1: 1}), (int | None, "x"), (Any, object()),
        (Annotated[int, pydantic.Field(ge=1)], 0), (Person, {"age": 3}), (Person, "Ann"),
        (Person, {"name": "A", "years": -1}),
        (Point, {"x": "y"}), (Point, 3),
    ],
)  # fmt: skip
def test_misfits(annotation: Any, value: Any) -> None:
    with pytest.raises(CoercionError) as caught:
        coerce(annotation, value)
    assert str(caught.value)


class Guarded(pydantic.BaseModel):
    token: str
    by_name: dict[str, int] = {}

    @pydantic.field_validator("token")
    @classmethod
    def refuse(cls, value: str) -> str:
        raise ValueError(f"bad token {value}")


@attrs.define
class Checked:
    token: str = attrs.field()

    @token.validator
    def refuse(self, _attribute: object, value: str) -> None:
        raise ValueError(f"bad token {value}")


SECRET = "hunter2"  # noqa: S105 - not a real one


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Guarded, {"token": SECRET}),
        (Guarded, {"token": 3, "by_name": {SECRET: "x"}}),
        (Guarded, {SECRET: 1}),
        (Checked, {"token": SECRET}),
        (Person, {"name": "A", "years": SECRET}),
        (list[Color], [SECRET]),
        (dict[str, int], {SECRET: SECRET}),
        (int | bool, SECRET),
        (Literal["a"], SECRET),
        (Any, {SECRET: object()}),
    ],
)
def test_messages_never_hold_a_value(annotation: Any, value: Any) -> None:
    with pytest.raises(CoercionError) as caught:
        coerce(annotation, value)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
