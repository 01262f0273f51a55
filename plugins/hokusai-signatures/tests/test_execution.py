"""The signatures in an executor, with a language model that says what the test tells it to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import hokusai_signatures as pack
from hokusai_core import Executor
from hokusai_core.errors import InputError, OutputError
from hokusai_core.testing.lm import null_lm
from hokusai_signatures import plugin


@pytest.fixture
def executor() -> Iterator[Executor]:
    with Executor(plugins=["signatures"], cache_enabled=False, lm=null_lm()) as made:
        yield made


def classify(executor: Executor, answer: str, categories: Any) -> Any:
    lm = null_lm(answers={"classification": answer})
    inputs = {"text": "I was charged twice", "categories": categories}
    return executor.execute_signature("ClassifyText", inputs, lm=lm)


@pytest.mark.parametrize("name", pack.__all__)
def test_it_runs_by_its_short_and_its_qualified_name(executor: Executor, name: str) -> None:
    spec = getattr(pack, name).spec
    for known_as in (name, f"signatures/{name}"):
        for example in spec.examples:
            result = executor.execute_signature(known_as, example["inputs"])
            assert set(result) == set(spec.outputs)
            assert result.signature == f"signatures/{name}"
            assert result.signature_version == spec.version


@pytest.mark.parametrize("name", pack.__all__)
def test_the_model_is_shown_the_instructions_and_every_input(name: str) -> None:
    spec = getattr(pack, name).spec
    lm = null_lm(keep_requests=True)
    with Executor(plugins=["signatures"], cache_enabled=False, lm=lm) as executor:
        executor.execute_signature(name, spec.examples[0]["inputs"])
    (request,) = lm.engine.requests
    system = " ".join(str(request.system).split())
    assert all(line.strip() in system for line in spec.instructions.splitlines())
    user = request.messages[-1].text
    assert all(f"[[ ## {field} ## ]]" in user for field in spec.inputs)


@pytest.mark.parametrize("name", pack.__all__)
def test_testing_mode_answers_with_the_examples(name: str) -> None:
    spec = getattr(pack, name).spec
    with Executor(plugins=["signatures"], mode="testing") as executor:
        for example in spec.examples:
            assert dict(executor.execute_signature(name, example["inputs"])) == example["outputs"]


def test_an_answer_beyond_the_categories_is_an_error(executor: Executor) -> None:
    with pytest.raises(OutputError) as caught:
        classify(executor, "Weather", ["Billing", "Praise"])
    assert "classification" in str(caught.value)


@pytest.mark.parametrize(
    "categories", [["Billing", "Praise"], "Billing, Praise", "Billing\nPraise", ["Billing", "Praise", "Billing"]]
)
def test_the_classification_is_one_of_the_categories(executor: Executor, categories: Any) -> None:
    assert classify(executor, "Praise", categories)["classification"] == "Praise"
    # An answer that the test leaves to the language model: it sees the categories as the only values of the type.
    result = executor.execute_signature("ClassifyText", {"text": "I was charged twice", "categories": categories})
    assert result["classification"] == "Billing"


def test_one_category_is_enough(executor: Executor) -> None:
    assert classify(executor, "Only", ["Only"])["classification"] == "Only"


def test_categories_with_quotes_and_other_scripts(executor: Executor) -> None:
    for category in ('It\'s "late"', "Überfällig", "請求書", "a/b; c"):
        assert classify(executor, category, [category, "Other"])["classification"] == category


def test_nothing_is_paid_for_empty_categories() -> None:
    lm = null_lm()
    with Executor(plugins=["signatures"], lm=lm) as executor, pytest.raises(InputError, match="categories"):
        executor.execute_signature("ClassifyText", {"text": "Fine", "categories": []})
    assert lm.engine.calls == 0


@pytest.mark.parametrize("confidence", ["1.5", "-0.1", "nan", "high"])
def test_a_confidence_is_a_number_from_0_to_1(executor: Executor, confidence: str) -> None:
    lm = null_lm(answers={"confidence": confidence})
    with pytest.raises(OutputError, match="confidence"):
        executor.execute_signature("ResolveQuery", {"query": "Why?"}, lm=lm)
    fine = executor.execute_signature("ResolveQuery", {"query": "Why?"}, lm=null_lm(answers={"confidence": "0.75"}))
    assert fine["confidence"] == 0.75


@pytest.mark.parametrize(
    ("name", "output"), [("GenerateFollowUp", "follow_up_questions"), ("DataAnalysis", "insights")]
)
def test_a_list_without_items_is_an_error(executor: Executor, name: str, output: str) -> None:
    inputs = getattr(pack, name).spec.examples[0]["inputs"]
    with pytest.raises(OutputError, match=output):
        executor.execute_signature(name, inputs, lm=null_lm(answers={output: []}))


def test_the_listing_has_all_of_them() -> None:
    with Executor(plugins=["signatures"]) as executor:
        assert {signature.__name__ for signature in plugin.provide_signatures()} <= set(executor.list_signatures())
