"""Calls are prepared as DSPy prepares them, however short the way is."""

from __future__ import annotations

from typing import Any

import dspy
import pytest
from dspy.clients.execution import prepare

from hokusai_core.dspy_bridge import engine_calls
from hokusai_core.testing.lm import null_lm

TEXTS = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Straße 😀"}]


def models() -> dict[str, Any]:
    changed = dspy.LM("openai/gpt-4o-mini", cache=False)
    changed.forward = lambda *arguments, **options: None  # type: ignore[method-assign]

    class Own(dspy.LM):
        def forward(self, prompt: Any = None, messages: Any = None, **kwargs: Any) -> Any:
            raise NotImplementedError

    return {
        "engine": null_lm(),
        "provider": dspy.LM("openai/gpt-4o-mini", temperature=0.5, max_tokens=9),
        "responses": dspy.LM("openai/gpt-4o-mini", model_type="responses", use_developer_role=True),
        "options": dspy.LM("openai/gpt-4o-mini", stop=["END"], n=2),
        "own": Own("openai/gpt-4o-mini"),
        "changed": changed,
    }


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("name", ["engine", "provider", "responses", "options", "own", "changed"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"cache": False},
        {"cache": True, "temperature": 0.2, "max_tokens": 3},
        {"rollout_id": 2},
        {"n": 3},
        {"stop": []},
    ],
)
@pytest.mark.parametrize("messages", [TEXTS, TEXTS[1:], [{"role": "user", "content": [{"type": "text", "text": "?"}]}]])
def test_a_call_is_prepared_as_dspy_prepares_it(
    name: str, options: dict[str, Any], messages: Any, asynchronous: bool
) -> None:
    lm = models()[name]
    ours = engine_calls.prepare_call(lm, None, messages, dict(options), asynchronous=asynchronous)
    assert ours == prepare(lm, None, messages, dict(options), asynchronous=asynchronous)


def test_nearly_every_call_takes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_calls, "prepare", None)
    for name in ("engine", "provider"):
        engine_calls.prepare_call(models()[name], None, TEXTS, {"cache": False}, asynchronous=False)


@pytest.mark.parametrize(
    "messages", [[{"role": "user", "content": "\ud800"}], [{"role": "user", "content": "?", "name": "\ud800"}]]
)
def test_text_that_no_provider_can_receive_is_refused(messages: Any) -> None:
    with pytest.raises(ValueError, match="surrogate"):
        engine_calls.prepare_call(null_lm(), None, messages, {}, asynchronous=False)


def test_settings_of_a_connection_are_refused_for_an_engine() -> None:
    with pytest.raises(ValueError, match="api_key"):
        engine_calls.prepare_call(null_lm(), None, TEXTS, {"api_key": "sk-1"}, asynchronous=False)
