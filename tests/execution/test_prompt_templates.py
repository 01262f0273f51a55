"""The prompt of a signature with a variable in place of the value of each input."""

from __future__ import annotations

import json
from typing import Any

import dspy
import pytest

from hokusai_core import BaseSignature, Executor, InputField, OutputField
from hokusai_core.testing.listening import ListeningTracker
from hokusai_core.testing.lm import null_lm


class Sort(BaseSignature):
    """Sort a text."""

    text: str = InputField()
    kinds: list[str] = InputField()
    kind: str = OutputField(choices_from="kinds")


def filled(template: Any, **values: str) -> list[str]:
    """Return the texts of a prompt with these values."""
    texts = [message["content"] for message in template.messages]
    for name, value in values.items():
        texts = [text.replace(f"{{{{ {name} }}}}", value) for text in texts]
    return texts


@pytest.mark.parametrize("adapter", ["chat", "json", "xml"])
def test_a_template_that_is_filled_is_what_would_be_sent(adapter: str) -> None:
    with Executor(lm=null_lm(), plugins=[], adapter=adapter, trackers=[]) as executor:
        executor.register_signature("Ask", "question, facts: list[str] -> answer: int")
        template = executor.prompt_template("Ask")
        request = executor.render("Ask", {"question": "Why?", "facts": ["a", "b"]})
    assert template is not None
    texts = filled(template, question="Why?", facts='["a", "b"]')
    assert texts == [request.system, *(message.text for message in request.messages)]


def test_choices_from_an_input_are_its_variable() -> None:
    with Executor(lm=null_lm(), plugins=[], trackers=[]) as executor:
        template = executor.prompt_template(Sort)
    assert template is not None
    assert "one of: {{ kinds }}" in template.messages[0]["content"]


def test_what_has_no_single_prompt_has_no_template() -> None:
    with Executor(lm=null_lm(), plugins=["strategies"], trackers=[]) as executor:
        executor.register_signature("Program", dspy.Predict("question -> answer"))
        executor.register_signature("Ask", "question -> answer")
        assert executor.prompt_template("Program") is None
        assert executor.prompt_template("Ask", strategy={"name": "majority", "n": 3}) is None
        thoughtful = executor.prompt_template("Ask", strategy="chain_of_thought")
    assert thoughtful is not None
    assert "reasoning" in thoughtful.messages[0]["content"]


def test_the_key_is_that_of_the_prompt() -> None:
    keys = []
    for instructions in ("Sort a text.", "Sort a text.", "Sort a text well."):
        with Executor(lm=null_lm(), plugins=[], trackers=[]) as executor:
            executor.register_signature("Sort", BaseSignature.from_spec(Sort.spec.evolve(instructions=instructions)))
            template = executor.prompt_template("Sort")
            assert template is not None
            keys.append(template.key)
    assert keys[0] == keys[1] != keys[2]


def test_trackers_that_want_prompts_get_them() -> None:
    inputs = {"text": "sea", "kinds": ["a", "b"]}
    wanting, other = ListeningTracker(wants_prompts=True), ListeningTracker()
    for tracker in (wanting, other):
        with Executor(lm=null_lm(), plugins=[], trackers={"t": tracker}) as executor:
            for _ in range(2):  # the second one from the cache
                executor.execute_signature(Sort, inputs)
    assert [event.prompt for event in other.executions] == [None, None]
    first, second = (event.prompt for event in wanting.executions)
    assert first is not None
    assert first is second
    assert json.dumps(first.messages)
