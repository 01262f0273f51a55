"""From a spec to the DSPy class and back."""

from __future__ import annotations

import datetime
import decimal
import gc
import uuid
import warnings
import weakref
from typing import Annotated, Any, Literal

import annotated_types
import attrs
import dspy
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from hokusai_core.dspy_bridge import OPEN_OUTPUTS, from_dspy, spec_of_program, to_dspy
from hokusai_core.dspy_bridge.to_dspy import safe_names
from hokusai_core.errors import SignatureDefinitionError
from hokusai_core.signatures.signature_string import from_string
from hokusai_core.signatures.spec import FieldSpec, SignatureSpec

SPEC = SignatureSpec(
    "Rate",
    "Rate the text.",
    (
        FieldSpec("text", "input", str, "What to rate"),
        FieldSpec("tone", "input", str, required=False, default="kind"),
        FieldSpec("score", "output", float, "From 0 to 1", ge=0, le=1),
        FieldSpec("label", "output", Literal["good", "bad"]),
        FieldSpec("code", "output", str, pattern="^[A-Z]+$", max_length=3),
    ),
)


def test_fields_descriptions_types_defaults_and_constraints() -> None:
    signature = to_dspy(SPEC)
    assert signature.instructions == "Rate the text."
    assert signature.__name__ == "Rate"
    assert list(signature.input_fields) == ["text", "tone"]
    assert list(signature.output_fields) == ["score", "label", "code"]
    fields = signature.model_fields
    assert fields["text"].json_schema_extra["desc"] == "What to rate"
    assert fields["tone"].default == "kind"
    assert [
        (type(item).__name__, vars(item) if hasattr(item, "__dict__") else None) for item in fields["score"].metadata
    ]
    assert fields["score"].metadata[0].ge == 0
    assert fields["score"].metadata[1].le == 1
    assert fields["label"].annotation == Literal["good", "bad"]
    assert "^[A-Z]+$" in fields["code"].json_schema_extra["constraints"]


def test_the_same_class_for_the_same_spec_and_choices() -> None:
    spec = SPEC.evolve()
    assert to_dspy(spec) is to_dspy(spec)
    narrowed = to_dspy(spec, {"code": ("A", "B")})
    assert narrowed is to_dspy(spec, {"code": ("A", "B")})
    assert narrowed is not to_dspy(spec)
    assert narrowed.model_fields["code"].annotation == Literal["A", "B"]
    assert to_dspy(SPEC.evolve()) is not to_dspy(spec)  # an equal spec may hold other classes


def test_choices_narrow_lists_and_optional_outputs() -> None:
    spec = SignatureSpec(
        "S", "Do.", (FieldSpec("a", "input"), FieldSpec("b", "output", list[str]), FieldSpec("c", "output", str | None))
    )
    fields = to_dspy(spec, {"b": ("x",), "c": ("y",)}).model_fields
    assert fields["b"].annotation == list[Literal["x"]]
    assert fields["c"].annotation == Literal["y"] | None


def test_variants_are_bounded_and_go_with_their_spec() -> None:
    spec = SPEC.evolve()
    for number in range(80):
        last = weakref.ref(to_dspy(spec, {"code": (f"c{number}",)}))
    assert len(spec.renderings) == 64
    assert last() is not None
    del spec
    gc.collect()
    assert last() is None


ODD = [
    "copy", "json", "schema", "fields", "instructions", "signature", "items", "lm", "config", "demos", "self", "_x",
    "__x", "model_dump", "model_validate_me", "model_config", "class", "keys", "completed", "mro", "register",
    "logprobs", "copy_",
]  # fmt: skip


