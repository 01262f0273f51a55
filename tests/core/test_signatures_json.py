"""Signatures as JSON: exact round trips, and nothing but structure taken from data."""

from __future__ import annotations

import enum
import json
import keyword
from typing import Annotated, Any, Literal

import attrs
import dspy
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hokusai_core.base_signature import BaseSignature
from hokusai_core.dspy_bridge.to_dspy import to_dspy
from hokusai_core.errors import SignatureDefinitionError
from hokusai_core.signatures import FieldSpec, InputField, OutputField, SignatureSpec


class Color(enum.Enum):
    RED = "red"
    CRIMSON = "red"
    GREEN = "green"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Word(enum.StrEnum):
    A = "a"


class Address(pydantic.BaseModel):
    """Where a person lives."""

    model_config = pydantic.ConfigDict(extra="forbid", title="Place")
    street: str = pydantic.Field(min_length=1, max_length=50, description="Street and number", examples=["Main St 1"])
    code: str | None = pydantic.Field(default=None, pattern="^[0-9]+$", alias="zip")


class Person(pydantic.BaseModel):
    name: str
    age: int = pydantic.Field(default=0, ge=0, lt=150, json_schema_extra={"unit": "years"})
    color: Color = Color.GREEN
    home: Address | None = None
    friends: list[Person] = pydantic.Field(default_factory=list)
    scores: dict[Color, Annotated[float, pydantic.Field(gt=0)]] = {}


@attrs.define
class Point:
    """A point."""

    x: int
    y: float = 0.5
    owner: Person | None = None
    near: list[Point] = attrs.field(factory=list, metadata={"description": "neighbors"})
    _hidden: str = "h"


class Everything(BaseSignature):
    """Do it."""

    version = "2.0.0"
    category = "test"
    tags = ("a",)
    aliases = ("All",)
    deprecated = "use Other"
    cache_ttl = 60.5
    examples = ({"inputs": {"text": "xx"}, "outputs": {"level": Level.LOW}},)
    text: str = InputField("the text", aliases=("document",), sensitive=True, min_length=2, pattern="x")
    options: list[str] = InputField(default=["a"])
    color: Color = InputField(default=Color.RED)
    nothing: dict = InputField(required=False)  # type: ignore[type-arg]
    person: Person = InputField(default=Person(name="Ann", home=Address(street="s", zip="1")))
    number: int | float = InputField(default=1.0)
    key: dict[Literal["a", "b"], list] = InputField(default={})  # type: ignore[type-arg]
    level: Level = OutputField(prefix="Level:")
    word: Word | None = OutputField()
    point: Point = OutputField()
    points: dict[str, list[Point]] | str = OutputField()
    choice: str = OutputField(choices_from="options")
    literal: Literal["a", 1, True, None] = OutputField()
    score: float = OutputField(ge=0, le=1)
    limited: list[Annotated[str, pydantic.StringConstraints(min_length=1, pattern="^a")]] = OutputField(max_length=3)
    any: Any = OutputField()
    flag: bool = OutputField()


def test_everything_comes_back() -> None:
    data = Everything.to_dict()
    again = BaseSignature.from_dict(json.loads(json.dumps(data)))
    assert again.to_dict() == data
    assert again.spec.fingerprint == Everything.spec.fingerprint
    assert again.spec.inputs["person"].default.home.code == "1"
    assert type(again.spec.inputs["number"].default) is float
    assert BaseSignature.from_dict(again.to_dict()).to_dict() == data


def test_rebuilt_models_have_the_same_schema_and_behave_alike() -> None:
    again = SignatureSpec.from_dict(Everything.to_dict())
    rebuilt = again.inputs["person"].annotation
    assert rebuilt.model_json_schema() == Person.model_json_schema()
    with pytest.raises(pydantic.ValidationError):
        rebuilt(name="x", home={"street": "s", "unknown": 1})
    mirrored = again.model_annotation("point").model_json_schema()
    assert mirrored == Everything.spec.model_annotation("point").model_json_schema()
    point = again.codec.coerce(dict.fromkeys(again.outputs) | {"point": {"x": 1, "near": [{"x": 2}]}})[0]["point"]
    assert (point.x, point.y, point.near[0].x, attrs.has(type(point))) == (1, 0.5, 2, True)


def test_prompts_are_the_same() -> None:
    # DSPy's prompts show constraints inside a list by their class names, which a rebuilt type cannot match.
    spec = Everything.spec.evolve(fields=[item for item in Everything.spec.fields if item.name != "limited"])
    again = SignatureSpec.from_dict(spec.to_dict())
    prompts = [dspy.ChatAdapter().format(to_dspy(each), [], {"text": "x"}) for each in (spec, again)]
    assert prompts[0] == prompts[1]
    assert "Main St 1" in str(prompts[0])


