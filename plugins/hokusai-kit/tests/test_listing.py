"""``hokusai list`` and ``hokusai show``."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hokusai.cli import cli
from hokusai.executor import DSPyPipelineExecutor
from hokusai_core import Settings
from hokusai_core.plugin_api import Artifact


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings():
        monkeypatch.delenv(f"HOKUSAI_{name.upper()}", raising=False)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def test_list_is_aligned_text_where_it_is_piped() -> None:
    lines = run("list").stdout.splitlines()
    assert lines[0].split() == ["NAME", "DESCRIPTION"]
    assert max(map(len, lines)) <= 80
    assert len(lines) >= 17
    row = next(line for line in lines if line.startswith("EmailDraft "))
    assert row.split(maxsplit=1)[1:] == ["Write a short email to the recipient about the subject"]
    column = lines[0].index("DESCRIPTION")
    assert {line[column - 2 : column] for line in lines} == {"  "}
    assert "\x1b" not in run("list").stdout


def test_list_as_json_has_what_scripts_need() -> None:
    records = {record["name"]: record for record in json.loads(run("list", "--json").stdout)["signatures"]}
    assert records["ClassifyText"] == {
        "name": "ClassifyText",
        "qualified_name": "signatures/ClassifyText",
        "aliases": [],
        "version": records["ClassifyText"]["version"],
        "promoted": False,
        "category": "analysis",
        "tags": ["classification", "routing"],
        "summary": "Choose the category that fits the main point of the text best.",
        "inputs": ["text", "categories"],
        "outputs": ["classification"],
        "deprecated": None,
        "shadows": [],
        "owner": {
            "plugin": "signatures",
            "distribution": "hokusai-signatures",
            "version": records["ClassifyText"]["owner"]["version"],
        },
    }


def test_what_is_promoted_is_listed_and_shown_as_what_the_name_means(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOKUSAI_DATA_DIR", str(tmp_path))
    with DSPyPipelineExecutor(trackers=()) as executor:
        base = executor.signatures.resolve("ClassifyText").spec
        better = base.evolve(instructions="Name the category.", version="1.0.1")
        artifact = Artifact(spec=better, base=base, base_name="signatures/ClassifyText", promoted=True)
        executor.promote("ClassifyText", artifact.signature, note="measured on reviews")
        row = next(line for line in run("list").stdout.splitlines() if line.startswith("ClassifyText "))
        assert "(promoted) Name the category" in row
        shown = run("show", "ClassifyText").stdout
        assert shown.startswith("signatures/ClassifyText 1.0.1\nName the category.")
        assert re.search(r"^promoted     \d{4}-\d\d-\d\d \d\d:\d\d: measured on reviews$", shown, re.M)
        assert json.loads(run("show", "ClassifyText", "--json").stdout)["promoted"]["note"] == "measured on reviews"
        monkeypatch.setenv("HOKUSAI_PROMOTIONS", "off")
        assert "promoted" not in run("list").stdout + run("show", "ClassifyText").stdout
        monkeypatch.delenv("HOKUSAI_PROMOTIONS")
        executor.rollback("ClassifyText")
    assert "promoted" not in run("list").stdout + run("show", "ClassifyText").stdout
    assert json.loads(run("show", "ClassifyText", "--json").stdout)["promoted"] is None


def test_list_is_filtered_by_category_and_by_all_tags() -> None:
    analysis = [
        record["name"] for record in json.loads(run("list", "--category", "analysis", "--json").stdout)["signatures"]
    ]
    assert "ClassifyText" in analysis
    assert "EmailDraft" not in analysis
    tagged = json.loads(run("list", "--tag", "classification", "--tag", "routing", "--json").stdout)["signatures"]
    assert [record["name"] for record in tagged] == ["ClassifyText"]
    nothing = run("list", "--tag", "classification", "--tag", "email")
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert "no signature matches" in nothing.stderr


def test_unknown_category_and_tag_say_what_there_is() -> None:
    done = run("list", "--category", "anlysis")
    assert done.exit_code == 1
    assert "did you mean 'analysis'?" in done.stderr
    assert "conversation" in done.stderr
    assert run("list", "--tag", "nonsense").exit_code == 1


def test_list_without_packs_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOKUSAI_PLUGINS", "local")
    done = run("list")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "no signature pack is enabled" in done.stderr  # they are installed
    assert json.loads(run("list", "--json").stdout)["signatures"] == []


def test_show_tells_all_about_a_signature() -> None:
    shown = run("show", "ClassifyText").stdout
    for part in ("signatures/ClassifyText", "fingerprint", "hokusai-signatures", "list[str]", "document", "Example 2"):
        assert part in shown
    row = next(line for line in shown.splitlines() if line.startswith("classification "))
    assert "one of categories" in row


def test_show_as_json() -> None:
    record = json.loads(run("show", "signatures/GenerateFollowUp", "--json").stdout)
    fields = {field["name"]: field for field in record["inputs"] + record["outputs"]}
    assert record["fingerprint"] == json.loads(run("show", "GenerateFollowUp", "--json").stdout)["fingerprint"]
    assert fields["conversation"]["required"]
    assert not fields["topic"]["required"]
    assert fields["follow_up_questions"]["type"] == "list[str]"
    assert len(record["examples"]) >= 2


def test_show_of_an_unknown_signature_guesses() -> None:
    done = run("show", "EmialDraft")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "did you mean 'EmailDraft'" in done.stderr
    assert done.stderr.count("\n") == 1
