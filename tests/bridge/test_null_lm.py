"""The language model of the tests itself."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import dspy
import pytest

from hokusai_core.testing.lm import null_lm


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
