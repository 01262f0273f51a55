"""Requests are those that DSPy's own converter makes."""

from __future__ import annotations

from typing import Any

from dspy.lm15 import request_from_openai_chat
from hypothesis import given, settings
from hypothesis import strategies as st

from hokusai_core.dspy_bridge.engine_calls import request_of

contents = st.one_of(st.text(max_size=20), st.just("hi"), st.just([{"type": "text", "text": "part"}]))
roles = st.sampled_from(["system", "user", "user", "assistant", "developer"])
messages = st.lists(st.fixed_dictionaries({"role": roles, "content": contents}), max_size=4)
options = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.sampled_from([0, 0.0, 1, 1.0, True, 0.7, None, 3]),
        "max_tokens": st.sampled_from([1, 100, 100.0, None, 0]),
        "top_p": st.sampled_from([0.5, 1, None]),
        "seed": st.sampled_from([0, 1, "x"]),
        "stop": st.sampled_from(["END", ["a", "b"]]),
        "metadata": st.just({"a": "b"}),
        "response_format": st.just({"type": "json_object"}),
    },
)


def outcome(make: Any) -> Any:
    try:
        return make()
    except Exception as error:
        return type(error), str(error)


@given(messages, options)
@settings(max_examples=max(100, settings.default.max_examples if settings.default else 0))
def test_same_request(chat: list[dict[str, Any]], extra: dict[str, Any]) -> None:
    body = {"model": "null/model", "messages": chat, **extra}
    expected = outcome(lambda: request_from_openai_chat({k: v for k, v in body.items() if v is not None}))
    assert outcome(lambda: request_of({**body, "n": 1, "rollout_id": 7})) == expected
