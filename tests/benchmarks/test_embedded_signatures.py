"""The checks behind the page on the embedded model: they must be able to fail."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import hokusai_signatures as pack

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("embedded_signatures")


@pytest.fixture
def cases(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[dict[str, Any]]]:
    monkeypatch.syspath_prepend(str(FOLDER))
    found: dict[str, list[dict[str, Any]]] = importlib.import_module("embedded_cases").CASES
    return found


def test_there_are_five_cases_for_each_signature(cases: dict[str, list[dict[str, Any]]]) -> None:
    assert sorted(cases) == sorted(pack.__all__)
    for name, inputs in cases.items():
        binder = getattr(pack, name).spec.binder
        assert [binder.problems(given) for given in inputs] == [[]] * 5


def test_no_case_is_an_example_of_its_signature(cases: dict[str, list[dict[str, Any]]]) -> None:
    for name, inputs in cases.items():
        spec = getattr(pack, name).spec
        known = [spec.binder.bind(example["inputs"]) for example in spec.examples]
        assert not [given for given in inputs if spec.binder.bind(given) in known], name


INPUTS = {"recipient": "Ada", "subject": "Lunch [moved]", "key_points": ["At one"], "tone": "brief"}


def problems(script: ModuleType, text: str) -> list[str]:
    found: list[str] = script.find_problems(pack.EmailDraft.spec, INPUTS, {"email_body": text})
    return found


def test_a_fine_answer_has_no_problem(script: ModuleType) -> None:
    assert (
        problems(script, "Subject: Lunch\n\nDear Ada,\n\nlunch [moved] is at one (not two), see [1].\n\nBest wishes")
        == []
    )


@pytest.mark.parametrize(
    "text",
    [
        "Dear [Name],",
        "Dear [1st Name],",
        "Dear {recipient},",
        "{{#1}}",
        "{email_body}",
        "${email_body}",
        "<email_body>",
        "Hello <your name>",
        "",
        "...",
        pack.EmailDraft.spec.outputs["email_body"].description,
        " ".join(pack.EmailDraft.spec.instructions.split()),
        "Subject: Lunch\nKey points: At one",
    ],
)
def test_what_is_no_answer_is_noticed(script: ModuleType, text: str) -> None:
    assert problems(script, text)


def test_a_missing_output_is_noticed(script: ModuleType) -> None:
    assert script.find_problems(pack.EmailDraft.spec, INPUTS, {})


def test_brackets_belong_into_code(script: ModuleType) -> None:
    spec = pack.CodeGeneration.spec
    outputs = {"code": 'print(f"{name} {names[0]}") // Array<string>', "explanation": "It prints."}
    assert script.find_problems(spec, {"task": "Greet", "language": "Python"}, outputs) == []
    assert script.find_problems(spec, {"task": "Greet", "language": "Python"}, {**outputs, "code": "{code}"})


def test_a_cell_of_the_table_stays_one_cell(script: ModuleType) -> None:
    assert script.shortened("a | b\nc <d> [e](f)") == "a \\| b c &lt;d> \\[e](f)"
    assert len(script.shortened("word " * 200)) < 270
