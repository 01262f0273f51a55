"""The JSON Schemas of docs/schemas: what commands print and files hold fits them, and they know every name."""

from __future__ import annotations

import json
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from dev import ROOT
from hokusai.cli import cli
from hokusai_core import Executor
from hokusai_core.testing.lm import null_lm
from hokusai_teleprompt import TelepromptFineTuner
from tools.write_schemas import FOLDER, schemas

SCHEMAS = schemas()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A new application, in which the command answers with samples."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("HOKUSAI_MODE", "testing")
        patch.chdir(home)
        printed("init tickets")
        patch.chdir(home / "tickets")
        other = json.loads(printed("export signatures.py")) | {"instructions": "Guess."}
        Path("other.json").write_text(json.dumps(other), encoding="utf-8")
        yield Path.cwd()


def printed(line: str) -> str:
    done = CliRunner().invoke(cli, shlex.split(line))
    assert done.exit_code in (0, 3), done.output
    return done.stdout


def undescribed(value: Any, schema: dict[str, Any], place: str = "") -> Iterator[str]:
    """Yield the names that a value has and its schema does not."""
    if isinstance(value, list):
        for item in value:
            yield from undescribed(item, schema.get("items", {}), f"{place}[]")
    if not isinstance(value, dict):
        return
    variants = [one for one in (schema, *schema.get("anyOf", ())) if "properties" in one]
    fitting = [one for one in variants if Draft202012Validator(one).is_valid(value)]
    for name, item in value.items() if fitting else ():
        inner = fitting[0]["properties"].get(name)
        if inner is None:
            yield f"{place}.{name}"
        else:
            yield from undescribed(item, inner, f"{place}.{name}")


def check(name: str, value: Any) -> None:
    schema = SCHEMAS[f"{name}.json"]
    problems = [f"{'/'.join(map(str, error.path))}: {error.message}" for error in
                Draft202012Validator(schema).iter_errors(value)]  # fmt: skip
    assert not problems
    assert not list(undescribed(value, schema))


def test_files_are_what_the_code_says() -> None:
    written = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*.json")}
    assert written == SCHEMAS, "run `make reference`"
    for schema in SCHEMAS.values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("result", "run signatures.py -i ticket=Late --json"),
        ("result", "run 'text -> words: int' -i text=one --strategy chain_of_thought --json"),
        ("batch-totals", "batch signatures.py tickets.csv -o teams.jsonl --json"),
        ("signatures", "list --json"),
        ("models", "models --json"),
        ("evaluation", "evaluate signatures.py labelled.csv --metric accuracy --against other.json --json"),
        ("signature", "export signatures.py"),
        ("signature", "export ClassifyText"),
    ],
)
def test_output_of_a_command_fits(folder: Path, name: str, line: str) -> None:
    check(name, json.loads(printed(line)))


def test_lines_of_a_batch_fit(folder: Path) -> None:
    Path("rows.jsonl").write_text('{"ticket": "Late"}\n{"ticket": 1, "teams": []}\n', encoding="utf-8")
    lines = list(map(json.loads, printed("batch signatures.py rows.jsonl").splitlines()))
    assert ["outputs" in line for line in lines] == [True, False]
    for line in lines:
        check("batch-line", line)


def test_file_of_an_evaluation_fits(folder: Path) -> None:
    printed("evaluate signatures.py labelled.csv --metric accuracy -o report.json")
    check("evaluation", json.loads(Path("report.json").read_text(encoding="utf-8")))


def test_files_of_optimizations_fit(tmp_path: Path) -> None:
    rows = [{"inputs": {"text": f"we eat {number}"}, "outputs": {"topic": "food"}} for number in range(12)]
    with Executor(lm=null_lm(answers={"topic": "food"}), trackers=[], environ={}) as executor:
        executor.register_signature("Topic", "text -> topic")
        tuner = TelepromptFineTuner("labeled_fewshot", workdir=False, executor=executor)
        found = tuner.compile("Topic", rows, "accuracy")
    check("optimization", {"schema_version": 1, **json.loads(json.dumps(found.report.to_dict()))})
    found.save(tmp_path / "topic.json")
    check("optimized-signature", json.loads((tmp_path / "topic.json").read_text(encoding="utf-8")))


def test_files_that_people_write_fit(folder: Path) -> None:
    check("chain", tomllib.loads((ROOT / "examples" / "demo" / "triage.toml").read_text(encoding="utf-8")))
    check("settings", tomllib.loads(Path("hokusai.toml").read_text(encoding="utf-8")))
    validator = Draft202012Validator(SCHEMAS["settings.json"])
    assert not validator.is_valid({"timeot": 5})
    assert not validator.is_valid({"timeout": [5]})
    assert not Draft202012Validator(SCHEMAS["chain.json"]).is_valid({"inputs": ["a"], "steps": [{"inputs": {}}]})