@given(st.lists(st.sampled_from([*ODD, "text", "x"]), min_size=2, max_size=8, unique=True))
def test_any_field_name_works_without_a_warning(names: list[str]) -> None:
    fields = [FieldSpec(name, "output" if position else "input") for position, name in enumerate(names)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        signature = to_dspy(SignatureSpec("Odd", "Do.", fields))
    safe = safe_names(names)
    assert list(signature.fields) == [safe[name] for name in names]
    assert len(set(safe.values())) == len(names)


def test_ordinary_names_stay() -> None:
    names = ["text", "document", "name", "metadata", "class", "from", "answer", "title", "data", "language", "code"]
    assert list(safe_names(names).values()) == names


def test_attrs_models_are_mirrored() -> None:
    @attrs.define
    class Person:
        name: str

    spec = SignatureSpec("S", "Do.", (FieldSpec("a", "input"), FieldSpec("people", "output", list[Person])))
    system = dspy.ChatAdapter().format_system_message(to_dspy(spec))
    assert '"name"' in system


def test_a_spec_survives_the_way_through_dspy() -> None:
    spec = from_dspy(to_dspy(SPEC))
    assert [attrs.evolve(item) for item in spec.fields] == list(SPEC.fields)
    assert (spec.name, spec.instructions) == (SPEC.name, SPEC.instructions)


def test_a_dspy_class_keeps_its_prompt() -> None:
    class Judge(dspy.Signature):  # type: ignore[misc]
        """Judge it."""

        text: str = dspy.InputField(desc="the text")
        strict: bool = dspy.InputField(default=False)
        score: int = dspy.OutputField(ge=1, le=5)
        reasons: list[str] = dspy.OutputField(min_length=1)

    spec = from_dspy(Judge)
    assert spec.inputs["strict"].required is False
    assert (spec.outputs["score"].ge, spec.outputs["score"].le, spec.outputs["reasons"].min_length) == (1, 5, 1)
    adapter = dspy.ChatAdapter()
    assert adapter.format_system_message(to_dspy(spec)) == adapter.format_system_message(Judge)


def test_every_constraint_and_default_is_kept() -> None:
    fields = {
        "a": (list[str], dspy.InputField(default_factory=list, max_length=3)),
        "b": (int, dspy.OutputField(desc="a number", gt=3, lt=9, multiple_of=2)),
        "c": (str, dspy.OutputField(default="none", pattern="^n")),
        "d": (decimal.Decimal, dspy.OutputField(max_digits=4, decimal_places=1)),
    }
    signature = dspy.Signature(fields, "Do.")
    spec = from_dspy(signature)
    assert (spec.inputs["a"].required, spec.inputs["a"].default) == (False, [])
    assert (spec.outputs["c"].required, spec.outputs["c"].default) == (False, "none")
    constraints = [item.constraints.to_dict() for item in spec.fields]
    assert constraints == [
        {"max_length": 3},
        {"gt": 3, "lt": 9, "multiple_of": 2},
        {"pattern": "^n"},
        {"max_digits": 4, "decimal_places": 1},
    ]
    assert [item.field for item in spec.codec.check({}, {"b": 9, "c": "x", "d": "1.23"})] == ["b", "c", "d"]
    assert spec.codec.coerce({"b": 4, "d": "1.5"}) == ({"b": 4, "c": "none", "d": decimal.Decimal("1.5")}, [])
    given = [field for field in fields if field != "c"]  # Hokusai words a pattern itself
    before, after = (
        {name: each.fields[name].json_schema_extra.get("constraints") for name in given}
        for each in (signature, to_dspy(spec))
    )
    assert before == after


@pytest.mark.parametrize(
    "rule", [pydantic.AfterValidator(abs), pydantic.Field(strict=True), annotated_types.Predicate(bool)]
)
def test_a_rule_that_cannot_be_kept_is_refused(rule: Any) -> None:
    signature = dspy.Signature({"a": (str, dspy.InputField()), "n": (Annotated[int, rule], dspy.OutputField())}, "Do.")
    if isinstance(rule, FieldInfo):
        assert from_dspy(signature).outputs["n"].annotation is int  # values are exact anyway
        return
    with pytest.raises(SignatureDefinitionError, match=r"field 'n': has .* a rule that signatures do not keep"):
        from_dspy(signature)


def test_validators_of_a_dspy_signature_are_refused() -> None:
    class Checked(dspy.Signature):
        """Do."""

        a: str = dspy.InputField()
        n: int = dspy.OutputField()

        @pydantic.field_validator("n")
        @classmethod
        def even(cls, value: int) -> int:
            return value

    class Short(dspy.Signature):
        """Do."""

        model_config = pydantic.ConfigDict(str_max_length=2)
        a: str = dspy.InputField()
        n: str = dspy.OutputField()

    for signature, rule in ((Checked, "even"), (Short, "str_max_length")):
        with pytest.raises(SignatureDefinitionError, match=f"{rule}.* is a rule of pydantic"):
            from_dspy(signature)


def test_a_type_that_cannot_be_handled_is_named() -> None:
    signature = dspy.Signature({"a": (str, dspy.InputField()), "when": (bytes, dspy.OutputField())}, "Do.")
    with pytest.raises(SignatureDefinitionError, match="when"):
        from_dspy(signature)


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ("question -> answer", {"question": str, "answer": str}),
        ("q: str, n: int -> a: float, ok: bool", {"q": str, "n": int, "a": float, "ok": bool}),
        ("a: list[str] -> b: dict[str, list[int]]", {"a": list[str], "b": dict[str, list[int]]}),
        ("a -> b: Literal['x', \"y\", 3, -1, True]", {"a": str, "b": Literal["x", "y", 3, -1, True]}),
        ("a: Optional[int] -> b: str | None", {"a": int | None, "b": str | None}),
        ("a: typing.List[str] -> b: Union[int, str]", {"a": list[str], "b": int | str}),
        ("a: date -> b: datetime.datetime | None", {"a": datetime.date, "b": datetime.datetime | None}),
        ("a: tuple[str, ...] -> b: tuple[str, int]", {"a": tuple[str, ...], "b": tuple[str, int]}),
        ("a: set[Decimal] -> b: frozenset[UUID]", {"a": set[decimal.Decimal], "b": frozenset[uuid.UUID]}),
        ("a: Any -> b: list", {"a": Any, "b": list}),
    ],
)
def test_signature_strings(text: str, types: dict[str, Any]) -> None:
    spec = from_string(text)
    assert {item.name: item.annotation for item in spec.fields} == types
    assert spec.name == "StringSignature"
    if not any(word in text for word in ("-1", "date", "UUID")):  # DSPy itself refuses negative numbers and these names
        assert to_dspy(spec).instructions == dspy.Signature(text).instructions


