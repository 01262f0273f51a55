"""What a signature class means, and what is refused."""

from __future__ import annotations

import copy
import datetime
import decimal
import json
import pickle
import subprocess
import sys
import textwrap
from typing import ClassVar, Literal

import pydantic
import pytest

from hokusai_core.base_signature import BaseSignature, SignatureMeta
from hokusai_core.errors import SignatureDefinitionError
from hokusai_core.signatures import FieldSpec, InputField, OutputField, SignatureField, SignatureSpec


def roles(cls: type[BaseSignature]) -> dict[str, str]:
    return {item.name: item.role for item in cls.spec.fields}


def test_a_prefix_makes_an_output() -> None:
    class Sig(BaseSignature):
        summary = SignatureField(prefix="Summary:")
        text = SignatureField()

    assert roles(Sig) == {"summary": "output", "text": "input"}


def test_the_last_field_is_the_output_where_nothing_says_so() -> None:
    class Sig(BaseSignature):
        text = SignatureField()
        dates = SignatureField(description="List of dates found")

    assert roles(Sig) == {"text": "input", "dates": "output"}
    assert Sig.spec.outputs["dates"].annotation is str


def test_a_role_that_is_said_wins_over_prefix_and_place() -> None:
    class Sig(BaseSignature):
        answer = SignatureField(role="output")
        label = SignatureField(prefix="Label:", role="input")
        question = SignatureField()

    assert roles(Sig) == {"answer": "output", "label": "input", "question": "input"}


def test_a_last_field_that_is_an_input_is_not_turned_around() -> None:
    class Sig(BaseSignature):
        a = SignatureField()
        b = InputField()

    with pytest.raises(SignatureDefinitionError, match="no output; declare one with OutputField"):
        Sig.spec  # noqa: B018


def test_metadata_and_instructions() -> None:
    class Sig(BaseSignature):
        """Do this.

        And that.
        """

        version = "2.1"
        category = "text"
        tags = ("a", "b")
        aliases = ("Other",)
        deprecated = True
        cache_ttl = 60
        examples = ({"inputs": {"x": "1"}, "outputs": {"y": "2"}},)
        x = InputField(desc="the x")
        y = OutputField()

    spec = Sig.spec
    assert spec.instructions == "Do this.\n\nAnd that."
    assert (spec.version, spec.category, spec.tags, spec.aliases) == ("2.1", "text", ("a", "b"), ("Other",))
    assert (spec.deprecated, spec.cache_ttl) == ("", 60)
    assert spec.inputs["x"].description == "the x"
    assert Sig.spec is spec


def test_without_a_docstring_the_instructions_are_made_of_the_fields() -> None:
    class Sig(BaseSignature):
        a = InputField()
        b = InputField()
        c = OutputField()

    assert Sig.spec.instructions == "Given the fields `a`, `b`, produce the fields `c`."


def test_inheritance_adds_and_overrides_in_place() -> None:
    class Base(BaseSignature):
        """Base."""

        version = "3.0.0"
        deprecated = "use another"
        aliases = ("B",)
        text = InputField("the text")
        score: float = OutputField()

    class Derived(Base):
        tone: str = InputField(default="kind")
        text = InputField("another text", aliases=("document",))
        score: int

    assert [item.name for item in Derived.spec.fields] == ["text", "score", "tone"]
    assert Derived.spec.inputs["text"].aliases == ("document",)
    assert Derived.spec.outputs["score"].annotation is int
    assert Base.spec.outputs["score"].annotation is float
    assert Derived.spec.instructions == "Base."
    assert Derived.spec.version == "3.0.0"
    assert Derived.spec.deprecated is None
    assert Derived.spec.aliases == ()


def test_a_derived_class_must_not_turn_an_inferred_role_around() -> None:
    class Base(BaseSignature):
        text = SignatureField()
        summary = SignatureField()

    class Derived(Base):
        extra = SignatureField()

    with pytest.raises(SignatureDefinitionError, match="'summary' is an output of Base but would be an input here"):
        Derived.spec  # noqa: B018


