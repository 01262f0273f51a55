"""Signature classes handed to DSPy as they are."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, Literal

import attrs
import dspy
import pytest
from dspy.lm15 import Message, Response, TextPart, Usage

from hokusai_core.base_signature import BaseSignature
from hokusai_core.signatures import InputField, OutputField


@attrs.define
class Point:
    x: int


class Classify(BaseSignature):
    """Say what it is."""

    text: str = InputField("The text")
    fields: str = InputField(default="none")
    label: Literal["good", "bad"] = OutputField("The label")


class Locate(BaseSignature):
    """Say where it is."""

    text: str = InputField()
    place: Point = OutputField()


class Engine:
    """Answers every request with the same text."""

    supports_response_schema = supports_function_calling = supports_reasoning = False
    supported_params = frozenset({"temperature", "max_tokens"})

    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.prompts: list[str] = []

    def __deepcopy__(self, memo: Any) -> Engine:
        return self

    def complete(self, request: Any) -> Response:
        self.prompts.append(str(request))
        return Response(
            id=None, model=request.model, message=Message.assistant(TextPart(self.answer)), finish_reason="stop",
            usage=Usage(input_tokens=1, output_tokens=1),
        )  # fmt: skip

    def stream(self, request: Any) -> Iterator[Any]:
        raise NotImplementedError

    def close(self) -> None:
        pass


def answering(**fields: str) -> dspy.LM:
    answer = "\n\n".join(f"[[ ## {name} ## ]]\n{value}" for name, value in {**fields, "completed": ""}.items())
    return dspy.LM("test/fixed", engine=Engine(answer), cache=False, num_retries=0)


def test_predict_takes_the_class() -> None:
    predict = dspy.Predict(Classify)
    with dspy.context(lm=answering(label="good")):
        assert predict(text="x").label == "good"
    assert predict.signature is Classify
    assert predict.deepcopy().signature is Classify
    assert copy.deepcopy(Classify) is Classify


def test_chain_of_thought_takes_the_class() -> None:
    program = dspy.ChainOfThought(Classify)
    with dspy.context(lm=answering(reasoning="because", label="bad")):
        answer = program(text="x")
    assert (answer.reasoning, answer.label) == ("because", "bad")


def test_an_attrs_model_is_mirrored_for_dspy_and_converted_back() -> None:
    with dspy.context(lm=answering(place='{"x": 3}')):
        answer = dspy.Predict(Locate)(text="x")
    assert Locate.spec.codec.coerce(dict(answer.items())) == ({"place": Point(3)}, [])


def test_what_dspy_reads_is_what_its_own_class_says() -> None:
    own = Classify.to_dspy()
    assert Classify.to_dspy() is own
    assert issubclass(own, dspy.Signature)
    assert Classify.instructions == "Say what it is."
    assert list(Classify.input_fields) == list(own.input_fields)
    assert list(Classify.output_fields) == ["label"]
    assert list(Classify.fields) == list(own.fields)
    assert Classify.signature == own.signature
    assert Classify.equals(own)
    assert Classify.with_instructions("Other.").instructions == "Other."
    assert Classify.instructions == "Say what it is."
    assert "extra" in Classify.append("extra", dspy.OutputField()).output_fields


def test_optimizers_work_on_such_predictors() -> None:
    examples = [
        dspy.Example(text=str(number), fields="f", label="good").with_inputs("text", "fields") for number in range(4)
    ]
    lm = answering(label="good")
    with dspy.context(lm=lm):
        few = dspy.LabeledFewShot(k=2).compile(dspy.Predict(Classify), trainset=examples)
        boot = dspy.BootstrapFewShot(metric=lambda gold, pred, trace=None: gold.label == pred.label).compile(
            dspy.Predict(Classify), trainset=examples
        )
    assert len(few.demos) == 2
    assert boot.demos
    state = boot.dump_state()
    assert state["signature"]["instructions"] == "Say what it is."
    loaded = dspy.Predict(Classify)
    loaded.load_state(state)
    assert loaded.signature.instructions == "Say what it is."


def test_an_instruction_optimizer_leaves_the_class_alone() -> None:
    predict = dspy.Predict(Classify)
    predict.signature = predict.signature.with_instructions("Better.")
    assert predict.signature.instructions == "Better."
    assert Classify.spec.instructions == "Say what it is."
    with pytest.raises(AttributeError):
        Classify.instructions = "Better."
