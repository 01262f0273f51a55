"""What callers may give: aliases, lists as text, optional inputs, data of several kinds, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import hokusai_signatures as pack
from hokusai_core import BaseSignature, SignatureSpec
from hokusai_core.errors import InputError
from hokusai_core.plugin_api import FieldSpec

SPECS: list[SignatureSpec] = [getattr(pack, name).spec for name in pack.__all__]


def inputs_where(wanted: Callable[[FieldSpec], bool]) -> list[Any]:
    found = [(spec, item) for spec in SPECS for item in spec.inputs.values() if wanted(item)]
    assert found
    return [pytest.param(spec, item, id=f"{spec.name}.{item.name}") for spec, item in found]


def required_values(spec: SignatureSpec) -> dict[str, Any]:
    bound = spec.binder.bind(spec.examples[0]["inputs"])
    return {name: value for name, value in bound.items() if spec.inputs[name].required}


@pytest.mark.parametrize(
    ("spec", "item", "alias"),
    [
        pytest.param(spec, item, alias, id=f"{spec.name}.{alias}")
        for spec in SPECS
        for item in spec.inputs.values()
        for alias in item.aliases
    ],
)
def test_an_alias_fills_its_field(spec: SignatureSpec, item: FieldSpec, alias: str) -> None:
    values = required_values(spec)
    renamed = {alias if name == item.name else name: value for name, value in values.items()}
    assert alias in renamed
    assert spec.binder.bind(renamed) == spec.binder.bind(values)
    with pytest.raises(InputError) as caught:
        spec.binder.bind({**values, alias: values[item.name]})
    assert [problem.code for problem in caught.value.problems] == ["duplicate"]


@pytest.mark.parametrize(("spec", "item"), inputs_where(lambda item: item.shape.kind == "list"))
@pytest.mark.parametrize("text", ["First point, second point, third", "First point\nsecond point\nthird"])
def test_a_list_may_be_given_as_text(spec: SignatureSpec, item: FieldSpec, text: str) -> None:
    values = required_values(spec)
    as_text = spec.binder.bind({**values, item.name: text})
    as_list = spec.binder.bind({**values, item.name: ["First point", "second point", "third"]})
    assert as_text == as_list
    assert as_text[item.name] == ["First point", "second point", "third"]


def test_prose_as_key_point_stays_whole() -> None:
    # The output of one signature becomes the input of the next in a chain.
    summary = "Revenue grew to 4 million. Costs, rents and wages fell."
    bound = pack.EmailDraft.spec.binder.bind({"recipient": "Ada", "subject": "Week", "key_points": summary})
    assert bound["key_points"] == [summary]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_optional_inputs_may_be_left_out_or_none(spec: SignatureSpec) -> None:
    values = required_values(spec)
    optional = {name: item for name, item in spec.inputs.items() if not item.required}
    bound = spec.binder.bind(values)
    assert {name: bound[name] for name in optional} == {name: item.default for name, item in optional.items()}
    assert spec.binder.bind({**values, **dict.fromkeys(optional)}) == bound


@pytest.mark.parametrize(("spec", "item"), inputs_where(lambda item: item.required))
def test_a_required_input_must_be_there_and_not_empty(spec: SignatureSpec, item: FieldSpec) -> None:
    values = required_values(spec)
    kinds = {member.kind for member in item.shape.members}
    empty: list[Any] = [value for kind, value in (("str", " \n"), ("list", []), ("dict", {})) if kind in kinds]
    assert empty
    for value in empty:
        assert [problem.code for problem in spec.binder.problems({**values, item.name: value})] == ["empty"]
    del values[item.name]
    assert [(problem.field, problem.code) for problem in spec.binder.problems(values)] == [(item.name, "missing")]


@pytest.mark.parametrize(("spec", "item"), inputs_where(lambda item: not item.required))
def test_an_optional_input_may_be_empty(spec: SignatureSpec, item: FieldSpec) -> None:
    bound = spec.binder.bind({**required_values(spec), item.name: ""})
    assert bound[item.name] == ([] if item.shape.kind == "list" else "")


@pytest.mark.parametrize("signature", [pack.DataAnalysis, pack.ReportGeneration])
@pytest.mark.parametrize("data", ["a,b\n1,2", [{"a": 1, "b": 2.5}], [1, 2, 3], {"a": [1, 2], "b": {"c": None}}])
def test_data_may_be_text_list_or_mapping(signature: type[BaseSignature], data: object) -> None:
    spec = signature.spec
    bound = spec.binder.bind({**required_values(spec), "data": data})
    assert bound["data"] == data
    assert type(bound["data"]) is type(data)


@pytest.mark.parametrize("name", ["SummarizeText.max_length", "DraftText.length"])
@pytest.mark.parametrize("length", ["100 words", "two sentences", 100])
def test_a_length_may_be_text_or_number(name: str, length: str | int) -> None:
    signature, _, field = name.partition(".")
    spec: SignatureSpec = getattr(pack, signature).spec
    bound = spec.binder.bind({**required_values(spec), field: length})
    assert bound[field] == length
    assert type(bound[field]) is type(length)


def test_a_conversation_may_be_text_or_messages() -> None:
    bind = pack.GenerateFollowUp.spec.binder.bind
    messages = [{"role": "user", "content": "Hello"}]
    assert bind({"conversation": "User: Hello"})["conversation"] == "User: Hello"
    assert bind({"conversation": messages})["conversation"] == messages


@pytest.mark.parametrize("categories", [[], "", " , ", ["", " "], ["Praise", ""]])
def test_empty_categories_are_refused(categories: object) -> None:
    problems = pack.ClassifyText.spec.binder.problems({"text": "Fine", "categories": categories})
    assert [(problem.field, problem.code) for problem in problems] == [("categories", "empty")]