def test_one_field_of_a_mixin_takes_the_role_that_the_whole_gives_it() -> None:
    class Texts(BaseSignature):
        text = SignatureField()

    class Sig(Texts):
        summary = SignatureField()

    assert roles(Sig) == {"text": "input", "summary": "output"}


def test_a_class_without_fields_can_be_defined_but_not_used() -> None:
    class Empty(BaseSignature):
        """Too broad!"""

    with pytest.raises(SignatureDefinitionError, match="'Empty' cannot be used:\n- it has no fields"):
        Empty.spec  # noqa: B018
    with pytest.raises(SignatureDefinitionError):
        Empty.to_dict()


def test_every_problem_is_reported_at_once() -> None:
    class Bad(BaseSignature):
        cache_ttl = -1
        tags = "one"  # type: ignore[assignment]
        examples = ({"inputs": {"txet": "x"}, "outputs": {}}, {"in": 1})
        forgotten: str
        _hidden = InputField()
        execution_id = InputField()
        text: str = InputField(aliases=("other", "not an identifier"))
        other: bytes = InputField()
        limit: int = InputField(min_length=3)
        low: float = InputField(ge=2, le=1)
        count: int = InputField(default="many")
        label: str = OutputField(choices_from="lables")
        kind: str = OutputField(choices_from="text")
        wrong: str = OutputField(pattern="(", default="x")
        early: int = OutputField(required=False)

    with pytest.raises(SignatureDefinitionError) as caught:
        Bad.spec  # noqa: B018
    message = str(caught.value)
    for part in (
        "cache_ttl must be seconds",
        "tags must be a tuple or list, not str",
        "unknown field 'txet'; did you mean 'text'?",
        "examples[1] must be a mapping",
        "'forgotten' has a type but is not a field",
        "field '_hidden': the name must not begin with an underscore",
        "field 'execution_id': the name is reserved",
        "alias 'not an identifier' of field 'text': the name must be a Python identifier",
        "field 'other': the name is taken by alias 'other' of field 'text'",
        "field 'other': type bytes is not among the types that a field may have (decode it to str first)",
        "Allowed are str, int",
        "field 'limit': min_length suits texts, lists and mappings only",
        "field 'low': ge is above le",
        "field 'count': default: expected a whole number",
        "field 'label': choices_from='lables' is not an input",
        "field 'kind': choices_from: input 'text' must be a list[str]",
        "field 'wrong': pattern is not a regular expression",
        "field 'early': an output that may be left out needs a default that fits, or an Optional type",
    ):
        assert part in message, part


def test_choices_must_be_there_when_they_are_needed() -> None:
    class Sig(BaseSignature):
        options: list[str] = InputField(required=False)
        choice: str = OutputField(choices_from="options")

    with pytest.raises(SignatureDefinitionError, match="must be required, or its default must hold choices"):
        Sig.spec  # noqa: B018


def test_an_unknown_option_of_a_field_is_an_error() -> None:
    with pytest.raises(SignatureDefinitionError, match="'descripton' is not an option of a field; did you mean"):
        InputField(descripton="x")  # type: ignore[call-arg]
    with pytest.raises(SignatureDefinitionError, match="an 'input' or an 'output'"):
        SignatureField(role="both")


def test_constants_and_class_variables_are_no_fields() -> None:
    class Sig(BaseSignature):
        LIMIT: ClassVar[int] = 3
        other: ClassVar[str]
        version: str = "1.2"
        helper = 4
        y: str = OutputField()

    assert [item.name for item in Sig.spec.fields] == ["y"]


def test_local_types_are_found_although_annotations_are_text() -> None:
    Mood = Literal["happy", "sad"]

    class Sig(BaseSignature):
        text: str = InputField()
        mood: Mood = OutputField()
        moods: list[Mood] = OutputField()

    assert Sig.spec.outputs["mood"].annotation == Mood
    assert Sig.spec.outputs["moods"].annotation == list[Mood]


