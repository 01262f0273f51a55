"""Texts of the model that are of no use are an error, not an answer."""

from __future__ import annotations

from typing import Any

import pytest
from dspy.lm15 import Config, Message, Request

from hokusai_core import BaseSignature, Executor, InputField, LanguageModel, OutputField
from hokusai_core.errors import AnswerCutOff, OutputError
from hokusai_local import LlamaEngine
from hokusai_local.example_demos import demos_for
from hokusai_local.inference_sequence import Generation
from hokusai_local.interruption import Interruption
from hokusai_local.json_generation import write_json
from hokusai_local.output_request import OutputRequest
from hokusai_local.request_context import GeneratedAnswer, RequestContext, UnusableText
from hokusai_local.text_generation import write_text

LOOP = "We thank you for your order. " * 8
GOOD = "Your lamp is repaired, and we send it back tomorrow by the same carrier."


class Tell(BaseSignature):
    """Tell a long story about the animal."""

    animal: str = InputField()
    max_length: str = InputField(default="")
    story: str = OutputField()


def answer(engine: LlamaEngine, *attempts: Generation, **wanted: Any) -> GeneratedAnswer:
    """What comes of such attempts of the model."""
    told = iter(attempts)
    request = Request(model="local/test", messages=(Message.user("Answer."),), config=Config())
    context = RequestContext(
        engine.server(), Interruption(), request, OutputRequest(**wanted), 64, 512, 1, ask=lambda *_: next(told)
    )
    messages = [{"role": "user", "content": "Answer."}]
    return write_json(context, messages, 512) if wanted.get("schema") else write_text(context, messages)


def test_a_text_that_repeats_itself_in_every_attempt_is_refused(engine: LlamaEngine) -> None:
    for repeated in (LOOP, "How wonderful, " * 6 + "my friend."):
        with pytest.raises(UnusableText):
            answer(engine, *[Generation(repeated)] * 3, prose=True)
        assert answer(engine, Generation(repeated), Generation(GOOD), prose=True).text == GOOD


def test_so_is_a_text_inside_json(engine: LlamaEngine) -> None:
    schema = {"type": "object", "properties": {"notes": {"type": "array", "items": {"type": "string"}}}}
    with pytest.raises(UnusableText, match="repeats itself"):
        answer(
            engine,
            *[Generation('{"notes": ["How wonderful how wonderful how wonderful"]}')] * 3,
            schema=schema,
            prose=True,
        )


def test_the_token_limit_cuts_and_a_number_of_words_does_not(engine: LlamaEngine) -> None:
    cut = Generation(f"{GOOD} And then", complete=False)
    assert not answer(engine, *[cut] * 3, prose=True).complete
    kept = answer(engine, cut, prose=True, counts_words=True)
    assert (kept.text, kept.complete, kept.attempts) == (GOOD, True, 1)
    assert answer(engine, cut, Generation(GOOD), prose=True).complete


def test_the_caller_gets_an_output_error(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    with Executor(lm=model, cache_enabled=False, plugins=[], trackers=[]) as executor:
        with pytest.raises(AnswerCutOff, match="max_tokens"):
            executor.execute_signature(Tell, {"animal": "dog"}, parameters={"max_tokens": 8})
        short = executor.execute_signature(Tell, {"animal": "dog", "max_length": "20 words"})
        assert short["story"].endswith((".", "!", "?"))
        assert any("135 million" in note for note in short.notes)

        def repeat(*_: Any, **__: Any) -> Any:
            raise UnusableText("it repeats itself")

        monkeypatch.setattr("hokusai_local.generation.write_text", repeat)
        with pytest.raises(OutputError, match="of no use: it repeats itself") as caught:
            executor.execute_signature(Tell, {"animal": "dog"})
        assert len(caught.value.attempts) == 1


def test_examples_are_demos_where_they_help() -> None:
    with Executor(plugins=["signatures"], mode="testing") as executor:
        extract, resolve = (executor.signature(name).spec for name in ("ExtractInfo", "ResolveQuery"))
    demos = demos_for(extract)
    assert [demo["info_types"] for demo in demos][1] == ["Order number", "Problem", "Phone number"]
    assert {name for demo in demos for name in demo} == {"document", "info_types", "extracted_info"}
    assert demos_for(resolve) == ()
    assert demos_for(Tell.spec.evolve(name="ExtractInfo")) == ()