def test_values_of_the_original_classes_are_taken_by_the_rebuilt() -> None:
    again = SignatureSpec.from_dict(Everything.to_dict())
    bound = again.binder.bind({"text": "xx", "color": Color.GREEN, "person": Person(name="Bob")})
    assert (bound["color"].name, bound["person"].name) == ("GREEN", "Bob")


SCALAR = st.sampled_from([str, int, float, bool, Any, list, dict, Color, Level, Word, Person, Address, Point])
LITERAL = st.lists(st.text() | st.integers() | st.booleans(), min_size=1, max_size=4).map(lambda v: Literal[tuple(v)])
TYPES = st.recursive(
    SCALAR | LITERAL,
    lambda inner: (
        inner.map(lambda t: list[t])  # type: ignore[valid-type]
        | inner.map(lambda t: t | None)
        | st.tuples(st.sampled_from([str, int, Color, Word]), inner).map(lambda kv: dict[kv[0], kv[1]])  # type: ignore[valid-type]
    ),
    max_leaves=4,
)
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: not keyword.iskeyword(name) and name != "execution_id"
)


@st.composite
def specs(draw: st.DrawFn) -> SignatureSpec:
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    fields = []
    for number, name in enumerate(names):
        role = "output" if number == 0 else draw(st.sampled_from(["input", "output"]))
        options: dict[str, Any] = {"description": draw(st.text()), "sensitive": draw(st.booleans())}
        if role == "input" and draw(st.booleans()):
            options |= {"required": False}
        fields.append(FieldSpec(name, role, draw(TYPES), **options))  # type: ignore[arg-type]
    demos = draw(st.lists(st.dictionaries(st.sampled_from(names), st.text() | st.integers()), max_size=2))
    return SignatureSpec(
        "Made", draw(st.text(min_size=1)), fields, demos=demos, tags=draw(st.lists(st.text(min_size=1)))
    )


@settings(max_examples=60)
@given(specs())
def test_any_signature_comes_back(spec: SignatureSpec) -> None:
    data = spec.check().to_dict()
    again = SignatureSpec.from_dict(json.loads(json.dumps(data)))
    assert again.to_dict() == data
    assert again.fingerprint == spec.fingerprint


def minimal(**changes: Any) -> dict[str, Any]:
    data = {"schema": 1, "name": "S", "instructions": "i", "version": "1",
            "fields": [{"name": "y", "role": "output", "type": "str"}]}  # fmt: skip
    return {**data, **changes}


def typed(description: Any, types: Any = None, **field: Any) -> dict[str, Any]:
    data = minimal(fields=[{"name": "y", "role": "output", "type": description, **field}])
    return {**data, "types": types} if types is not None else data


def model(*fields: Any, **changes: Any) -> dict[str, Any]:
    return typed({"ref": "M"}, {"M": {"kind": "model", "name": "M", "fields": list(fields), **changes}})


def members(*pairs: Any, base: str = "none") -> dict[str, Any]:
    return typed({"ref": "E"}, {"E": {"kind": "enum", "name": "E", "base": base, "members": list(pairs)}})


