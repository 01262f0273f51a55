"""``hokusai logs``: executions that a store has kept, searched, shown and run again."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hokusai.cli import cli
from hokusai_core import BaseSignature, Executor, InputField, OutputField
from hokusai_core.testing.lm import null_lm


class Recall(BaseSignature):
    text: str = InputField()
    pin: str = InputField(default="0", sensitive=True)
    answer: str = OutputField()


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Three executions in the feedback store of a user of their own; returns their ids."""
    for name in [name for name in os.environ if name.startswith("HOKUSAI_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOKUSAI_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("HOKUSAI_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    with Executor(lm=null_lm(answers={"summary": "A short one.", "answer": "yes"})) as executor:
        ids = [
            executor.execute_signature("SummarizeText", {"document": text}, collect_feedback=True).execution_id
            for text in ("The meeting moves to Thursday.", "The invoice is late.")
        ]
        ids.append(executor.execute_signature(Recall, {"text": "?", "pin": "4711"}, collect_feedback=True).execution_id)
    return ids


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["logs", *arguments])


def test_the_latest_come_first() -> None:
    found = json.loads(run("--from", "feedback", "--json").stdout)["executions"]
    assert [one["signature"] for one in found] == ["local/Recall", *["signatures/SummarizeText"] * 2]
    assert found[1]["inputs"]["document"] == "The invoice is late."
    lines = run("-n", "1", "--from", "feedback").stdout.splitlines()
    assert len(lines) == 2
    assert "Recall" in lines[1]
    assert run("SummarizeText", "--from", "feedback").stdout.count("SummarizeText") == 2


def test_words_are_searched_in_inputs_and_outputs() -> None:
    found = json.loads(run("search", "INVOICE", "short", "--from", "feedback", "--json").stdout)["executions"]
    assert [one["inputs"]["document"] for one in found] == ["The invoice is late."]
    nothing = run("search", "nonesuch", "--from", "feedback")
    assert nothing.stdout == ""
    assert nothing.stderr == "hokusai: none of 3 kept executions matches\n"
    assert "no such execution is kept; " in run("EmailDraft", "--from", "feedback").stderr


def test_an_id_may_be_shortened(kept: list[str]) -> None:
    shown = run("show", kept[0][:8], "--from", "feedback").stdout
    assert kept[0] in shown
    assert "The meeting moves to Thursday." in shown
    assert "A short one." in shown
    assert "4711" not in run("show", kept[2][:8], "--from", "feedback").output
    assert "is the beginning of 3 ids" in run("show", "", "--from", "feedback").stderr
    assert "no execution 'zzzz' is kept" in run("show", "zzzz", "--from", "feedback").stderr


def test_an_execution_is_run_again_unless_an_input_is_sensitive(
    kept: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOKUSAI_MODE", "testing")
    again = run("run", kept[1][:8], "--from", "feedback", "--json")
    record = json.loads(again.stdout)
    assert record["again"] == kept[1]
    assert record["outputs"] == {"summary": "Sample summary"}
    refused = run("run", kept[2][:8], "--from", "feedback")
    assert refused.exit_code == 1
    assert "inputs are sensitive or were kept shortened: pin" in refused.stderr
