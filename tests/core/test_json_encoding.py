"""Canonical JSON: equal values have one text, different ones never the same."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
from collections import UserDict
from pathlib import PurePosixPath
from typing import Any

import attrs
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hokusai_core.json_encoding import canonical_json, jsonable


class Color(enum.Enum):
    RED = "red"


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    x: int
    color: Color = Color.RED


@attrs.define
class Point:
    _x: int
    total: int = attrs.field(init=False, default=0)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Color.RED, "red"),
        (Model(x=1, more=(1, 2)), {"x": 1, "color": "red", "more": [1, 2]}),  # type: ignore[call-arg]
        (Point(3), {"x": 3}),
        ({1: (True, None)}, {"1": [True, None]}),
        (UserDict({Color.RED: 1}), {"red": 1}),
        ({3, 1, 2}, [1, 2, 3]),
        (datetime.date(2024, 1, 2), "2024-01-02"),
        (decimal.Decimal("1.50"), "1.50"),
        (PurePosixPath("a/b"), "a/b"),
    ],
)
def test_jsonable(value: Any, plain: Any) -> None:
    assert jsonable(value) == plain
    assert json.loads(json.dumps(jsonable(value))) == plain


@pytest.mark.parametrize("value", [object(), b"x", {(1, 2): 3}, {None: 1}, len, {1.5: 2}])
def test_what_has_no_json_form_is_named(value: Any) -> None:
    with pytest.raises(TypeError, match="has no JSON form"):
        jsonable([value])


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    for function in (jsonable, canonical_json):
        with pytest.raises(ValueError, match="contains itself"):
            function(value)


def test_keys_that_become_equal_are_refused() -> None:
    with pytest.raises(ValueError, match="two keys"):
        jsonable({1: "a", "1": "b"})


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (1, 1.0),
        (0.0, -0.0),
        (10**20, 1e20),
        ({"b": 1, "a": 2.0}, {"a": 2, "b": 1.0}),
        ([1, 2], (1.0, 2)),
        (float("nan"), float("nan")),
        ({1: 2}, {"1": 2}),
        (Model(x=1), {"color": "red", "x": 1}),
    ],
)
def test_equal_values_have_one_text(first: Any, second: Any) -> None:
    assert canonical_json(first) == canonical_json(second)
    assert canonical_json([first, "\ud800"]) == canonical_json([second, "\ud800"])


def test_different_values_have_different_texts() -> None:
    values = [
        1, True, "1", "true", None, "null", 0, False, "", [], {}, [1], {"1": 1}, float("nan"), "NaN", float("inf"),
        float("-inf"), None, [None], "\ud800", "\udfff", "\\ud800", 10**30, str(10**30), 1.5, "1.5", 2**63, 2**63 - 1,
        -(2**63), 2**64, 0.1, 0.1 + 2e-17, ["a", "b"], ["a,b"], ['a","b'],
    ]  # fmt: skip
    texts = {canonical_json(value) for value in values}
    assert len(texts) == len({(type(value), repr(value)) for value in values})


def test_a_number_that_python_will_not_write_is_refused() -> None:
    with pytest.raises(ValueError, match="4000 digits"):
        canonical_json([10**5000])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters()), inner, max_size=4),
    max_leaves=12,
)


def shuffled(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: shuffled(item) for key, item in reversed(value.items())}
    if isinstance(value, list):
        return tuple(shuffled(item) for item in value)
    if type(value) is int and abs(value) < 2**53:
        return float(value)
    return value


def kinds(value: Any) -> Any:
    """Tell True from 1, which Python calls equal, at every depth."""
    if isinstance(value, dict):
        return {key: kinds(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [kinds(item) for item in value]
    return (isinstance(value, bool), value)


@given(VALUES)
def test_the_text_does_not_depend_on_order_or_kind_of_number(value: Any) -> None:
    assert canonical_json(value) == canonical_json(shuffled(value))


@given(VALUES, VALUES)
def test_texts_are_equal_where_values_are(first: Any, second: Any) -> None:
    assert (canonical_json(first) == canonical_json(second)) == (kinds(first) == kinds(second))


def test_a_missing_time_of_pandas_has_no_json_form() -> None:
    pandas = pytest.importorskip("pandas")
    with pytest.raises(TypeError, match="NaTType"):
        jsonable([pandas.NaT])
