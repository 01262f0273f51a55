"""Types of fields, as they are shown."""

from __future__ import annotations

import datetime
import enum
from decimal import Decimal
from typing import Annotated, Any, Literal

import attrs
import pydantic
import pytest

from hokusai.type_text import type_text
from hokusai_core.plugin_api import FieldSpec


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Item(pydantic.BaseModel):
    name: str


@attrs.frozen
class Part:
    name: str


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (str, "str"),
        (float, "float"),
        (Any, "Any"),
        (list, "list"),
        (list[int], "list[int]"),
        (dict[str, float], "dict[str, float]"),
        (dict, "dict"),
        (str | None, "str | None"),
        (Literal["a", 2], "'a' | 2"),
        (Color, "'red' | 'blue'"),
        (Item, "Item"),
        (list[Part], "list[Part]"),
        (Annotated[int, pydantic.Field(ge=1)], "int"),
        (datetime.datetime, "datetime"),
        (set[Decimal], "set[Decimal]"),
        (tuple[str, ...], "tuple[str, ...]"),
        (tuple[str, datetime.date], "tuple[str, date]"),
        (pydantic.HttpUrl, "HttpUrl"),
    ],
    ids=str,
)
def test_type_reads_like_python(annotation: Any, text: str) -> None:
    assert type_text(FieldSpec("field", "output", annotation)) == text


def test_choices_are_named_after_their_input() -> None:
    assert type_text(FieldSpec("kind", "output", str, choices_from="kinds")) == "one of kinds"
