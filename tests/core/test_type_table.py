"""The table of types in the documentation: each row is tried with every way that a value can take."""

from __future__ import annotations

import datetime
import enum
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import attrs
import numpy
import pytest
from pydantic import BaseModel, Field, HttpUrl

from hokusai_core import BaseSignature, Executor
from hokusai_core.json_encoding import jsonable
from hokusai_core.signatures import FieldSpec, SignatureSpec, read_value, write_value
from hokusai_core.signatures.field_types import Kind
from hokusai_core.signatures.lenient_input import CoercionError
from hokusai_core.signatures.model_fields import deep_kinds
from hokusai_core.signatures.value_text import is_same
from hokusai_core.testing.lm import null_lm

PAGE = Path(__file__).parents[2] / "docs" / "signatures.md"


class Color(enum.Enum):
    RED = "red"


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


class Person(BaseModel):
    name: str
    born: datetime.date
    pet: Cat | Dog | None = Field(default=None, discriminator="kind")


@attrs.frozen
class Point:
    x: int
    color: Color = Color.RED


NAMES = {
    "Annotated": Annotated, "Any": Any, "Color": Color, "Decimal": Decimal, "Field": Field, "HttpUrl": HttpUrl,
    "Literal": Literal, "Person": Person, "Point": Point, "UUID": UUID, "datetime": datetime,
}  # fmt: skip


@attrs.frozen
class Row:
    written: str
    forms: list[Any]
    taken: list[Any]
    refused: list[Any]

    @property
    def annotation(self) -> Any:
        return eval(self.written, dict(NAMES))  # noqa: S307 - from a page of this repository


def rows() -> list[Row]:
    found = []
    for line in PAGE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 4 and cells[0].startswith("`") and "JSON" not in cells[1]:
            type_, *values = (re.findall(r"`([^`]+)`", cell.replace(r"\|", "|")) for cell in cells)
            found.append(Row(type_[0], *([json.loads(value) for value in cell] for cell in values)))
    return found


ROWS = rows()
each_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.written)


def test_every_kind_has_a_row() -> None:
    shown = {kind for row in ROWS for kind in deep_kinds(FieldSpec("a", "input", row.annotation).shape)}
    only_inputs = {"media", "history"}  # test_media.py tries them
    assert shown == set(Kind.__args__) - only_inputs  # type: ignore[attr-defined]


@each_row
def test_the_json_form_is_the_one_that_is_shown(row: Row) -> None:
    spec = SignatureSpec("S", "Do.", (FieldSpec("a", "output", row.annotation),)).check()
    field = spec.outputs["a"]
    for form in row.forms:
        value = field.coerce(form)
        assert json.loads(json.dumps(jsonable(value))) == form or isinstance(value, BaseModel)
        assert is_same(field.coerce(jsonable(value)), value)
        assert is_same(spec.codec.decode(spec.codec.encode({"a": value})), {"a": value})
        assert is_same(read_value(field, write_value(field, value)), value)
        assert is_same(field.coerce(value), value)


@each_row
def test_what_is_taken_and_what_is_refused(row: Row) -> None:
    field = FieldSpec("a", "input", row.annotation)
    for given in row.taken:
        value = field.coerce(given)
        assert is_same(field.coerce(jsonable(value)), value)
    for given in row.refused:
        with pytest.raises(CoercionError) as caught:
            field.coerce(given)
        assert str(caught.value)


@each_row
def test_signatures_with_it_are_data(row: Row) -> None:
    value = FieldSpec("a", "input", row.annotation).coerce(row.forms[0])
    example = {"inputs": {"a": row.forms[0]}, "outputs": {"b": row.forms[0]}}
    fields = (
        FieldSpec("a", "input", row.annotation, required=False, default=value),
        FieldSpec("b", "output", row.annotation),
        FieldSpec("c", "output", list[row.annotation]),  # type: ignore[name-defined]
    )
    spec = SignatureSpec(
        "S", "Do.", fields, examples=(example,), demos=({"a": value, "b": value, "c": [value]},)
    ).check()
    data = json.loads(json.dumps(spec.to_dict()))
    again = SignatureSpec.from_dict(data)
    assert again.to_dict() == data
    assert again.fingerprint == spec.fingerprint
    assert jsonable(again.binder.bind({})) == jsonable({"a": value})


