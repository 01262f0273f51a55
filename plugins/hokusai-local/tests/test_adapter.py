from __future__ import annotations

import asyncio
import enum
from decimal import Decimal
from typing import Any, Literal, Optional

import dspy
import pydantic
import pytest
from dspy.utils.exceptions import AdapterParseError

from hokusai_core import LanguageModel
from hokusai_local import LocalAdapter, LocalProvider


class Urgency(enum.Enum):
    HIGH = "high"
    LOW = "low"


class Person(pydantic.BaseModel):
    name: str
    age: int = pydantic.Field(ge=0, le=120)


class Everything(dspy.Signature):
    """Read the email and fill in the form."""

    email: str = dspy.InputField()
    title: str = dspy.OutputField()
    count: int = dspy.OutputField(ge=1, le=9)
    score: float = dspy.OutputField(ge=0, le=1)
    urgent: bool = dspy.OutputField()
    kind: Literal["praise", "complaint"] = dspy.OutputField()
    urgency: Urgency = dspy.OutputField()
    topics: list[str] = dspy.OutputField()
    numbers: dict[str, int] = dspy.OutputField()
    by_number: dict[int, bool] = dspy.OutputField()
    sender: Person = dspy.OutputField()
    people: list[Person] = dspy.OutputField()
    nickname: Optional[str] = dspy.OutputField()  # noqa: UP045 - both spellings have to work
    second: int | None = dspy.OutputField()
    pair: tuple[int, str] = dspy.OutputField()
    price: Decimal = dspy.OutputField()
    copy: str = dspy.OutputField()


EMAIL = "Dear team, the 3 chairs arrived broken. Please send new ones to Ana Lee (35) by Friday. They cost 120 euros."


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_type_of_output_is_present_and_typed(model: LanguageModel) -> None:
    with dspy.context(lm=model.lm, adapter=model.adapter):
        prediction = dspy.Predict(Everything)(email=EMAIL, config={"max_tokens": 500})
    types = {name: info.annotation for name, info in Everything.output_fields.items()}
    values = {name: prediction[name] for name in types}
    for name, annotation in types.items():
        pydantic.TypeAdapter(annotation).validate_python(values[name], strict=True)
    assert 1 <= values["count"] <= 9
    assert 0 <= values["score"] <= 1
    assert values["title"].strip()
    assert all(values[name] for name in ("topics", "numbers", "by_number", "people"))


@pytest.mark.parametrize("annotation", [bool, Literal["yes", "no"], Literal[1, 2, 3], Urgency, int, list[int], Person])
def test_a_single_output_of_any_type(model: LanguageModel, annotation: Any) -> None:
    signature = dspy.Signature({"email": (str, dspy.InputField()), "value": (annotation, dspy.OutputField())}, "Read.")
    with dspy.context(lm=model.lm, adapter=model.adapter):
        value = dspy.Predict(signature)(email=EMAIL).value
    pydantic.TypeAdapter(annotation).validate_python(value, strict=True)


def test_async_gives_the_same(model: LanguageModel) -> None:
    predict = dspy.Predict("question -> answer, confidence: float")
    with dspy.context(lm=model.lm, adapter=model.adapter):
        expected = predict(question="What is the capital of France?")

        async def ask() -> Any:
            return await predict.acall(question="What is the capital of France?")

        assert asyncio.run(ask()).toDict() == expected.toDict()


def test_demos_take_the_form_of_the_answer() -> None:
    adapter = LocalAdapter()
    closed = dspy.Signature(
        {"text": (str, dspy.InputField()), "urgency": (Urgency, dspy.OutputField())}, "How urgent is it?"
    )
    messages = adapter.format(closed, [{"text": "Fire!", "urgency": Urgency.HIGH}], {"text": "Hello."})
    assert [message["content"] for message in messages] == [
        "How urgent is it?",
        "Text: Fire!\nUrgency:",
        "high",
        "Text: Hello.\nUrgency:",
    ]
    pair = dspy.Signature("text -> title, pages: int", "Catalog the book.")
    messages = adapter.format(pair, [{"text": "A dog.", "title": "Dog", "pages": 3}], {"text": "A cat."})
    assert messages[2]["content"] == '{"title": "Dog", "pages": 3}'


def test_a_few_outputs_are_asked_for_one_after_the_other() -> None:
    adapter = LocalAdapter()
    pair = dspy.Signature("text -> title, pages: int", "Catalog the book.")
    asked = adapter.format(pair, [], {"text": "A cat."})
    assert [message["content"] for message in asked] == ["Catalog the book.", "Text: A cat."]
    schema = adapter.schema(pair, {"text": "A cat."}, in_turns=True)
    assert [value["x-ask"] for value in schema["properties"].values()] == ["Write the title.", "Write the pages."]
    # What shows the outputs as JSON is followed by JSON; and so are outputs that no text belongs to.
    chat = dspy.Signature({"history": (dspy.History, dspy.InputField()), **pair.fields}, "Catalog the book.")
    history = dspy.History(messages=[{"text": "A dog.", "title": "Dog", "pages": 3}])
    numbers = dspy.Signature("text -> words: int, pages: int", "Count.")
    for signature, inputs in ((chat, {"history": history, "text": "A cat."}), (numbers, {"text": "A cat."})):
        assert "JSON object with the keys" in adapter.format(signature, [], inputs)[0]["content"]


