"""Reading text takes time in proportion to its length: sizes are doubled and compared, no clock sets a limit."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import time
from collections.abc import Callable
from typing import Any

import pytest

from hokusai_core.base_signature import BaseSignature, SignatureMeta
from hokusai_core.errors import HokusaiError
from hokusai_core.signatures import FieldSpec, InputField, OutputField, read_value
from hokusai_core.signatures.text_json import NotJSON, parse_json, parse_literal, without_fence
from hokusai_core.signatures.text_lists import split_list

SIZE = 4_000


def seconds(action: Callable[[str], Any], text: str) -> float:
    best = float("inf")
    for _ in range(3):
        start = time.thread_time()
        with contextlib.suppress(NotJSON, HokusaiError):
            action(text)
        best = min(best, time.thread_time() - start)
    return best


def read_as(annotation: Any) -> Callable[[str], Any]:
    field = FieldSpec("a", "output", annotation)
    return lambda text: read_value(field, text)


def define(version: str) -> Any:
    body = {"version": version, "a": InputField(), "b": OutputField()}
    return SignatureMeta("Sig", (BaseSignature,), body).spec


TEXTS: dict[str, Callable[[int], str]] = {
    "spaces": lambda size: "a, b" + " " * size + "x",
    "lines": lambda size: "a\n" + "\n" * size + "b",
    "bullets": lambda size: "- " * size,
    "commas": lambda size: "a," * size,
    "numbers": lambda size: "1" * size + "!",
    "version": lambda size: "1" + "a" * size + "!",
    "open": lambda size: "[" * size,
    "objects": lambda size: "[" + '{"a": 1},' * size,
    "quotes": lambda size: "['" + "a'b" * size + "']",
    "escapes": lambda size: "['" + "\\\\" * size + "']",
    "json text": lambda size: '"' + "\\\\\\" * size + '"',
    "fences": lambda size: "```\n" + "```" * size + "\n```",
    "duration": lambda size: "P" + "1" * size + "D",
    "time": lambda size: "1:" * size,
}
ACTIONS: dict[str, Callable[[str], Any]] = {
    "split": split_list,
    "json": parse_json,
    "literal": parse_literal,
    "fence": without_fence,
    "version": define,
    **{str(kind): read_as(kind) for kind in (int, float, list[str], dict[str, int], str | None, int | str, Any)},
    "times": read_as(datetime.timedelta),
    "decimal": read_as(decimal.Decimal),
}


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("action", ACTIONS)
def test_twice_the_text_takes_about_twice_the_time(action: str, text: str) -> None:
    make, act = TEXTS[text], ACTIONS[action]
    short = long = 0.0
    for _ in range(4):
        short, long = seconds(act, make(SIZE)), seconds(act, make(4 * SIZE))
        # Quadratic time would be 16 times as long. Below half a millisecond there is nothing to compare.
        if long < 0.0005 or long < 9 * short:
            return
    raise AssertionError(f"{short:.5f} s for {SIZE}, {long:.5f} s for {4 * SIZE} characters or more")
