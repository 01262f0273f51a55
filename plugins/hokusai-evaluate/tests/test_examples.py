"""The workflow of examples/evaluation-gate, and three language models in one table."""

from __future__ import annotations

import random
import shlex
from pathlib import Path
from typing import Any

import dspy
import pytest
import yaml
from click.testing import CliRunner

from hokusai_core import Executor
from hokusai_core.testing.lm import null_lm
from hokusai_evaluate import evaluate
from hokusai_evaluate.commands.evaluate_command import evaluate as command
from hokusai_evaluate.example_reader import read_file

GATE = Path(__file__).parents[3] / "examples" / "evaluation-gate"


def scripted(name: str, share: float) -> Any:
    """Return a language model that is right about a share of the tickets of the example."""
    teams = {row.value["ticket"]: row.value["team"] for row in read_file(GATE / "tickets.jsonl", "tickets")}

    def team(user: str) -> str:
        ticket = next(text for text in teams if text in user)
        right = random.Random(ticket).random() < share
        return teams[ticket] if right else {"billing": "product", "product": "billing"}[teams[ticket]]

    return null_lm(answers={"classification": team}, model=name)


def gate(*further: str, lm: Any) -> Any:
    """Run the command of the workflow with a language model that needs no key."""
    steps = yaml.safe_load((GATE / "evaluation.yml").read_text())["jobs"]["evaluate"]["steps"]
    (text,) = (step["run"] for step in steps if "hokusai evaluate" in step.get("run", ""))
    words = shlex.split(text)
    place = words.index("--lm")
    with dspy.context(lm=lm):
        return CliRunner().invoke(command, [*words[2:place], *words[place + 2 :], *further])


def test_the_gate_of_the_workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tickets.jsonl").write_bytes((GATE / "tickets.jsonl").read_bytes())
    good = scripted("null/good", 1.0)
    with Executor(lm=good, plugins=["evaluate", "signatures"], cache_enabled=False) as executor:
        evaluate(
            executor,
            "ClassifyText",
            "tickets.jsonl",
            metric="accuracy",
            mapping={"ticket": "text", "team": "classification"},
            inputs={"categories": ["billing", "product"]},
        ).save("main.json")
    passed = gate(lm=scripted("null/good", 1.0))
    assert passed.exit_code == 0, passed.output
    assert "0 wins, 0 losses, 24 ties" in passed.output
    assert (tmp_path / "evaluation.xml").exists()
    assert (tmp_path / "report.json").exists()
    failed = gate(lm=scripted("null/bad", 0.4))
    assert failed.exit_code == 4
    assert "score not passed" in failed.output
    assert "worse by more than the 0.02 allowed" in failed.output


@pytest.mark.slow
def test_three_models_in_one_table() -> None:
    lms = ["local", scripted("scripted/always", 1.0), scripted("scripted/half", 0.5)]
    with Executor(plugins=["evaluate", "signatures", "local"], cache_enabled=False, environ={}) as executor:
        found = evaluate(
            executor,
            "ClassifyText",
            GATE / "tickets.jsonl",
            metric=["accuracy", "macro_f1"],
            lm=lms,
            mapping={"ticket": "text", "team": "classification"},
            inputs={"categories": ["billing", "product"]},
            sample=12,
            by="classification",
        )
    embedded, always, half = found.systems
    assert embedded.label.startswith("local/")
    assert (always.scores["accuracy"].value, always.scores["macro_f1"].value) == (1.0, 1.0)
    assert half.scores["accuracy"].value is not None
    assert 0.2 <= half.scores["accuracy"].value <= 0.8
    assert embedded.scores["accuracy"].rows == 12
    assert embedded.latency_p50 is not None
    assert embedded.latency_p95 is not None
    assert half.latency_p50 is not None
    assert embedded.latency_p95 >= embedded.latency_p50 > half.latency_p50
    assert [(pair.label, pair.against) for pair in found.comparisons] == [
        ("scripted/always", embedded.label),
        ("scripted/half", embedded.label),
    ]
    table = str(found)
    for text in (embedded.label, "scripted/always", "scripted/half", "P50", "P95", "BY classification", "worst rows"):
        assert text in table
