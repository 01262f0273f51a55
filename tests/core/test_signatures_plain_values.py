"""Quick checks of defaults and examples say "fits" only where the full checks find nothing."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal

import pytest

from hokusai_core.signatures import FieldSpec, SignatureSpec, example_problems
from hokusai_core.signatures.field_types import parse_annotation
from hokusai_core.signatures.plain_values import has_plain_type, is_plain_example
from hokusai_core.signatures.scalar_input import CoercionError

DEEP: list[Any] = []
for _ in range(50):
    DEEP = [DEEP]
CYCLE: list[Any] = []
CYCLE.append(CYCLE)
VALUES = [
    "x", "", " ", "3", 3, True, 2.5, float("nan"), float("inf"), None, [], [1], ["x"], ("x",), [["x"]], {"a": 1},
    {"a": "x"},     {1: "x"}, {"a": float("nan")}, [float("nan")], object(), b"x", DEEP, CYCLE, {"x"},
]  # fmt: skip
TYPES = [
    str, int, bool, float, list[str], list[int], list[Any], dict[str, int], dict[str, Any], Any, str | int,
    str | list[Any],
    str | None, Literal["x"], tuple[str, ...], list[str] | dict[str, Any], Annotated[list[str], "note"],
]  # fmt: skip


@pytest.mark.parametrize("annotation", TYPES, ids=str)
def test_what_is_plain_is_accepted_by_the_full_check_too(annotation: Any) -> None:
    item = FieldSpec("x", "input", annotation)
    for value in VALUES:
        if has_plain_type(parse_annotation(annotation), value):
            try:
                item.coerce(value)
            except CoercionError as error:  # pragma: no cover - the failure of this test
                pytest.fail(f"{value!r} passes the quick check of {annotation} and not the full one: {error}")


def test_usual_values_are_plain() -> None:
    for annotation, value in [(str, "x"), (list[str], ["a"]), (float, 0.5), (dict[str, Any], {"a": [1, "b"]})]:
        assert has_plain_type(parse_annotation(annotation), value)


SPEC = SignatureSpec(
    "Sort",
    "Sort it.",
    (
        FieldSpec("text", "input", aliases=("document",)),
        FieldSpec("labels", "input", list[str]),
        FieldSpec("limit", "input", int, required=False, default=3, ge=1),
        FieldSpec("label", "output", choices_from="labels"),
        FieldSpec("score", "output", float, ge=0, le=1),
    ),
)
GOOD_INPUTS = {"text": "a", "labels": ["x", "y"], "limit": 2}
GOOD_OUTPUTS = {"label": "x", "score": 0.5}


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ({"text": " "}, {}),
        ({"document": "b"}, {}),
        ({"text": 3}, {}),
        ({"labels": []}, {}),
        ({"labels": ["x", " "]}, {}),
        ({"labels": ["z"]}, {}),
        ({"labels": "z, y"}, {}),
        ({"labels": '["x", 1]'}, {}),
        ({"limit": 0}, {}),
        ({"other": 1}, {}),
        ({}, {"label": "z"}),
        ({}, {"label": ""}),
        ({}, {"score": 2.0}),
        ({}, {"score": None}),
        ({}, {"score": float("nan")}),
        ({}, {"other": 1}),
    ],
)
def test_an_example_with_a_defect_is_left_to_the_full_check(inputs: dict[str, Any], outputs: dict[str, Any]) -> None:
    example = {"inputs": GOOD_INPUTS | inputs, "outputs": GOOD_OUTPUTS | outputs}
    assert not is_plain_example(SPEC, example)


def test_a_good_example_is_plain_under_names_and_aliases() -> None:
    for inputs in (GOOD_INPUTS, {"document": "a", "labels": ("x", "y")}, {"text": "a", "labels": "x, y"}):
        example = {"inputs": inputs, "outputs": GOOD_OUTPUTS}
        assert is_plain_example(SPEC, example)
        spec = SignatureSpec(SPEC.name, SPEC.instructions, SPEC.fields, examples=(example,))
        assert example_problems(spec) == []


def test_a_class_with_a_bad_example_cannot_be_used() -> None:
    from hokusai_core import BaseSignature, InputField, OutputField
    from hokusai_core.errors import SignatureDefinitionError

    class Rate(BaseSignature):
        """Rate it."""

        text: str = InputField()
        score: float = OutputField(ge=0, le=1)
        examples = ({"inputs": {"text": "a"}, "outputs": {"score": 7.0}},)

    with pytest.raises(SignatureDefinitionError, match="score"):
        Rate.spec  # noqa: B018


def test_definitions_with_plain_examples_load_no_module_that_reads_values() -> None:
    import subprocess

    code = """
import sys
from hokusai_core import BaseSignature, InputField, OutputField
class Sum(BaseSignature):
    "Sum up."
    text: str = InputField()
    length: str | int = InputField(default="short")
    summary: str = OutputField()
    examples = ({"inputs": {"text": "a"}, "outputs": {"summary": "b"}},)
Sum.spec
print([name for name in sys.modules if name.endswith(("lenient_input", "output_codec", "scalar_input", "orjson"))])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