@each_row
def test_it_goes_through_an_execution(row: Row, tmp_path: Path) -> None:
    """Input, demo, prompt, answer, cache, journal, results as JSON lines."""
    field = FieldSpec("a", "output", row.annotation)
    value = field.coerce(row.forms[-1])
    spec = SignatureSpec(
        "S",
        "Do.",
        (FieldSpec("q", "input", row.annotation), field, FieldSpec("note", "output", str)),
        demos=({"q": value, "a": value, "note": "n"},),
    )
    signature = BaseSignature.from_spec(spec)
    answer = {"a": write_value(field, value), "note": "kept  as it is"}
    journal = tmp_path / "journal"
    with Executor(plugins=[], environ={}) as executor:
        for _ in range(2):
            lm = null_lm(answers=answer)
            result = executor.execute_signature(signature, {"q": row.forms[-1]}, lm=lm)
            assert is_same(result["a"], value)
            batch = executor.execute_batch(signature, [{"q": value}], lm=lm, journal=journal, cache="off")
            assert is_same(batch[0]["a"], value)
        batch.to_jsonl(tmp_path / "out.jsonl")
        record = json.loads((tmp_path / "out.jsonl").read_text("utf-8"))
        assert is_same(field.coerce(record["outputs"]["a"]), value)


@each_row
def test_a_cell_of_a_table_and_an_argument_of_a_command_give_the_value(row: Row) -> None:
    if row.written in ("Any", "int | str", "str | None"):
        return  # a text stays a text there
    field = FieldSpec("a", "input", row.annotation)
    value = field.coerce(row.forms[0])
    assert is_same(field.coerce(write_value(field, value)), value)


def test_a_set_is_shown_in_one_order_in_every_process() -> None:
    lm = null_lm(answers={"a": "x"}, keep_requests=True)
    spec = SignatureSpec("S", "Do.", (FieldSpec("q", "input", set[str]), FieldSpec("a", "output", str)))
    with Executor(plugins=[], environ={}) as executor:
        result = executor.execute_signature(BaseSignature.from_spec(spec), {"q": "b, c, a"}, lm=lm)
    assert result["a"] == "x"
    assert '["a", "b", "c"]' in str(lm.engine.requests)


def test_values_of_numpy_are_plain_values() -> None:
    def coerced(annotation: Any, value: Any) -> Any:
        return FieldSpec("a", "input", annotation).coerce(value)

    assert is_same(coerced(int, numpy.int64(3)), 3)
    assert is_same(coerced(float, numpy.float32(1.5)), 1.5)
    assert is_same(coerced(bool, numpy.bool_(True)), True)
    assert is_same(coerced(list[float], numpy.array([1.0, 2.0])), [1.0, 2.0])
    assert is_same(coerced(list[list[int]], numpy.array([[1], [2]])), [[1], [2]])
    assert is_same(coerced(int | str, numpy.str_("3")), "3")
    assert is_same(coerced(int | float, numpy.float64(3.0)), 3.0)
    assert is_same(coerced(set[int], numpy.array([1, 1])), {1})
    assert is_same(coerced(Any, {"x": numpy.arange(2)}), {"x": [0, 1]})
    moment = datetime.datetime(2024, 1, 2, 3, 4, 5)
    assert is_same(coerced(datetime.datetime, numpy.datetime64(moment, "ns")), moment)
    assert is_same(coerced(datetime.date, numpy.datetime64("2024-01-02")), datetime.date(2024, 1, 2))
    for annotation, value in (
        (int, numpy.bool_(True)), (float, numpy.float64("nan")), (list[float], numpy.array([numpy.inf])),
        (datetime.datetime, numpy.datetime64("NaT")), (datetime.datetime, numpy.datetime64(1, "ns")),
    ):  # fmt: skip
        with pytest.raises(CoercionError):
            coerced(annotation, value)