@pytest.mark.parametrize(
    "text",
    [
        "question",
        "-> answer",
        "question ->",
        "a -> b -> c",
        "a, a -> b",
        "a -> a",
        "a: os.system -> b",
        "a: antigravity -> b",
        "a: __import__('os') -> b",
        "a: (lambda: 1)() -> b",
        "a=1 -> b",
        "*a -> b",
        "a): pass\ndef g(b -> c",
        "a, /, b -> c",
        "a: list[str -> b",
        "a: list[int, str] -> b",
        "a: Literal[1.5] -> b",
        "a: Literal[open('/etc/passwd')] -> b",
        "a: tuple -> b",
        "a: os.date -> b",
        "a: set[list[int]] -> b",
        "a: int = Field(gt=1) -> b",
        "a: " + "list[" * 5000 + " -> b",
        "a \x00 -> b",
    ],
)
def test_bad_signature_strings_are_refused_and_nothing_is_imported(text: str) -> None:
    import sys

    with pytest.raises(SignatureDefinitionError):
        from_string(text)
    assert "antigravity" not in sys.modules


def test_programs_that_are_predictors() -> None:
    predict = dspy.Predict("question -> answer: int", temperature=0.3)
    predict.demos = [dspy.Example(question="1+1", answer=2)]
    spec = spec_of_program(predict, "Sum")
    assert (spec.name, list(spec.inputs), list(spec.outputs)) == ("Sum", ["question"], ["answer"])
    assert spec.demos == ({"question": "1+1", "answer": 2},)
    chain = spec_of_program(dspy.ChainOfThought("question -> answer: int"), "Sum")
    assert list(chain.outputs) == ["reasoning", "answer"]
    assert OPEN_OUTPUTS not in chain.provenance


def test_programs_of_ones_own() -> None:
    class Pipeline(dspy.Module):  # type: ignore[misc]
        """Find, then tell."""

        def __init__(self) -> None:
            super().__init__()
            self.find = dspy.Predict("topic -> facts: list[str]")
            self.tell = dspy.Predict("facts: list[str], topic -> story, title")

        def forward(self, topic: str, length: int = 100, **options: Any) -> Any: ...

    spec = spec_of_program(Pipeline(), "Story")
    assert {name: (item.annotation, item.required, item.default) for name, item in spec.inputs.items()} == {
        "topic": (str, True, None),
        "length": (int, False, 100),
    }
    assert list(spec.outputs) == ["story", "title"]
    assert all(item.shape.optional for item in spec.outputs.values())
    assert spec.provenance[OPEN_OUTPUTS]
    assert spec.instructions == "Find, then tell."


def test_a_program_that_takes_keywords_is_known_by_its_signature() -> None:
    def search(query: str) -> str:
        """Search."""
        return query

    spec = spec_of_program(dspy.ReAct("question -> answer", tools=[search]), "Agent")
    assert list(spec.inputs) == ["question"]
    assert not spec.outputs["answer"].shape.optional
    assert spec.provenance[OPEN_OUTPUTS]


def test_a_program_about_which_nothing_is_known_is_refused() -> None:
    class Opaque(dspy.Module):  # type: ignore[misc]
        def forward(self, x: str) -> Any: ...

    with pytest.raises(SignatureDefinitionError, match="holds no predictor"):
        spec_of_program(Opaque(), "Opaque")