def test_a_type_that_is_not_there_is_named() -> None:
    class Sig(BaseSignature):
        x: Unheard = InputField()  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(SignatureDefinitionError) as caught:
        Sig.spec  # noqa: B018
    assert "field 'x': its type 'Unheard' mentions 'Unheard', which is not known" in str(caught.value)


def test_fields_may_be_called_like_attributes_of_the_class() -> None:
    class Sig(BaseSignature):
        """Do."""

        version = InputField()
        fields = InputField()
        signature = InputField()
        spec = InputField()
        to_dict = InputField()
        instructions = OutputField()

    assert list(Sig.spec.inputs) == ["version", "fields", "signature", "spec", "to_dict"]
    assert Sig.spec.version == "1.0.0"
    assert Sig.to_dict()["name"] == "Sig"
    assert BaseSignature.from_dict(Sig.to_dict()).spec == Sig.spec


def test_a_field_is_no_attribute_and_a_class_does_not_change() -> None:
    class Sig(BaseSignature):
        text = InputField()
        out = OutputField()

    with pytest.raises(AttributeError, match=r"'text' is a field of Sig; Sig\.spec describes it"):
        Sig.text  # noqa: B018
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        Sig.nothing  # noqa: B018
    with pytest.raises(AttributeError, match="does not change once it is defined"):
        Sig.instructions = "other"
    with pytest.raises(TypeError, match="is run, not instantiated"):
        Sig(text="x")  # type: ignore[call-arg]


def test_a_class_made_of_a_spec_can_be_derived_from() -> None:
    spec = SignatureSpec(
        "Made", "Do.", (FieldSpec("x", "input", int, required=False, default=2), FieldSpec("y", "output", list[str]))
    )
    made = BaseSignature.from_spec(spec)
    assert made.spec is spec

    class Derived(made):  # type: ignore[misc, valid-type]
        z: str = InputField()

    assert [item.name for item in Derived.spec.fields] == ["x", "y", "z"]
    assert Derived.spec.inputs["x"].default == 2
    assert Derived.spec.outputs["y"].annotation == list[str]


def test_redaction_covers_aliases() -> None:
    class Sig(BaseSignature):
        secret = InputField(sensitive=True, aliases=("token",))
        out = OutputField()

    assert Sig.spec.sensitive == {"secret"}
    assert Sig.spec.redact({"secret": 1, "token": 2, "out": 3}) == {
        "secret": "[redacted]",
        "token": "[redacted]",
        "out": 3,
    }


