"""First mistakes of people who come from DSPy or LangChain get the line that helps."""

from __future__ import annotations

import re
from typing import Any

import dspy
import pytest

from hokusai_core import BaseSignature, Executor, InputField, OutputField, SignatureChain
from hokusai_core.errors import ConfigurationError, InputError, LanguageModelUnavailable
from hokusai_core.testing.lm import null_lm


class Ask(BaseSignature):
    question: str = InputField()
    answer: str = OutputField()


class ChatModel:
    """As LangChain and the clients of providers have them."""

    model_name = ""


@pytest.fixture
def executor() -> Any:
    with Executor(lm=null_lm(), plugins=[]) as executor:
        executor.register_signature("Ask", Ask)
        yield executor


@pytest.mark.parametrize("method", ["execute_signature", "stream_signature", "astream_signature", "execute_async"])
def test_inputs_as_keyword_arguments(executor: Executor, method: str) -> None:
    with pytest.raises(TypeError) as caught:
        getattr(executor, method)("Ask", question="Why?", timeout=5)
    assert str(caught.value) == (
        "inputs are given as one mapping, not as keyword arguments: write ('Ask', {'question': ...})"
    )
    with pytest.raises(TypeError, match=r"inputs go into the mapping: \{'question': ...\}"):
        executor.execute_signature("Ask", {}, question="Why?")  # type: ignore[call-overload]  # the mistake


@pytest.mark.parametrize(
    ("lm", "told"),
    [
        ("gpt-5", "did you mean 'openai/gpt-5'?"),
        ("claude-sonnet-4-5", "did you mean 'anthropic/claude-sonnet-4-5'?"),
        ("unheard-of", "expected 'provider/model'"),
    ],
)
def test_a_model_without_its_provider(executor: Executor, lm: str, told: str) -> None:
    with pytest.raises(LanguageModelUnavailable) as caught:
        executor.execute_signature("Ask", {"question": "?"}, lm=lm)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("temperature", "write parameters={'temperature': ...}"),
        ("model", "write lm='provider/model'"),
        ("tag", "did you mean 'tags'?"),
    ],
)
def test_arguments_of_other_libraries(executor: Any, name: str, told: str) -> None:
    with pytest.raises(TypeError, match=re.escape(f"unexpected keyword argument {name!r}; {told}")):
        executor.execute_signature("Ask", {"question": "?"}, **{name: "x"})


@pytest.mark.parametrize("inputs", ["Why?", dspy.Example(question="Why?")])
def test_inputs_that_are_no_mapping(executor: Executor, inputs: Any) -> None:
    with pytest.raises(InputError, match=r"got \w+; write \{'question': ...\}"):
        executor.execute_signature("Ask", inputs)


def test_what_is_not_a_model(executor: Executor) -> None:
    with pytest.raises(ConfigurationError, match=r"lm=LM is a class: give a model, such as LM\('openai/gpt-5-mini'\)"):
        executor.execute_signature("Ask", {"question": "?"}, lm=dspy.LM)
    with pytest.raises(ConfigurationError, match=r"lm=ChatModel of .* is not a language model of DSPy"):
        executor.execute_signature("Ask", {"question": "?"}, lm=ChatModel())
    named = ChatModel()
    named.model_name = "gpt-5"
    with pytest.raises(ConfigurationError, match=r"give a dspy\.LM, or a name, here 'openai/gpt-5'"):
        executor.execute_signature("Ask", {"question": "?"}, lm=named)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("invoke", "write executor.execute_signature(name, {...})"),
        ("forward", "write executor.execute_signature(name, {...})"),
        ("ainvoke", "write await executor.aexecute_signature(name, {...})"),
        ("batch", "write executor.execute_batch(name, [{...}, ...])"),
    ],
)
def test_methods_of_other_libraries(executor: Executor, name: str, told: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(executor, name)
    assert str(caught.value) == f"an executor has no {name!r}; {told}"
    with pytest.raises(AttributeError, match=r"a signature has no .*\(Ask, "):
        getattr(Ask, name)
    with pytest.raises(AttributeError, match="has no attribute 'nonesuch'"):
        _ = executor.nonesuch
    with pytest.raises(AttributeError, match=r"write executor.execute_chain\(chain, \{...\}\)"):
        _ = SignatureChain("one").invoke


def test_outputs_as_attributes_of_a_result(executor: Executor) -> None:
    result = executor.execute_signature("Ask", {"question": "?"})
    with pytest.raises(AttributeError, match=r"write result\['answer'\] or result.outputs.answer"):
        _ = result.answer
    with pytest.raises(AttributeError, match=r"no attribute 'content'; its outputs are result\['answer'\]"):
        _ = result.content


def test_a_signature_that_is_written_out(executor: Executor) -> None:
    result = executor.execute_signature("question -> words: int", {"question": "?"})
    assert isinstance(result["words"], int)
