"""The pack as a whole: names, fields, metadata, examples and documentation."""

from __future__ import annotations

import json
import re
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path

import pytest

import hokusai_signatures as pack
from hokusai_core import BaseSignature, SignatureSpec
from hokusai_core.signatures import example_problems
from hokusai_signatures import plugin

#: Inputs in order, ``?`` for an optional one, ``|`` before an alias; then outputs. Renaming any of them breaks callers.
CONTRACT = {
    "DraftText": "topic, tone?, length?, audience? -> draft",
    "ReviseText": "original_text|text, revision_goals -> revised_text",
    "ExpandText": "core_idea|text, aspects_to_expand? -> expanded_text",
    "RefineText": "text, criteria? -> refined_text",
    "CritiqueText": "text, criteria? -> critique",
    "SummarizeText": "document|text, max_length? -> summary",
    "ExtractInfo": "document|text, info_types -> extracted_info",
    "ClassifyText": "text|document, categories -> classification",
    "RespondToUser": "user_query|user_message|user_input, context?, tone? -> response",
    "ClarifyIntent": "user_input|user_query|user_message, possible_intents? -> clarifying_question",
    "GenerateFollowUp": "conversation, topic?, goal? -> follow_up_questions",
    "ResolveQuery": "query|user_query, context? -> answer, confidence",
    "EmailDraft": "recipient, subject, key_points, tone? -> email_body",
    "CodeGeneration": "task|description, language, requirements? -> code, explanation",
    "DataAnalysis": "data, question -> analysis, insights",
    "ReportGeneration": "title|topic, data, sections? -> report",
}
CATEGORIES = {
    "text-generation": {"DraftText", "ReviseText", "ExpandText", "RefineText"},
    "analysis": {"CritiqueText", "SummarizeText", "ExtractInfo", "ClassifyText"},
    "conversation": {"RespondToUser", "ClarifyIntent", "GenerateFollowUp", "ResolveQuery"},
    "task": {"EmailDraft", "CodeGeneration", "DataAnalysis", "ReportGeneration"},
}
PLACEHOLDER = re.compile(
    r"\{\w+\}|\$\{|\[(?:your|the|recipient|sender|name|date|company)\b[^\]]*\]|<[a-z_ ]+>|\bTODO\b", re.I
)

names = pytest.mark.parametrize("name", sorted(CONTRACT))


def spec_of(name: str) -> SignatureSpec:
    signature: type[BaseSignature] = getattr(pack, name)
    return signature.spec


def written(spec: SignatureSpec) -> str:
    inputs = ["|".join((item.name, *item.aliases)) + ("" if item.required else "?") for item in spec.inputs.values()]
    return f"{', '.join(inputs)} -> {', '.join(spec.outputs)}"


def test_the_public_names_are_the_signatures() -> None:
    assert sorted(pack.__all__) == sorted(CONTRACT)
    assert all(issubclass(getattr(pack, name), BaseSignature) for name in pack.__all__)


@names
def test_fields_are_as_documented(name: str) -> None:
    assert written(spec_of(name)) == CONTRACT[name]


def test_categories() -> None:
    assert {spec_of(name).category for name in CONTRACT} == set(CATEGORIES)
    assert all(spec_of(name).category == category for category, members in CATEGORIES.items() for name in members)


@names
def test_every_signature_and_field_is_described(name: str) -> None:
    spec = spec_of(name)
    assert re.fullmatch(r"\d+\.\d+\.\d+", spec.version)
    assert spec.tags
    assert spec.instructions.endswith(".")
    assert all(item.description for item in spec.fields)


@names
def test_instructions_hold_nothing_that_a_model_could_echo_as_a_template(name: str) -> None:
    spec = spec_of(name)
    texts = [spec.instructions, *(item.description for item in spec.fields)]
    assert not [text for text in texts if PLACEHOLDER.search(text) or "[" in text or "{" in text]


@names
def test_examples_fit_the_signature(name: str) -> None:
    spec = spec_of(name)
    assert len(spec.examples) >= 2
    assert example_problems(spec) == []
    for example in spec.examples:
        bound = spec.binder.bind(example["inputs"])
        assert set(bound) == set(spec.inputs)
        assert set(example["outputs"]) == set(spec.outputs)
        assert spec.codec.check(bound, example["outputs"]) == []
        assert not PLACEHOLDER.search(json.dumps(example["outputs"]))


@names
def test_a_wrong_example_would_be_noticed(name: str) -> None:
    spec = spec_of(name)
    example = spec.examples[0]
    for output in spec.outputs:
        broken = {**example, "outputs": {**example["outputs"], output: ""}}
        assert example_problems(spec.evolve(examples=(broken,))), output


@names
def test_every_input_is_shown_by_an_example(name: str) -> None:
    spec = spec_of(name)
    shown = {given for example in spec.examples for given in example["inputs"]}
    assert not [item.name for item in spec.inputs.values() if not shown & {item.name, *item.aliases}]


@names
def test_it_round_trips_as_json(name: str) -> None:
    spec = spec_of(name)
    text = json.dumps(spec.to_dict())
    again = SignatureSpec.from_dict(json.loads(text))
    assert again.fingerprint == spec.fingerprint
    assert json.dumps(again.to_dict()) == text


def test_the_hook_offers_every_signature_once() -> None:
    assert [signature.__name__ for signature in plugin.provide_signatures()] == sorted(CONTRACT)


def test_the_installed_entry_point_leads_to_the_hook() -> None:
    (found,) = entry_points(group="hokusai", name="signatures")
    assert found.load() is plugin


def test_the_package_is_typed() -> None:
    assert files("hokusai_signatures").joinpath("py.typed").is_file()


def test_a_readme_row_for_every_signature() -> None:
    readme = Path(__file__).parent.parent.joinpath("README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \|", readme, re.M)
    shown = {name: f"{inputs} -> {outputs}".replace("`", "").replace("\\|", "|") for name, inputs, outputs in rows}
    assert shown == CONTRACT