def test_defining_and_listing_imports_nothing_heavy() -> None:
    program = """
        import sys
        from hokusai_core.components import Owner
        from hokusai_core.base_signature import BaseSignature
        from hokusai_core.signature_registry import SignaturePack, SignatureRegistry
        from hokusai_core.signatures import InputField, OutputField
        class Sig(BaseSignature):
            text: str = InputField(default="x")
            items: list[str] = InputField(default=["a"])
            n: int = InputField(ge=0, default=1)
            out: dict[str, int] | None = OutputField()
        registry = SignatureRegistry(lambda: [SignaturePack(Owner("p"), (Sig,))])
        assert [entry.spec.describe() for entry in registry.list()] == ["text, items, n -> out"]
        assert registry.resolve("Sig").spec.binder.bind({"n": "3"})["n"] == 3
        heavy = [name for name in ("dspy", "pydantic", "pydantic_core", "asyncio", "litellm") if name in sys.modules]
        assert not heavy, heavy
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({"version": "latest"}, "version 'latest' is not a version"),
        ({"version": ""}, "version '' is not a version"),
        ({"version": "1..0"}, "version '1..0' is not a version"),
        ({"even": pydantic.field_validator("count")(lambda value: value)}, "'even' is a validator of pydantic"),
        ({"verison": "2.0"}, "attribute 'verison' means nothing; did you mean 'version'?"),
        ({"exmaples": ()}, "did you mean 'examples'?"),
        ({"examples": ({"inputs": {"count": "many"}, "outputs": {}},)}, "examples[0].inputs.count: expected a whole"),
        ({"examples": ({"inputs": {"count": 0}, "outputs": {}},)}, "examples[0].inputs.count: must be at least 1"),
        (
            {"examples": ({"inputs": {"count": 1}, "outputs": {"on": "soon"}},)},
            "examples[0].outputs.on: expected a date",
        ),
        ({"examples": ({"inputs": {"count": 1}, "outputs": {"word": "c"}},)}, "examples[0].outputs.word: must match"),
    ],
)
def test_slips_of_a_definition_are_found(attributes: dict[str, object], problem: str) -> None:
    body = {
        "__annotations__": {"count": int, "on": datetime.date, "word": str},
        "count": InputField(ge=1),
        "on": OutputField(),
        "word": OutputField(pattern="^[ab]$"),
        "constant": 3,
    }
    assert SignatureMeta("Fine", (BaseSignature,), dict(body)).spec.outputs["word"].pattern
    with pytest.raises(SignatureDefinitionError) as caught:
        SignatureMeta("Sig", (BaseSignature,), {**body, **attributes}).spec  # noqa: B018
    assert problem in str(caught.value)


ONE_TEN = decimal.Decimal("1.10")


def test_constraints_of_every_kind_are_checked() -> None:
    class Sig(BaseSignature):
        """Do."""

        day: datetime.date = InputField(ge=datetime.date(2024, 1, 1), lt=datetime.date(2025, 1, 1))
        share: float = InputField(gt=0, lt=1, default=0.5)
        price: decimal.Decimal = InputField(
            max_digits=4, decimal_places=2, default=decimal.Decimal("1.10"), multiple_of=0.1
        )
        words: set[str] = InputField(min_length=2, default={"a", "b"})
        out: str = OutputField()

    assert Sig.spec.binder.bind({"day": "2024-05-01"})["price"] == ONE_TEN
    given = {"day": "2025-01-01", "share": 1, "price": "123.45", "words": "a"}
    assert [problem.field for problem in Sig.spec.binder.problems(given)] == ["day", "share", "price", "words"]
    assert Sig.spec.binder.problems({"day": "2024-05-01", "price": "1.15"})[0].message == "must be a multiple of 0.1"
    again = SignatureSpec.from_dict(json.loads(json.dumps(Sig.to_dict())))
    assert again == Sig.spec
    assert again.fingerprint == Sig.spec.fingerprint

    class Bad(BaseSignature):
        day: datetime.date = InputField(ge="2024-01-01")
        text: str = InputField(gt=3)
        low: int = InputField(gt=3, le=2)
        out: str = OutputField()

    with pytest.raises(SignatureDefinitionError) as caught:
        Bad.spec  # noqa: B018
    for part in ("'day': ge must be a number, not str", "'text': gt suits numbers, dates", "'low': gt is above le"):
        assert part in str(caught.value)


def test_options_of_fields_are_declared_once() -> None:
    from hokusai_core.signatures.fields import OPTIONS, FieldOptions

    assert FieldOptions.__annotations__.keys() - {"desc"} == OPTIONS.keys() - {"description"}


def test_what_was_used_can_be_pickled() -> None:
    class Sig(BaseSignature):
        x: int = InputField()
        y: str = OutputField()

    spec = Sig.spec
    spec.binder.bind({"x": "1"})
    spec.codec.encode({"y": "z"})
    assert spec.fingerprint
    again = pickle.loads(pickle.dumps(spec))  # noqa: S301 - written here
    assert again == spec
    assert again.binder.bind({"x": "2"}) == {"x": 2}
    assert copy.deepcopy(spec) == spec
