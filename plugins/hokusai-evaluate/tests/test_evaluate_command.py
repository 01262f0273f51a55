"""``hokusai evaluate``: its output, its files and its exit codes."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import dspy
import pytest
from click.testing import CliRunner

from hokusai_core.errors import ConfigurationError, InputError
from hokusai_core.plugin_api import PluginManager
from hokusai_core.testing.lm import null_lm
from hokusai_evaluate.commands.evaluate_command import evaluate

CATEGORIES = 'categories:=["billing", "product"]'


def run(*arguments: Any, lm: Any = None) -> Any:
    """Run the command with the language model that the host has set for DSPy."""
    with dspy.context(lm=lm or null_lm(answers={"classification": answer})):
        result = CliRunner().invoke(evaluate, [str(item) for item in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def answer(user: str) -> str:
    return "product" if "crash" in user.rsplit("[[ ## text ## ]]", 1)[1] else "billing"


def classify(data: Path, *arguments: Any, **options: Any) -> Any:
    columns = ("--map", "ticket=text", "--map", "team=classification", "-i", CATEGORIES)
    return run("ClassifyText", data, *columns, *arguments, **options)


def test_the_command_is_offered() -> None:
    with PluginManager(only=["evaluate"]) as plugins:
        assert "evaluate" in {component.name for component in plugins.components("command")}


def test_a_table_and_gates(tickets: Path, tmp_path: Path) -> None:
    result = classify(tickets, "--metric", "accuracy", "--by", "language", "--min", "0.7")
    assert result.exit_code == 0
    assert "signatures/ClassifyText: 40 rows" in result.stdout
    assert "0.750 [" in result.stdout
    assert "BY language" in result.stdout
    assert "expected  classification=product" in result.stdout
    report, junit = tmp_path / "report.json", tmp_path / "junit.xml"
    result = classify(tickets, "--metric", "accuracy", "--min", "0.8", "-o", report, "--junit", junit, "--json")
    assert result.exit_code == 4
    assert "score not passed: accuracy 0.750, asked for 0.8" in result.stderr
    assert json.loads(result.stdout)["systems"][0]["scores"]["accuracy"]["value"] == 0.75
    assert len(json.loads(report.read_text())["row_reports"]) == 40
    suite = ET.parse(junit).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert [case.get("name") for case in suite.iter("testcase") if case.find("failure") is not None] == [
        "ClassifyText: score"
    ]


def test_a_regression_against_a_file(tickets: Path, tmp_path: Path) -> None:
    from hokusai_core import Executor

    with Executor(mode="testing") as executor:
        spec = executor.signature("ClassifyText").spec.to_dict()
    other = tmp_path / "other.json"
    other.write_text(json.dumps({**spec, "name": "Other", "instructions": "MAGIC. Classify."}))

    lm = null_lm(raw=lambda user: "[[ ## classification ## ]]\nbilling")
    result = classify(tickets, "--metric", "accuracy", "--against", other, "--max-regression", "0.1", lm=lm)
    assert result.exit_code == 0
    assert "0 wins, 0 losses, 40 ties" in result.stdout
    assert classify(tickets, "--max-regression", "0.1").exit_code == 2  # nothing to compare with


def test_rows_that_could_not_be_asked_have_an_exit_code(tickets: Path, tmp_path: Path) -> None:
    def fail(user: str) -> str:
        if "crash" in user:
            raise ConnectionError("the network is down")
        return "billing"

    result = classify(tickets, "--journal", tmp_path / "a.journal", lm=null_lm(answers={"classification": fail}))
    assert result.exit_code == 3
    assert "complete not passed: rows that could not be asked: 10" in result.stderr
    again = null_lm(answers={"classification": answer})
    assert classify(tickets, "--journal", tmp_path / "a.journal", lm=again).exit_code == 0
    assert again.engine.calls == 10


def test_a_column_that_is_called_otherwise_is_named_once(tickets: Path) -> None:
    with pytest.raises(InputError) as caught:
        run("ClassifyText", tickets, "-i", CATEGORIES)
    lines = str(caught.value).splitlines()
    assert lines[1] == "- text: is required (or document), in 40 rows: line 1, line 2, line 3 and so on"
    assert lines[-1] == "- a column that is called otherwise is --map COLUMN=FIELD (mapping={column: field})"
    assert len(lines) < 10
    assert len(caught.value.problems) >= 40


def test_a_signature_that_is_in_no_pack_gets_no_scorecard(tickets: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        "from hokusai_core import BaseSignature, InputField, OutputField\n"
        "class Route(BaseSignature):\n    ticket: str = InputField()\n    team: str = OutputField()\n"
    )
    with pytest.raises(ConfigurationError, match=r"Route is in no pack.*new-plugin"):
        run(f"{file}:Route", tickets, "--card", lm=null_lm(answers={"team": "billing"}))


@pytest.mark.parametrize("arguments", [("--map", "ticket"), ("--map", "a=text", "--map", "b=text")])
def test_a_mapping_is_read_strictly(tickets: Path, arguments: tuple[str, ...]) -> None:
    assert run("ClassifyText", tickets, *arguments).exit_code == 2


def test_a_file_that_cannot_be_written_is_refused_before_a_call(tickets: Path, tmp_path: Path) -> None:
    lm = null_lm()
    result = classify(tickets, "--junit", tmp_path / "missing" / "report.xml", lm=lm)
    assert (result.exit_code, lm.engine.calls) == (1, 0)
    assert "its folder does not exist" in result.stderr


def test_a_comparison_that_stops_early(tickets: Path, tmp_path: Path) -> None:
    from hokusai_core import Executor

    with Executor(mode="testing") as executor:
        spec = executor.signature("ClassifyText").spec.to_dict()
    other = tmp_path / "other.json"
    other.write_text(json.dumps({**spec, "name": "Other", "instructions": "MAGIC. Classify."}))

    lm = null_lm(answers={"classification": answer})
    junit = tmp_path / "junit.xml"
    same = classify(tickets, "--metric", "accuracy", "--against", other, "--stop", "early", "--junit", junit, lm=lm)
    assert same.exit_code == 0
    assert "regression passed, undecided" in same.stderr
    cases = list(ET.parse(junit).getroot().iter("testcase"))
    assert "undecided" in (cases[-1].findtext("system-out") or "")
    options = ("--against", other, "--stop", "early", "--undecided", "fail", "--workers", "4")
    assert classify(tickets, "--metric", "accuracy", *options, lm=lm).exit_code == 4
    assert classify(tickets, "--stop", "early").exit_code == 2  # nothing to compare with
    report = tmp_path / "report.json"
    before = classify(tickets, "--metric", "accuracy", "-o", report, lm=null_lm(answers={"classification": better}))
    assert before.exit_code == 0
    bad = null_lm(answers={"classification": worst})
    failed = classify(tickets, "--metric", "accuracy", "--against", report, "--stop", "early", "--workers", "4", lm=bad)
    assert failed.exit_code == 4
    assert bad.engine.calls < 40
    assert f"{bad.engine.calls} of 40 rows" in failed.stdout


def better(user: str) -> str:
    ticket = user.rsplit("[[ ## text ## ]]", 1)[1]
    return "product" if "crash" in ticket or "login" in ticket else "billing"


def worst(user: str) -> str:
    return "billing" if better(user) == "product" else "product"
