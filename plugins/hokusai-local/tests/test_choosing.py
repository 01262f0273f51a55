from __future__ import annotations

from typing import Literal

import dspy
import pytest

from hokusai_core import LanguageModel
from hokusai_local import LlamaEngine, LocalAdapter, LocalProvider

SENTENCES = {
    "positive": [
        "I love this phone, the battery lasts for days.",
        "What a wonderful surprise, thank you all!",
        "The hotel room was clean and the view was stunning.",
        "My kids laughed all evening, great movie.",
        "Best coffee in town, I come back every morning.",
        "Setup took two minutes and everything simply works.",
        "She explained everything patiently and solved my problem.",
        "An inspiring talk, I learned a lot.",
        "Delicious cake and very friendly staff.",
        "Comfortable shoes, I wear them every day.",
    ],
    "negative": [
        "The soup was cold and the waiter was rude.",
        "It broke after one day and my mails were never answered.",
        "I waited two hours and then they cancelled the flight.",
        "A dull plot and terrible acting.",
        "The parcel arrived damaged and half of it was missing.",
        "The app crashes every time I open the camera.",
        "I regret buying this jacket, the zip is already stuck.",
        "The battery is dead by noon, useless.",
        "Too expensive for such poor quality.",
        "I want my money back.",
    ],
}


def sentiment() -> type[dspy.Signature]:
    class Sentiment(dspy.Signature):
        """Classify the sentiment of the text."""

        text: str = dspy.InputField()
        classification: Literal["positive", "negative"] = dspy.OutputField()

    return Sentiment


def right_answers(model: LanguageModel) -> tuple[int, set[str]]:
    right, answers = 0, set()
    with dspy.context(lm=model.lm, adapter=model.adapter):
        for label, texts in SENTENCES.items():
            for text in texts:
                answer = dspy.Predict(sentiment())(text=text).classification
                answers.add(answer)
                right += answer == label
    return right, answers


def test_calibration_beats_the_bias_for_one_label(model: LanguageModel, provider: LocalProvider) -> None:
    calibrated, answers = right_answers(model)
    assert answers == {"positive", "negative"}
    assert calibrated >= 16
    assert calibrated >= right_answers(provider.load("", calibrate=False))[0]


def test_every_option_can_be_chosen_whatever_its_characters(engine: LlamaEngine, model: LanguageModel) -> None:
    labels = ['say "yes"', "naïve", "a\\b", "😀 happy", "spam", "spam mail", "日本"]
    signature = dspy.Signature(
        {"text": (str, dspy.InputField()), "label": (Literal[tuple(labels)], dspy.OutputField())}, "Choose."
    )
    schema = LocalAdapter().schema(signature, {"text": "x"})
    assert schema["enum"] == labels
    with dspy.context(lm=model.lm, adapter=model.adapter):
        answers = {dspy.Predict(signature)(text=f"The answer is {label}.").label for label in labels}
    assert answers <= set(labels)


def test_shares_are_reported_and_sampled_from(model: LanguageModel) -> None:
    with dspy.context(lm=model.lm, adapter=model.adapter):
        hot = {
            dspy.Predict(sentiment())(text="It is a chair.", config={"temperature": 2.0, "seed": seed}).classification
            for seed in range(8)
        }
    assert hot == {"positive", "negative"}


@pytest.mark.parametrize("count", [1, 60])
def test_any_number_of_options(model: LanguageModel, count: int) -> None:
    labels = tuple(f"option {number}" for number in range(count))
    signature = dspy.Signature({"text": (str, dspy.InputField()), "label": (Literal[labels], dspy.OutputField())})
    with dspy.context(lm=model.lm, adapter=model.adapter):
        assert dspy.Predict(signature)(text="The seventh, please.").label in labels
