"""Which model the host has set, what a name becomes, and what tells two models apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dspy
import pytest

from hokusai_core.dspy_bridge import (
    FastChatAdapter,
    default_language_model,
    describe_model,
    host_adapter,
    host_language_model,
    is_language_model,
)
from hokusai_core.errors import LanguageModelUnavailable
from hokusai_core.testing.lm import NullEngine, null_lm


def test_the_hosts_settings_are_read_where_they_hold() -> None:
    assert host_language_model() is None
    assert host_adapter() is None
    lm, adapter = null_lm(), dspy.JSONAdapter()
    with dspy.context(lm=lm, adapter=adapter):
        assert host_language_model() is lm
        assert host_adapter() is adapter


def test_what_is_a_language_model() -> None:
    assert is_language_model(null_lm())
    assert not is_language_model("openai/gpt-5-mini")
    assert not is_language_model(None)


def test_a_name_becomes_a_model_without_cache_and_retries() -> None:
    lm = default_language_model("openai/gpt-5-mini")
    assert (lm.model, lm.cache, lm.num_retries) == ("openai/gpt-5-mini", False, 0)


@pytest.mark.parametrize("name", ["", "gpt", "openai/", "/gpt", " openai/gpt", "openai/ "])
def test_a_malformed_name_is_refused_with_an_example(name: str) -> None:
    with pytest.raises(LanguageModelUnavailable, match="openai/gpt-5-mini"):
        default_language_model(name)


def test_a_description_holds_parameters_and_no_credential() -> None:
    lm = dspy.LM(
        "openai/gpt-4o", api_key="sk-very-secret", temperature=0.2, max_tokens=99, extra_headers={"X": "secret"}
    )
    description = describe_model(lm, FastChatAdapter())
    assert description.parameters == {"model_type": "chat", "temperature": 0.2, "max_tokens": 99}
    assert "secret" not in repr(description)
    assert "FastChatAdapter" in description.adapter
    assert description.engine == "auto"
    json.dumps(dict(description.parameters))


def test_a_change_of_parameters_in_place_is_seen() -> None:
    lm = null_lm()
    before = describe_model(lm)
    lm.kwargs["temperature"] = 0.9
    assert describe_model(lm) != before


def test_adapters_and_engines_are_told_apart() -> None:
    class Stateful(NullEngine):
        def __init__(self, weights: object) -> None:
            super().__init__()
            self.weights = weights

        def dump_state(self) -> dict[str, Any]:
            return {"weights": self.weights, "api_key": object()}

    one, two = (dspy.LM("null/x", engine=Stateful(weights), cache=False) for weights in ("a", "b"))
    assert describe_model(one) != describe_model(two)
    assert describe_model(one) == describe_model(dspy.LM("null/x", engine=Stateful("a"), cache=False))
    assert describe_model(dspy.LM("null/x", engine=Stateful(Path("a")), cache=False)) == describe_model(one)
    assert describe_model(dspy.LM("null/x", engine=Stateful(Path("b")), cache=False)) == describe_model(two)
    adapters = [
        None,
        FastChatAdapter(),
        dspy.ChatAdapter(),
        dspy.JSONAdapter(),
        dspy.ChatAdapter(use_native_function_calling=True),
    ]
    assert len({describe_model(one, adapter).adapter for adapter in adapters}) == len(adapters)
    assert describe_model(one, FastChatAdapter()) == describe_model(one, FastChatAdapter())
