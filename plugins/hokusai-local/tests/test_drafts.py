"""Texts that are handed out while the embedded model writes them."""

from __future__ import annotations

from typing import Any

import dspy
import pytest

from hokusai_core import Executor, LanguageModel
from hokusai_local.adapter import LocalAdapter
from hokusai_local.prose import tidy

SIGNATURE = dspy.Signature("document -> summary")


def drafted(text: str, size: int, signature: Any = SIGNATURE, **inputs: str) -> str:
    reader = LocalAdapter().draft_reader(signature, inputs)
    assert reader is not None
    return "".join(reader.feed(text[at : at + size]) for at in range(0, len(text), size))


@pytest.mark.parametrize("size", [1, 5, 400])
@pytest.mark.parametrize(
    ("text", "least"),
    [
        ("One sentence. Another one, of 3.5 words. And the rest", "One sentence. Another one, of 3.5 words."),
        ("Summary: It rained. All day.\n", "It rained. All day."),
        ("Here is a summary of the text:\n\nIt rained. All day.\n", "It rained. All day."),
        (
            "Here it rained. All day, in fact, and all stayed in to look at the harbour or the market square.\n",
            "",
        ),
        ('"It rained."\n', ""),
        ("It rained. All day.\n\nI changed the verb.\n", "It rained. All day."),
        (
            "Dear Ana,\nall is done. Thanks.\nBest regards,\nYour Name\n",
            "Dear Ana,\nall is done. Thanks.\nBest regards",
        ),
    ],
)
def test_a_draft_is_the_begin_of_the_answer(text: str, least: str, size: int) -> None:
    adapter = LocalAdapter()
    whole = adapter.parse(SIGNATURE, tidy(text, complete=True)[0])["summary"]
    given = drafted(text, size)
    assert given.startswith(least)
    assert whole.startswith(given) or "Best regards" in whole


@pytest.mark.parametrize("signature", ["text -> code", "text -> a, b", "text -> n: int", "text -> t: str | None"])
def test_only_a_single_text_has_drafts(signature: str) -> None:
    assert LocalAdapter().draft_reader(dspy.Signature(signature), {}) is None


TEXT = (
    "The new tram line between the harbour and the university opened on Monday after six years of construction. "
    "The city expects 40,000 passengers a day. Tickets are free until the end of the month."
)


def test_the_embedded_model_streams_and_a_left_stream_frees_it(model: LanguageModel) -> None:
    with Executor(lm=model, plugins=[], cache_enabled=False) as executor:
        executor.register_signature("Sum", "document, max_length -> summary")
        inputs = {"document": TEXT, "max_length": "3 sentences"}
        events = list(executor.stream_signature("Sum", inputs))
        finished = events[-1]
        assert finished.kind == "finished"
        said = ""
        for event in events:
            if event.kind == "delta":
                said += event.text
            elif event.kind == "retracted":
                said = ""
        assert said == finished.result["summary"]
        assert events[1].kind == "delta"
        with executor.stream_signature("Sum", {"document": TEXT * 2, "max_length": "9 sentences"}) as left:
            next(event for event in left if event.kind == "delta")
        assert executor.execute_signature("Sum", inputs, timeout=60)["summary"]


def test_outputs_that_are_no_text_come_with_the_result(model: LanguageModel) -> None:
    with Executor(lm=model, plugins=[], cache_enabled=False) as executor:
        executor.register_signature("Rate", "text -> sentiment: Literal['good', 'bad']")
        kinds = [event.kind for event in executor.stream_signature("Rate", {"text": "I love it."})]
    assert kinds == ["started", "partial", "finished"]
