"""What a provider sends, an answer or an error, is read in time in proportion to its size."""

from __future__ import annotations

import contextlib
import enum
import time
from collections.abc import Callable
from typing import Any, Literal

import dspy
import pytest
from dspy.utils.exceptions import AdapterParseError
from pydantic import BaseModel

from hokusai_core.dspy_bridge import FastChatAdapter, translate_error
from hokusai_core.redaction import scrub


def grows_linearly(work: Callable[[int], Any], size: int = 4_000) -> None:
    """Fail if eight times the size takes much more than eight times as long; quadratic work takes 64 times as long."""

    def took(count: int) -> float:
        best = float("inf")
        for _ in range(3):
            started = time.process_time()
            work(count)
            best = min(best, time.process_time() - started)
        return best

    small = max(took(size), 0.001)
    assert took(8 * size) < 24 * small


class Color(enum.Enum):
    RED = "red"


class Point(BaseModel):
    x: int


TEXTS: dict[str, Callable[[int], str]] = {
    "dashes": lambda n: "a-" * n,
    "words": lambda n: "token " * n,
    "keys": lambda n: "api_key=" * n,
    "quotes": lambda n: "token=\"x token='y " * n,
    "bearer": lambda n: "bearer " * n,
    "blanks": lambda n: "token" + " " * (8 * n),
    "addresses": lambda n: "https://a:b" * n,
    "key-like": lambda n: "sk-" * n,
    "nearly JSON": lambda n: '["a"' * n,
    "brackets": lambda n: "[" * n,
    "open objects": lambda n: '{"a":' * n,
    "open texts": lambda n: '{"a": "' * n,
    "commas": lambda n: "[" + "1," * n,
    "minus signs": lambda n: "-" * n,
    "digits": lambda n: "[" + "1" * n,
    "fences": lambda n: "```\n" * n,
    "bullets": lambda n: "- a\n" * n,
    "quotation marks": lambda n: "'" * n,
    "backslashes": lambda n: '"' + "\\" * n,
    "escapes": lambda n: '["' + "\\u12" * n + '"]',
    "markers": lambda n: "[[ ## " * n,
    "disarmed markers": lambda n: "[[ ~~~## " * n,
    "tags": lambda n: "<think>" * n,
}


@pytest.mark.parametrize("make", TEXTS.values(), ids=TEXTS)
def test_credentials_are_looked_for_in_linear_time(make: Callable[[int], str]) -> None:
    grows_linearly(lambda count: scrub(make(count)))
    grows_linearly(lambda count: translate_error(RuntimeError(make(count)), signature="S", model="m"))


ANNOTATIONS = [
    int, float, bool, list[str], dict[str, int], Point, list[Point], Color, Literal["a", "b"], str | None, Any,
    int | None, str,
]  # fmt: skip


@pytest.mark.parametrize("annotation", ANNOTATIONS, ids=str)
def test_answers_are_read_in_linear_time(annotation: Any) -> None:
    fields = {"question": (str, dspy.InputField()), "answer": (annotation, dspy.OutputField())}
    signature, adapter = dspy.Signature(fields, "Do."), FastChatAdapter()
    for make in TEXTS.values():

        def read(count: int, make: Callable[[int], str] = make) -> None:
            with contextlib.suppress(AdapterParseError):
                adapter.parse(signature, f"[[ ## answer ## ]]\n{make(count)}\n\n[[ ## completed ## ]]")

        grows_linearly(read, 2_000)