def nested(depth: int) -> Any:
    value: Any = "str"
    for _ in range(depth):
        value = {"list": value}
    return value


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({}, "'schema' is missing"),
        (minimal(schema=2), "schema: version 2 is newer than 1"),
        (minimal(schema=True), "schema: expected int, got bool"),
        (minimal(schema=0), "there is no such version"),
        (minimal(extra=1), "top level: unknown key 'extra'"),
        (minimal(name=3), "name: expected text, got int"),
        (minimal(name="has space"), "name 'has space'"),
        (minimal(fields={}), "fields: expected a list, got dict"),
        (minimal(fields=[]), "fields: expected at least 1 item"),
        (minimal(fields=[3]), "fields[0]: expected a mapping, got int"),
        (minimal(fields=minimal()["fields"] * 600), "fields: has more than 500 fields"),
        (minimal(demos=[3]), "demos[0]: expected a mapping"),
        (minimal(tags="ab"), "tags: expected a list, got str"),
        (typed("bytes"), "fields[0].type: unknown type"),
        (typed("os.system"), "fields[0].type: unknown type"),
        (typed({"import": "os"}), "fields[0].type: unknown type 'import'"),
        (typed({"list": "str", "dict": 1}), "fields[0].type: a type is a mapping of one key"),
        (typed({"dict": ["str"]}), "fields[0].type.dict: expected 2 items, got 1"),
        (typed({"dict": ["float", "str"]}), "as dict key"),
        (typed({"literal": [1.5]}), "fields[0].type.literal[0]: expected str or int or bool"),
        (typed({"ref": "X"}), "refers to a type that is not defined"),
        (typed("str", {"M": {"kind": "enum"}}), "types.M: is defined but nothing refers to it"),
        (typed("str", role="boss"), "fields[0].role: expected one of input, output"),
        (typed("str", pattern="(" * 2000), "fields[0].pattern: is longer than"),
        (typed("str", default="x"), "fields[0].default: a required field has no default"),
        (typed("str", min_length=1.5), "fields[0].min_length: expected int"),
        (typed("int", min_length=1), "min_length suits texts"),
        (typed("str", surprise=1), "fields[0]: unknown key 'surprise'"),
        (typed(nested(60)), "nested too deeply"),
        (typed(nested(50_000)), "nested more than 100 levels"),
        (minimal(demos=[{"y": "x"}] * 200_001), "bigger than"),
        (members(["__class__", 1]), "types.E.members[0][0]: is not a name for a member"),
        (members(["mro", 1]), "is not a name for a member"),
        (members(["A", 1], ["A", 2]), "is not a name for a member, or is there twice"),
        (members(["A", [1]]), "types.E.members[0][1]: expected"),
        (members(["A", "x"], base="int"), "types.E.members[0][1]: expected int"),
        (members(["A", 1], base="object"), "types.E.base: expected one of"),
        (model({"name": "__init__", "type": "str"}), "types.M.fields[0].name: is not a name for a field"),
        (model({"name": "model_dump", "type": "str"}), "is not a name for a field"),
        (model({"name": "a b", "type": "str"}), "is not a name for a field"),
        (model({"name": "a", "type": "str"}, {"name": "a", "type": "str"}), "two fields have the same name"),
        (model({"name": "a", "type": "int", "default": "x"}), "types.M.fields[0].default: does not fit its type"),
        (model({"name": "a", "type": "str", "pattern": "("}), "types.M: cannot be built"),
        (model(config={"arbitrary_types_allowed": True}), "types.M.config: unknown key"),
        (model(name="__main__"), "types.M.name: is not a name for a type"),
        (model(kind="function"), "types.M.kind: expected one of"),
    ],
)  # fmt: skip
def test_malformed_data_is_refused_with_its_path(data: Any, path: str) -> None:
    with pytest.raises(SignatureDefinitionError) as caught:
        SignatureSpec.from_dict(data)
    assert path in str(caught.value)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from(["str", "ref", "M", "model", "enum", "attrs", "none", "input", "output", "__class__"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["kind", "name", "fields", "type", "types", "members", "base", "ref", "list", "M",
                                       "dict", "union", "literal", "constrained", "default", "role", "schema"]), inner,
                      max_size=5),
    max_leaves=15,
)  # fmt: skip


@given(ANYTHING, ANYTHING, ANYTHING)
def test_garbage_is_refused_and_never_crashes(first: Any, second: Any, third: Any) -> None:
    for data in (first, typed(first, second), typed({"ref": "M"}, {"M": third}), model(third), members(third)):
        try:
            spec = SignatureSpec.from_dict(data)
        except SignatureDefinitionError:
            continue
        assert SignatureSpec.from_dict(spec.to_dict()).fingerprint == spec.fingerprint


def test_what_has_no_json_form_is_refused_when_it_is_written() -> None:
    made = SignatureSpec("S", "i", (FieldSpec("y", "output"),), demos=({"y": object()},))
    with pytest.raises(SignatureDefinitionError, match="signature 'S': demos cannot be written as JSON"):
        made.to_dict()


class Serialized(pydantic.BaseModel):
    x: int

    @pydantic.model_serializer
    def write(self) -> str:
        return "x"


class Timed(pydantic.BaseModel):
    at: float = pydantic.Field(default_factory=iter(range(100)).__next__)


@pytest.mark.parametrize("cls", [Serialized, Timed])
def test_models_that_no_description_can_carry_are_refused_when_they_are_written(cls: Any) -> None:
    made = SignatureSpec("S", "i", (FieldSpec("y", "output", cls),)).check()
    assert len(made.fingerprint) == 32
    with pytest.raises(SignatureDefinitionError, match="no description can carry"):
        made.to_dict()