def test_turns_give_every_output_and_count_all_tokens(model: LanguageModel) -> None:
    signature = dspy.Signature("question -> thoughts, answer, mood: Literal['calm', 'glad']", "Answer the question.")
    question = {"question": "What is the capital of France?"}
    with dspy.context(lm=model.lm, adapter=model.adapter, track_usage=True):
        prediction = dspy.Predict(signature)(**question)
        short = dspy.Predict("question -> answer")(**question)
        assert dspy.Predict(signature)(**question).toDict() == prediction.toDict()
    assert prediction.thoughts.strip()
    assert "Paris" in prediction.answer
    assert prediction.mood in ("calm", "glad")
    (usage,), (one,) = (list(each.get_lm_usage().values()) for each in (prediction, short))
    # Each turn reads what was written before it.
    assert usage["prompt_tokens"] > 3 * one["prompt_tokens"] * 0.9
    assert usage["completion_tokens"] > len(prediction.thoughts.split())


def test_outputs_in_turns_fit_a_context_that_the_prompt_nearly_fills() -> None:
    provider = LocalProvider()
    small = provider.load("", context=1024)
    text = "The ferry to the island does not run in May. " * 60
    signature = dspy.Signature("text -> title, topic, reader, pages: int", "Catalog the book.")
    with dspy.context(lm=small.lm, adapter=small.adapter):
        prediction = dspy.Predict(signature)(text=text, config={"max_tokens": 500})
    assert all(prediction[name].strip() for name in ("title", "topic", "reader"))
    assert isinstance(prediction.pages, int)
    provider.close()


def test_a_rewritten_text_comes_without_talk(model: LanguageModel) -> None:
    with dspy.context(lm=model.lm, adapter=model.adapter):
        fix = dspy.Predict(dspy.Signature("text -> corrected", "Correct the grammar of the text."))
        corrected = fix(text="The price have went up twice this year.").corrected
    assert "price" in corrected
    assert len(corrected.split()) < 20


def test_demos_and_partial_demos_are_used(model: LanguageModel) -> None:
    predict = dspy.Predict("text, tone -> title, pages: int")
    predict.demos = [
        dspy.Example(text="A dog runs.", tone="dry", title="Dog", pages=3),
        dspy.Example(text="A cat sleeps.", title="Cat"),
    ]
    with dspy.context(lm=model.lm, adapter=model.adapter):
        prediction = predict(text="A cow eats.", tone="dry")
    assert prediction.title
    assert isinstance(prediction.pages, int)


def test_reasoning_and_history_work(model: LanguageModel) -> None:
    class Chat(dspy.Signature):
        """Answer the user."""

        history: dspy.History = dspy.InputField()
        message: str = dspy.InputField()
        reply: str = dspy.OutputField()

    with dspy.context(lm=model.lm, adapter=model.adapter):
        history = dspy.History(messages=[{"message": "I am Ana.", "reply": "Hello Ana."}])
        assert dspy.Predict(Chat)(history=history, message="Who am I?", config={"max_tokens": 20}).reply
        thought = dspy.ChainOfThought("question -> answer")(question="What is 2 + 2?")
    assert thought.answer
    assert thought.reasoning


def test_options_are_not_repeated_behind_the_text() -> None:
    signature = dspy.Signature(
        {
            "text": (str, dspy.InputField()),
            "categories": (list[str], dspy.InputField()),
            "classification": (Literal["A b", "C"], dspy.OutputField()),
        },
        "Classify.",
    )
    inputs = {"text": "Some text.", "categories": ["A b", "C"]}
    messages = LocalAdapter().format(signature, [], inputs)
    assert [message["content"] for message in messages] == ["Classify.", "Text: Some text.\nClassification:"]
    listed = LocalAdapter(name_options=True).format(signature, [], inputs)
    assert listed[0]["content"] == "Classify.\nClassification must be one of: A b, C."


def test_answers_that_do_not_fit_are_parse_errors() -> None:
    adapter = LocalAdapter()
    for signature, answer in [("text -> label: Literal['a', 'b']", "c"), ("text -> x, y: int", '{"x": "a"}')]:
        with pytest.raises(AdapterParseError, match="does not fit"):
            adapter.parse(dspy.Signature(signature), answer)


@pytest.mark.parametrize(
    ("signature", "inputs"),
    [
        ("recipient, subject, key_points: list[str] -> email_body", {"recipient": "Ana Lee", "subject": "Launch"}),
        ("text -> summary", {"text": EMAIL}),
        ("topic, tone -> draft", {"topic": "City trees", "tone": "warm"}),
        ("text -> title, summary", {"text": EMAIL}),
    ],
)
def test_no_placeholder_is_left_in_prose(model: LanguageModel, signature: str, inputs: dict[str, Any]) -> None:
    inputs = {"key_points": ["starts Monday"], **inputs} if "key_points" in signature else inputs
    with dspy.context(lm=model.lm, adapter=model.adapter):
        prediction = dspy.Predict(signature)(**inputs, config={"max_tokens": 80})
    for value in prediction.toDict().values():
        assert value.strip()
        assert not set("[]{}") & set(value)
