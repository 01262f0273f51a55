"""The text of one value: what is written is read as the same value, or it is an error."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from typing import Annotated, Any, Literal

import attrs
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hokusai_core.signatures import FieldSpec, SignatureSpec, read_value, write_value
from hokusai_core.signatures.lenient_input import CoercionError
from hokusai_core.signatures.value_text import is_same


class Color(enum.Enum):
    RED = "red"
    BLUE = "BLUE"


class Grade(enum.Enum):
    POOR = 1
    GOOD = 2


class Swapped(enum.Enum):
    A = "B"
    B = "A"


class Nothing(enum.Enum):
    NONE = "none"
    SOME = "some"


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]
    barks: bool


class Event(pydantic.BaseModel):
    title: str
    start: datetime.datetime
    price: decimal.Decimal
    color: Color = Color.RED
    colors: dict[str, list[Color]] = {}
    pet: Cat | Dog | None = pydantic.Field(default=None, discriminator="kind")
    share: float = 0.5


class Exact(pydantic.BaseModel, strict=True):
    n: int
    share: float = 0.5
    counts: list[int] = []
    by_name: dict[str, int] = {}
    born: datetime.date | None = None
    color: Color = Color.RED
    yes: bool = pydantic.Field(default=True, strict=True)
    free: int = pydantic.Field(default=3, strict=False)


@attrs.frozen
class Point:
    x: int
    label: str | None = None
    color: Color = Color.RED


def read(annotation: Any, text: str) -> Any:
    return read_value(FieldSpec("a", "output", annotation), text)


UTC = datetime.UTC


@pytest.mark.parametrize(
    ("annotation", "text", "expected"),
    [
        (str, "  a\n b ", "  a\n b "),
        (str, "```\nx\n```", "```\nx\n```"),
        (str, "None", "None"),
        (int, "```json\n3\n```", 3),
        (int, '"3"', 3),
        (bool, "True", True),
        (float, "1e3", 1000.0),
        (Color, "RED", Color.RED),
        (Color, "`red`", Color.RED),
        (Color | None, "RED", Color.RED),
        (Color | None, "None", None),
        (Color | None, "null", None),
        (Grade, "2", Grade.GOOD),
        (Grade, "GOOD", Grade.GOOD),
        (Grade | None, "2", Grade.GOOD),
        (Swapped, "A", Swapped.B),
        (Nothing | None, "none", Nothing.NONE),
        (Nothing | None, "null", None),
        (list[Color], '["RED", "red"]', [Color.RED, Color.RED]),
        (dict[str, Color | None], '{"a": "RED", "b": null}', {"a": Color.RED, "b": None}),
        (Literal["yes", "no", None], "'yes'", "yes"),
        (Literal[True, "x"], "True", True),
        (str | None, "null", None),
        (str | None, '"None"', "None"),
        (str | None, '"x"', '"x"'),
        (int | str, "3", 3),
        (int | str, '"3"', "3"),
        (float | int, "3", 3),
        (Any, "3", 3),
        (Any, "plain", "plain"),
        (list[str], "- Paris - capital\n- Chapter 2. Basics", ["Paris - capital", "Chapter 2. Basics"]),
        (list[str], "['a', \"b\"]", ["a", "b"]),
        (tuple[str, int], '["a", 1]', ("a", 1)),
        (set[int], "[3, 3]", {3}),
        (datetime.datetime, "2024-01-02 03:04:05Z", datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (datetime.date | datetime.datetime, "2024-01-02", datetime.date(2024, 1, 2)),
        (datetime.timedelta, "PT1H30M", datetime.timedelta(minutes=90)),
        (datetime.timedelta, "1 day, 2:03:04.5", datetime.timedelta(days=1, hours=2, minutes=3, seconds=4.5)),
        (datetime.timedelta, "P1Y35D", datetime.timedelta(days=400)),  # as pydantic writes it in prompts
        (Nothing | None, "NONE", Nothing.NONE),
        (decimal.Decimal, "1.10", decimal.Decimal("1.10")),
        (list[decimal.Decimal], "[0.12345678901234567890123]", [decimal.Decimal("0.12345678901234567890123")]),
        (Point, '{"x": "1", "color": "RED"}', Point(1)),
        (
            Exact,
            '{"n": 1, "share": 1, "born": "2024-01-02", "color": "BLUE", "free": "4"}',
            Exact(n=1, share=1.0, born=datetime.date(2024, 1, 2), color=Color.BLUE, free=4),
        ),
        (list[Point] | None, '[{"x": 1}]', [Point(1)]),
    ],
)
def test_read(annotation: Any, text: str, expected: Any) -> None:
    assert is_same(read(annotation, text), expected)


def test_a_model_is_read_like_a_signature() -> None:
    text = (
        '{"title": "t", "start": "2024-01-02T03:04:05Z", "price": 1.10000000000000000000001, "color": "RED", '
        '"colors": {"x": ["RED"]}, "pet": {"kind": "dog", "barks": "no"}}'
    )
    event = read(Event, text)
    assert event.price == decimal.Decimal("1.10000000000000000000001")
    assert event.colors == {"x": [Color.RED]}
    assert event.pet == Dog(kind="dog", barks=False)
    assert read(Event, write_value(FieldSpec("a", "output", Event), event)) == event


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int, "three"), (int, "1_000"), (int, "1,000"), (int, "3.5"), (float, "NaN"), (float, "-inf"), (bool, "maybe"),
        (Color, "green"), (Grade, "3"), (list[float], "[NaN]"), (dict[str, Any], '{"v": Infinity}'), (Any, "[1e999]"),
        (Event, '{"title": "t", "start": 5, "price": 1}'), (Event, "{}"), (Event, "Here it is: {}"),
        (Event, '{"title": "t", "start": "2024-01-02T03:04:05", "price": 1, "share": NaN}'),
        (dict[str, int], '{"a": 1, "a": 2}'), (dict[str, int], "{'a': 1, 'a': 2}"), (list[str], "['a' 'b']"),
        (list[str], "a, b"), (list[str], "- a\nb"), (tuple[str, int], '["a"]'), (datetime.datetime, "5"),
        (datetime.timedelta, "-1 day, 23:00:00"), (datetime.timedelta, "P1M"), (Exact, '{"n": "1"}'),
        (Exact, '{"n": 1.0}'), (Exact, '{"n": 1, "share": "0.5"}'), (Exact, '{"n": 1, "counts": ["1"]}'),
        (Exact, '{"n": 1, "counts": "1"}'), (Exact, '{"n": 1, "yes": "true"}'),
        (Exact, '{"n": 1, "by_name": {"a": "1"}}'),
        (datetime.datetime, "2024-01-02"), (datetime.date, "2024-01-02T00:00:00"), (datetime.date, "2024-02-30"),
        (decimal.Decimal, "NaN"), (decimal.Decimal, "1_0"), (uuid.UUID, "x"), (pydantic.HttpUrl, "no url"),
        (set[int | bool], "[1, true]"), (Annotated[int, pydantic.Field(gt=0)], "0"),
    ],
)  # fmt: skip
def test_unreadable(annotation: Any, text: str) -> None:
    with pytest.raises(CoercionError) as caught:
        read(annotation, text)
    assert str(caught.value)


def test_what_cannot_be_told_apart_is_not_written() -> None:
    class Small(pydantic.BaseModel):
        x: int

    class Large(pydantic.BaseModel):
        x: int
        y: int = 0

    field = FieldSpec("a", "output", Large | Small)
    with pytest.raises(CoercionError, match="would not be read as the same value"):
        write_value(field, Small(x=1))
    with pytest.raises(ValueError, match="another member of the union"):
        SignatureSpec("S", "", (field,)).codec.encode({"a": Small(x=1)})
    assert read(Small | Large, '{"x": 1, "y": 2}') == Large(x=1, y=2)


class Own(pydantic.BaseModel):
    """A model with rules of its own."""

    model_config = pydantic.ConfigDict(strict=True, extra="allow", str_strip_whitespace=True)
    tags: list[str]
    share: Annotated[int, pydantic.BeforeValidator(lambda value: int(str(value).strip("%")))] = 0
    when: datetime.date | None = None
    price: decimal.Decimal = decimal.Decimal(1)
    color: Color = pydantic.Field(default=Color.RED, alias="colour")
    upper: list[Annotated[str, pydantic.AfterValidator(str.upper)]] = []

    @pydantic.field_validator("tags", mode="before")
    @classmethod
    def split(cls, value: Any) -> Any:
        return value.split("|") if isinstance(value, str) else value


class Whole(pydantic.BaseModel):
    x: int

    @pydantic.model_validator(mode="before")
    @classmethod
    def parse(cls, value: Any) -> Any:
        return {"x": int(value[1:])} if isinstance(value, str) else value


def test_a_model_keeps_its_own_rules() -> None:
    text = (
        '{"tags": "a| b", "share": "5%", "when": "2024-01-31", "price": 1.5, "colour": "RED", "upper": ["x"], '
        '"more": 1.5}'
    )
    own = read(Own, text)
    assert (own.tags, own.share, own.when) == (["a", "b"], 5, datetime.date(2024, 1, 31))
    assert (own.price, own.color, own.upper) == (decimal.Decimal("1.5"), Color.RED, ["X"])
    assert is_same(own.more, 1.5)
    field = FieldSpec("a", "output", Own)
    assert read_value(field, write_value(field, own)) == own
    assert read(Whole, "x5") == Whole(x=5)
    for wrong in ('"tags": [1]', '"tags": [], "more": NaN', '"tags": [], "more": [1e999]', '"tags": [], "color": "x"'):
        with pytest.raises(CoercionError):
            read(Own, "{" + wrong + "}")


def test_a_model_that_writes_itself_otherwise_is_not_shown_in_prompts() -> None:
    class Lossy(pydantic.BaseModel):
        day: datetime.date

        @pydantic.field_serializer("day")
        def german(self, value: datetime.date) -> str:
            return f"{value:%d.%m.%Y}"

    with pytest.raises(CoercionError, match="would not be read as the same value"):
        write_value(FieldSpec("a", "output", Lossy), Lossy(day=datetime.date(2024, 1, 31)))


def test_choices_are_found_within_quotes() -> None:
    field = FieldSpec("a", "output", str)
    assert read_value(field, ' "Praise" ', ["Praise", '"Quoted"']) == "Praise"
    assert read_value(field, '"Quoted"', ["Praise", '"Quoted"']) == '"Quoted"'
    assert read_value(field, "Other", ["Praise"]) == "Other"


TEXT = st.text(max_size=12) | st.sampled_from(
    [
        "None",
        "null",
        '"None"',
        '"\\"null\\""',
        "true",
        "3",
        "3.0",
        "[1]",
        "{}",
        "red",
        "RED",
        "2024-01-02",
        "```\n1\n```",
        '""',
        "",
    ]
)
WHOLE = st.integers() | st.integers(-(10**30), 10**30)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
DECIMAL = st.decimals(allow_nan=False, allow_infinity=False, places=None)
ZONES = st.none() | st.builds(
    datetime.timezone, st.timedeltas(datetime.timedelta(hours=-14), datetime.timedelta(hours=14))
)
DATETIME = st.datetimes(timezones=ZONES)
COLOR = st.sampled_from(Color)
POINT = st.builds(Point, st.integers(), st.none() | TEXT, COLOR)
EVENT = st.builds(
    Event,
    title=TEXT,
    start=DATETIME,
    price=DECIMAL,
    color=COLOR,
    colors=st.dictionaries(TEXT, st.lists(COLOR, max_size=2), max_size=2),
    pet=st.none() | st.builds(Cat, kind=st.just("cat")) | st.builds(Dog, kind=st.just("dog")),
    share=NUMBER,
)
JSON = st.recursive(
    st.none() | st.booleans() | WHOLE | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
VALUES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (str, TEXT),
    (int, WHOLE),
    (float, NUMBER),
    (bool, st.booleans()),
    (Any, JSON),
    (Color, COLOR),
    (Grade | None, st.none() | st.sampled_from(Grade)),
    (Swapped, st.sampled_from(Swapped)),
    (Nothing | None, st.none() | st.sampled_from(Nothing)),
    (Literal["a", "None", "1", 2, True], st.sampled_from(["a", "None", "1", 2, True])),
    (datetime.date, st.dates()),
    (datetime.datetime, DATETIME),
    (datetime.time, st.times()),
    (datetime.timedelta, st.timedeltas()),
    (datetime.date | datetime.datetime | None, st.none() | st.dates() | st.datetimes()),
    (decimal.Decimal, DECIMAL),
    (uuid.UUID, st.uuids()),
    (str | None, st.none() | TEXT),
    (int | str, st.integers() | TEXT),
    (float | int | None, st.none() | st.integers() | NUMBER),
    (bool | str | list[int], st.booleans() | TEXT | st.lists(st.integers(), max_size=3)),
    (datetime.date | str, st.dates() | TEXT),
    (Color | str, COLOR | TEXT),
    (list[str], st.lists(TEXT, max_size=4)),
    (list[str] | None, st.none() | st.lists(TEXT, max_size=4)),
    (tuple[int, ...], st.lists(st.integers(), max_size=4).map(tuple)),
    (tuple[str, decimal.Decimal], st.tuples(TEXT, DECIMAL)),
    (set[str], st.sets(TEXT, max_size=4)),
    (frozenset[datetime.date], st.frozensets(st.dates(), max_size=3)),
    (dict[str, str | None], st.dictionaries(TEXT, st.none() | TEXT, max_size=3)),
    (dict[int, Color], st.dictionaries(st.integers(), COLOR, max_size=3)),
    (Point, POINT),
    (list[Point | int], st.lists(POINT | st.integers(), max_size=3)),
    (Event, EVENT),
    (Event | None, st.none() | EVENT),
    (Cat | Dog, st.builds(Cat, kind=st.just("cat"), lives=st.integers()) | st.builds(Dog, kind=st.just("dog"))),
]
FIELDS = [(FieldSpec("a", "output", annotation), values) for annotation, values in VALUES]


@given(st.sampled_from(FIELDS).flatmap(lambda pair: st.tuples(st.just(pair[0]), pair[1])))
@settings(max_examples=max(150, settings.default.max_examples if settings.default else 0))
def test_what_is_written_is_read_as_the_same_value(case: tuple[FieldSpec, Any]) -> None:
    field, value = case
    try:
        value = field.coerce(value)
        text = write_value(field, value)
    except CoercionError:
        return
    assert is_same(read_value(field, text), value)


@given(
    st.sampled_from([field for field, _ in FIELDS]), TEXT | JSON.map(str) | st.text("[]{}\"'`:,\\ 1ae-\n", max_size=20)
)
@settings(max_examples=max(150, settings.default.max_examples if settings.default else 0))
def test_what_is_read_is_written_and_read_again(field: FieldSpec, text: str) -> None:
    try:
        value = read_value(field, text)
    except CoercionError:
        return
    assert is_same(read_value(field, write_value(field, value)), value)


@given(st.sampled_from(FIELDS).flatmap(lambda pair: st.tuples(st.just(pair[0]), pair[1])))
def test_what_is_stored_is_read_as_the_same_value(case: tuple[FieldSpec, Any]) -> None:
    field, value = case
    codec = SignatureSpec("S", "", (field,)).codec
    try:
        typed = {"a": field.coerce(value)}
        data = codec.encode(typed)
    except ValueError:
        return
    assert is_same(codec.decode(data), typed)
