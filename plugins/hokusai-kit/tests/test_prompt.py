"""``hokusai prompt`` shows what would be sent and sends nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hokusai.cli import cli


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("HOKUSAI_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOKUSAI_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("HOKUSAI_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HOKUSAI_LM", "openai/gpt-5-mini")  # without a key: a call would fail
    monkeypatch.chdir(tmp_path)


def prompt(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["prompt", *arguments])


INPUTS = ("-i", "document=A long report.", "-i", "max_length=2 sentences")


def test_the_messages_are_shown_and_the_tokens_estimated() -> None:
    done = prompt("SummarizeText", *INPUTS)
    assert done.exit_code == 0, done.output
    assert "[system]" in done.stdout
    assert "[user]\n[[ ## document ## ]]\nA long report." in done.stdout
    assert "openai/gpt-5-mini  about" in done.stderr
    assert "estimate" in done.stderr


def test_json_has_the_whole_request() -> None:
    done = prompt("SummarizeText", *INPUTS, "--json", "--adapter", "xml", "--lm", "openai/gpt-4o")
    shown = json.loads(done.stdout)
    assert shown["model"] == "openai/gpt-4o"
    assert [message["role"] for message in shown["messages"]] == ["system", "user"]
    assert "<document>" in shown["messages"][-1]["content"]
    assert shown["tokens"] > 50
    assert shown["tokens_are_exact"] is False


def test_inputs_that_do_not_fit_are_an_error() -> None:
    done = prompt("SummarizeText", "-i", "documnt=x")
    assert done.exit_code == 1
    assert "did you mean 'document'" in done.stderr
