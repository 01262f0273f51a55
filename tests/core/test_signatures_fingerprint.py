"""Fingerprints: equal for equal content everywhere, different for whatever reaches the prompt."""

from __future__ import annotations

import enum
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, Literal

import pydantic
import pytest

from hokusai_core import Executor
from hokusai_core.signatures import FieldSpec, SignatureSpec

Q = FieldSpec("q", "input", str, description="d", prefix="Q:", required=False, default="x", aliases=("p",))
LIST = FieldSpec("options", "input", list[str])
A = FieldSpec("a", "output", int, le=3)
SPEC = SignatureSpec("S", "Do.", (Q, LIST, A), demos=({"q": "1", "a": 2},), tags=("t",), version="1")


def changed(**changes: Any) -> SignatureSpec:
    import attrs

    return SPEC.evolve(fields=(attrs.evolve(Q, **changes), LIST, A))


@pytest.mark.parametrize(
    "spec",
    [
        SPEC.evolve(name="Other", version="2", tags=(), category="c", aliases=("O",), deprecated="", cache_ttl=1),
        SPEC.evolve(examples=({"inputs": {}, "outputs": {}},), provenance={"a": 1}),
        changed(aliases=()),
        changed(sensitive=True),
        SPEC.evolve(demos=({"a": 2.0, "q": "1"},)),
    ],
)  # fmt: skip
def test_what_does_not_reach_the_prompt_leaves_it_alone(spec: SignatureSpec) -> None:
    assert spec.fingerprint == SPEC.fingerprint


def test_everything_else_changes_it() -> None:
    variants = [
        SPEC,
        SPEC.evolve(instructions="Do it."),
        SPEC.evolve(fields=(LIST, Q, A)),
        SPEC.evolve(fields=(Q, LIST, A, FieldSpec("b", "output"))),
        SPEC.evolve(demos=()),
        SPEC.evolve(demos=({"q": "1", "a": 3},)),
        SPEC.evolve(demos=({"q": "1", "a": True},)),
        SPEC.evolve(fields=(Q, LIST, FieldSpec("a", "output", int, ge=3))),
        SPEC.evolve(fields=(Q, LIST, FieldSpec("a", "output", str, choices_from="options"))),
        SPEC.evolve(fields=(Q, LIST, FieldSpec("a", "output", str))),
        changed(name="r"),
        changed(role="output"),
        changed(annotation=int),
        changed(annotation=str | None),
        changed(annotation=Literal["a", 1]),
        changed(annotation=Literal["a", True]),
        changed(annotation=Literal["a", "1"]),
        changed(description="e"),
        changed(prefix=None),
        changed(required=True),
        changed(default=None),
        changed(default="y"),
        changed(min_length=1),
        changed(pattern="x"),
    ]
    assert len({spec.fingerprint for spec in variants}) == len(variants)


def test_types_count_by_structure_and_not_by_module() -> None:
    def make(value: str, **field: Any) -> list[Any]:
        color = enum.Enum("Color", {"RED": value})  # type: ignore[misc]
        return [color, pydantic.create_model("Person", name=(str, pydantic.Field(**field)), color=(color, ...))]

    def prints(types: list[Any]) -> set[str]:
        return {SPEC.evolve(fields=(FieldSpec("a", "output", item),)).fingerprint for item in types}

    first, second = make("red", description="d"), make("red", description="d")
    second[0].__module__ = second[1].__module__ = "elsewhere"
    assert prints(first) == prints(second)
    assert not prints(first) & prints(make("blue", description="d"))
    assert prints(first) - prints(make("red", description="e"))


def test_it_is_the_same_in_every_process() -> None:
    program = """
        from typing import Literal
        from hokusai_core import BaseSignature, InputField, OutputField
        class S(BaseSignature):
            q: dict[str, int] = InputField(default={"b": 1, "a": 2})
            a: Literal["x", "y"] = OutputField()
        print(S.spec.fingerprint)
    """
    seen = set()
    for seed in ("0", "1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)],
            env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        seen.add(done.stdout.strip())
    assert len(seen) == 1
    assert len(seen.pop()) == 32


def test_a_signature_file_of_0_1_is_read_with_its_fingerprint() -> None:
    data = json.loads((Path(__file__).parent / "data" / "signature_0_1.json").read_text("utf-8"))
    spec = SignatureSpec.from_dict(data["signature"])
    assert spec.fingerprint == data["fingerprint"]
    assert spec.inputs["person"].default.home.street == "s"
    assert SignatureSpec.from_dict(spec.to_dict()).fingerprint == data["fingerprint"]
    with Executor() as executor:
        now = {entry.qualified_name: entry.spec.fingerprint for entry in executor.signatures.list()}
    assert {name: now.get(name) for name in data["pack"]} == data["pack"]
