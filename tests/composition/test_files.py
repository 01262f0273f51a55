"""Chains as files and as drawings."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

from hokusai_core import Executor, SignatureChain, literal, ref
from hokusai_core.errors import CompositionError

TOML = """
name = "report"
inputs = ["doc", "extra"]

[[steps]]
signature = "Extract"
name = "facts"
inputs = { document = "doc", info_types = ["dates", { ref = "extra" }] }

[[steps]]
name = "judge"
inputs = { text = "facts.facts" }
[[steps.steps]]
signature = "Summarize"
inputs = { document = "text", max_length = { literal = "text" } }
[[steps.steps]]
signature = "Rate"
inputs = { text = "Summarize.summary" }
"""
YAML = """
name: report
inputs: [doc, extra]
steps:
  - signature: Extract
    name: facts
    inputs:
      document: doc
      info_types: [dates, {ref: extra}]
  - name: judge
    inputs: {text: facts.facts}
    steps:
      - signature: Summarize
        inputs: {document: text, max_length: {literal: text}}
      - signature: Rate
        inputs: {text: Summarize.summary}
"""


@pytest.mark.parametrize(("suffix", "text"), [("toml", TOML), ("yaml", YAML), ("yml", YAML)])
def test_a_file_is_a_chain(executor: Executor, lm: Any, tmp_path: Path, suffix: str, text: str) -> None:
    file = tmp_path / f"chain.{suffix}"
    file.write_text(text, encoding="utf-8")
    chain = SignatureChain.from_file(file)
    result = executor.execute_chain(chain, {"doc": "THE DOC", "extra": "names"})
    assert '["dates", "names"]' in result.steps["facts"]["facts"]
    assert "[[ ## max_length ## ]] text" in result.steps["judge"].steps["Summarize"]["summary"]
    assert result["stars"] == 3
    assert chain.name == "report"


BAD = {
    "no steps": ({}, "expected 'steps'"),
    "empty": ({"steps": []}, "expected 'steps'"),
    "a step that is a text": ({"steps": ["Rate"]}, "steps[0]: expected a step"),
    "an unknown key": ({"steps": [{"signatur": "Rate"}]}, "steps[0]: unknown 'signatur'; did you mean 'signature'?"),
    "unknown keys": ({"steps": [{"call": "os.system", "signature": "Rate", "eval": 1}]}, "unknown 'call', 'eval'"),
    "neither": ({"steps": [{"inputs": {}}]}, "steps[0]: expected either"),
    "both": ({"steps": [{"signature": "Rate", "steps": []}]}, "steps[0]: expected either"),
    "inputs that are a list": ({"steps": [{"signature": "Rate", "inputs": []}]}, "steps[0].inputs: expected"),
    "a name twice": ({"steps": [{"signature": "Rate"}] * 2}, "steps[1]: the chain has a step 'Rate' already"),
    "an empty ref": (
        {"steps": [{"signature": "Rate", "inputs": {"text": {"ref": 5}}}]},
        "steps[0].inputs.text: ref(5)",
    ),
    "a name that is none": ({"name": 5, "steps": [{"signature": "Rate"}]}, "name: expected a text"),
    "inside": ({"steps": [{"name": "x", "steps": [{"signature": 5}]}]}, "steps[0].steps[0]: expected either"),
    "at the top": ({"step": [], "steps": [{"signature": "Rate"}]}, "unknown 'step'"),
    "a list": ([], "expected 'steps'"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_told_with_its_place(case: str) -> None:
    data, told = BAD[case]
    with pytest.raises(CompositionError) as caught:
        SignatureChain.from_dict(data)  # type: ignore[arg-type]
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("c.toml", b"steps = [", "not TOML"),
        ("c.yaml", b"steps: [", "not YAML"),
        ("c.yaml", b"!!python/object/apply:os.system ['touch pwned']", "not YAML"),
        ("c.yaml", b"steps:\n- signature: Rate\n  inputs: {text: a, text: b}", "line 3: 'text' is there twice"),
        ("c.toml", b"steps = []\nsteps = []", "not TOML"),
        ("c.json", b"{}", "an optimized chain is a signature"),
        ("c.txt", b"{}", "ends in .toml, .yaml or .yml"),
        ("c.toml", b"\xff\xfe", "cannot be read"),
        ("c.toml", b"#" * 2_000_000, "larger than"),
    ],
)
def test_files_that_are_no_chains(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(CompositionError, match=told):
        SignatureChain.from_file(file)
    assert not Path("pwned").exists()
    with pytest.raises(CompositionError, match="cannot be read"):
        SignatureChain.from_file(tmp_path / "missing.toml")


def test_a_file_that_repeats_itself_without_end(tmp_path: Path) -> None:
    file = tmp_path / "bomb.yaml"
    levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 12))
    file.write_text(f"l0: &l0 [x]\n{levels}\nsteps: [{{signature: Rate, inputs: {{text: *l11}}}}]\n")
    with pytest.raises(CompositionError):
        SignatureChain.from_file(file)
    file.write_text(f"steps: [{{signature: Rate, inputs: {{text: {'[' * 50}{']' * 50}}}}}]")
    with pytest.raises(CompositionError, match="nested more than"):
        SignatureChain.from_file(file)


BRANCHES = [
    {"when": {"stars": {"below": 3}}, "signature": "Extract", "inputs": {"document": "doc", "info_types": "faults"}},
    {"when": {"stars": {"in": [3, 4]}, "doc": {"contains": "THE"}}, "name": "good", "signature": "Summarize"},
    {"signature": "Summarize", "inputs": {"document": "doc", "max_length": "long"}},
]


@pytest.mark.parametrize(
    ("stars", "doc", "branch"),
    [(2, "THE DOC", "Extract"), ("2", "THE DOC", "Extract"), (3, "THE DOC", "good"), (3, "A DOC", "otherwise")],
)
def test_branches_of_a_file(executor: Executor, lm: Any, stars: Any, doc: str, branch: str) -> None:
    step = {"name": "reply", "inputs": {"doc": "doc", "document": "doc", "stars": "stars"}, "branches": BRANCHES}
    chain = SignatureChain.from_dict({"inputs": ["doc", "stars"], "steps": [step]})
    result = executor.execute_chain(chain, {"doc": doc, "stars": stars})
    shown = {"Extract": "facts", "good": "summary", "otherwise": "summary"}[branch]
    assert ("[[ ## max_length ## ]] long" in result[shown]) == (branch == "otherwise")


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ({"name": "a", "branches": []}, "steps[0].branches: expected a list of branches"),
        ({"name": "a", "branches": [BRANCHES[2], BRANCHES[0]]}, "only the last branch may lack 'when'"),
        ({"name": "a", "branches": [BRANCHES[0], BRANCHES[0]]}, "branches[1]: there is a condition 'Extract' already"),
        ({"name": "a", "branches": [{**BRANCHES[0], "when": {"x": {"belo": 3}}}]}, "comparison 'belo'; did you mean"),
        (
            {"name": "a", "branches": [{**BRANCHES[0], "when": "x"}]},
            "a condition is a function of the inputs, or names",
        ),
        ({"name": "a", "branches": [{**BRANCHES[2], "name": "x"}]}, "is called 'otherwise' and has no other name"),
        (
            {"name": "a", "branches": [{"when": {"x": 1}}]},
            "branches[0]: expected either 'signature', a name, or 'steps'",
        ),
        ({"signature": "Extract", "branches": BRANCHES}, "expected either 'signature', a name, or 'steps' of a chain"),
        ({"branches": BRANCHES}, "a step that is a ConditionalPipeline needs a name"),
    ],
)
def test_what_is_wrong_with_branches_is_told_with_its_place(step: Any, told: str) -> None:
    with pytest.raises(CompositionError, match=re.escape(told)):
        SignatureChain.from_dict({"inputs": ["doc"], "steps": [step]})


def test_a_drawing() -> None:
    chain = SignatureChain()
    chain.add("Extract", {"document": "doc", "info_types": "dates"})
    chain.add("pack/Summarize", {"text": "Extract.facts", "max_length": ref("limit")}, name="short")
    chain.add("Mail", {"recipient": literal("doc"), "key_points": [ref("short.summary"), ref("Extract.facts")]})
    assert chain.to_mermaid(["doc"]) == textwrap.dedent("""\
        flowchart TD
            i0(["doc"])
            i1(["limit"])
            s0["Extract<br>info_types = dates"]
            s1["short<br>pack/Summarize"]
            s2["Mail<br>recipient = doc"]
            i0 -->|document| s0
            s0 -->|facts as text| s1
            i1 -->|max_length| s1
            s1 -->|summary as key_points| s2
            s0 -->|facts as key_points| s2
        """)


def test_a_drawing_has_no_syntax_of_a_text() -> None:
    hostile = 'a"] --> x\n<script>alert(1)</script>|{}'
    drawn = SignatureChain().add("Rate", {"text": hostile}, name="s|]\n").to_mermaid()
    for line in drawn.splitlines()[1:]:
        assert line.count('"') == 2
        assert "<script" not in line
        assert "-->" not in line
