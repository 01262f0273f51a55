"""Every form in which a command takes a signature, and what it keeps for later commands."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from hokusai.cli import cli

CODE = '''
import dspy
from hokusai import BaseSignature, InputField, OutputField


class Route(BaseSignature):
    """Decide which team answers."""

    ticket: str = InputField()
    teams: list[str] = InputField(default=["Billing", "Delivery"])
    team: str = OutputField(choices_from="teams")


class Plain(dspy.Signature):
    """Answer."""

    question: str = dspy.InputField()
    answer: str = dspy.OutputField()


program = dspy.ChainOfThought("question -> answer: int")
'''


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of its own with Python code, testing mode, and a user who has kept nothing yet."""
    for name in [name for name in os.environ if name.startswith("HOKUSAI_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOKUSAI_MODE", "testing")
    monkeypatch.setenv("HOKUSAI_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("HOKUSAI_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "routing.py").write_text(CODE, encoding="utf-8")
    (tmp_path / "one.py").write_text(CODE.partition("class Plain")[0], encoding="utf-8")
    return tmp_path


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli, arguments, input=stdin)


def printed(*arguments: str) -> str:
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize(
    ("name", "given", "answer"),
    [
        ("question -> answer: float", "question=?", None),
        ("routing.py:Route", "ticket=Late!", "Billing"),
        ("one.py", "ticket=Late!", "Billing"),
        ("routing:Route", "ticket=Late!", "Billing"),
        ("routing.py:Plain", "question=?", "Sample answer"),
        ("routing.py:program", "question=?", None),
    ],
)
def test_run_takes_a_signature_from_anywhere(name: str, given: str, answer: str | None) -> None:
    outputs = json.loads(printed("run", name, "-i", given, "--json"))["outputs"]
    assert answer is None or answer in map(str, outputs.values())
    assert outputs


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("missing.py:Route", "the file missing.py was not found"),
        ("routing.py:Rout", "did you mean 'Route'?"),
        (
            "routing.py",
            "name one of its signatures, such as routing.py:Name; it has routing.py:Route, routing.py:Plain",
        ),
        ("no_such_module:Route", "there is no module 'no_such_module'"),
        ("question answer", "there is no signature 'question answer'"),
        ("question -> answer: number", "type 'number' is not known"),
    ],
)
def test_what_cannot_be_found_is_one_line(name: str, told: str) -> None:
    done = run("run", name, "-i", "question=?")
    assert done.exit_code == 1
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_code_that_fails_is_named(folder: Path) -> None:
    (folder / "broken.py").write_text("value = 1 / 0\n", encoding="utf-8")
    done = run("run", "broken.py:X", "-i", "a=b")
    assert done.exit_code == 1
    assert done.stderr.startswith("hokusai: broken.py cannot be imported: ZeroDivisionError: division by zero")


def test_other_commands_take_the_same_forms(folder: Path) -> None:
    (folder / "rows.csv").write_text("ticket,team\nLate!,Billing\nTwice!,Delivery\n", encoding="utf-8")
    assert "one of teams" in printed("show", "one.py")
    assert "Late!" in printed("prompt", "one.py", "-i", "ticket=Late!", "--lm", "openai/gpt-5-mini")
    assert printed("batch", "one.py:Route", "rows.csv", "--map", "ticket=ticket").count("\n") == 2
    assert "accuracy" in printed("evaluate", "one.py", "rows.csv", "--metric", "accuracy")
    assert json.loads(printed("data", "check", "one.py", "rows.csv", "--json"))["ok"]


def test_an_alias_stands_for_a_signature_or_a_model_in_later_commands() -> None:
    assert "no alias" in run("alias").stderr
    printed("alias", "set", "sum", "SummarizeText")
    printed("alias", "set", "ask", "question -> answer")
    printed("alias", "set", "route", "one.py:Route")
    printed("alias", "set", "mini", "openai/gpt-5-mini")
    assert json.loads(printed("alias", "--json"))["aliases"]["route"] == f"{Path('one.py').resolve()}:Route"
    assert "Sample" in printed("run", "sum", "-i", "document=Some text.")
    assert "Sample" in printed("run", "ask", "-i", "question=?")
    assert (
        json.loads(printed("prompt", "route", "-i", "ticket=?", "--lm", "mini", "--json"))["model"]
        == "openai/gpt-5-mini"
    )
    assert "Billing" in printed("run", "route", "-i", "ticket=?")
    for name in ("EmailDraft", "local"):
        assert "would hide it" in run("alias", "set", name, "SummarizeText").stderr
    assert "did you mean 'SummarizeText'" in run("alias", "set", "s", "SumarizeText").stderr
    printed("alias", "remove", "sum")
    assert run("run", "sum", "-i", "document=x").exit_code == 1
    assert "there is no alias 'sum'" in run("alias", "remove", "sum").stderr


def test_a_signature_travels_as_json(folder: Path) -> None:
    text = printed("export", "ClassifyText")
    (folder / "classify.json").write_text(text, encoding="utf-8")
    assert json.loads(text)["name"] == "ClassifyText"
    given = ("-i", "text=Late!", "-i", "categories=Praise, Complaint")
    assert printed("run", "classify.json", *given) == printed("run", "ClassifyText", *given)
    assert "has that name; choose another with --as NAME" in run("import", "classify.json").stderr
    printed("import", "classify.json", "--as", "Triage")
    printed("import", "text -> language, certain: bool", "--as", "Guess")
    printed("import", "one.py:Route")
    assert printed("run", "Triage", *given) == printed("run", "ClassifyText", *given)
    assert {"Guess", "Route", "Triage"} <= {one["name"] for one in json.loads(printed("list", "--json"))["signatures"]}
    assert json.loads(printed("show", "imported/Guess", "--json"))["owner"]["plugin"] == "imported"
    assert "was imported before" in run("import", "one.py:Route").stderr
    printed("import", "one.py:Route", "--replace")
    printed("import", "--remove", "Triage")
    assert printed("import").split() == ["Guess", "Route"]
    assert run("export", "routing.py:program").exit_code == 1


def test_a_file_that_ends_python_is_an_error(folder: Path) -> None:
    (folder / "ends.py").write_text("raise SystemExit(0)", encoding="utf-8")
    done = run("run", "ends.py")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "ends.py cannot be imported: SystemExit" in done.stderr


def test_an_application_starts_and_runs(folder: Path) -> None:
    printed("init", "tickets")
    os.chdir("tickets")
    assert "already" in run("init").stderr
    assert "Billing" in printed("run", "signatures.py", "-i", "ticket=I was charged twice")
    assert printed("batch", "signatures.py", "tickets.csv", "-o", "teams.jsonl") == ""
    assert len(Path("teams.jsonl").read_text(encoding="utf-8").splitlines()) == 6
    assert "timeout" in printed("config", "--changed")
    report = json.loads(printed("evaluate", "signatures.py", "labelled.csv", "--json"))
    assert report["rows"] == 60
    assert "letters.csv" in json.loads(printed("init", "--example", "letters", "--json"))["files"]
    report = json.loads(printed("evaluate", "letters.py", "held-out.csv", "--json"))
    assert report["rows"] == 24
    assert len(Path("letters.csv").read_text(encoding="utf-8").splitlines()) == 61
    for name in ("app.py", "tests/test_app.py"):
        compile(Path(name).read_text(encoding="utf-8"), name, "exec")


def commands(group: click.Group, context: click.Context, path: tuple[str, ...] = ()) -> list[tuple[str, click.Command]]:
    found = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found += commands(command, click.Context(command, parent=context), (*path, name))
        else:
            found.append((" ".join((*path, name)), command))
    return found


#: Those that print a script, ask a person, or run until they are stopped.
WITHOUT_JSON = {"completion", "feedback review", "serve", "mcp", "tracking ui"}


def test_every_command_prints_json_where_that_is_asked_for() -> None:
    with click.Context(cli) as context:
        lacking = {
            name
            for name, command in commands(cli, context)
            if not any("--json" in part.opts and getattr(part, "is_flag", False) for part in command.params)
        }
    assert lacking - WITHOUT_JSON == set()


def test_json_says_its_version() -> None:
    for arguments in (["list"], ["doctor"], ["plugins"], ["config"], ["models"], ["alias"], ["show", "EmailDraft"]):
        found = json.loads(run(*arguments, "--json").stdout)
        assert next(iter(found.items())) == ("schema_version", 1), arguments


def test_models_say_provider_context_price_key_and_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOKUSAI_LM", "openai/gpt-5-mini")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    Path("hokusai.toml").write_text('[models.fast]\nmodel = "openai/gpt-5-nano"\n', encoding="utf-8")
    found = {one["name"]: one for one in json.loads(printed("models", "--json"))["models"]}
    assert found["openai/gpt-5-mini"]["default"]
    assert found["openai/gpt-5-mini"]["context"] > 100_000
    assert found["openai/gpt-5-mini"]["input_price"] == 0.25
    assert found["openai/gpt-5-mini"]["has_key"] is False
    assert (found["local"]["key"], found["local"]["context"]) == ("", 4096)
    assert found["fast"]["stands_for"] == "openai/gpt-5-nano"
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    assert "OPENAI_API_KEY is set" in printed("models")
    assert "a-key" not in printed("models", "--json")
    assert "gemini/" in printed("models", "gemini")
    assert "no known model has 'nonesuch'" in run("models", "nonesuch").stderr


def test_config_says_where_each_setting_is_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOKUSAI_MAX_WORKERS", "3")
    Path("pyproject.toml").write_text(
        '[tool.hokusai]\ntimeout = 9\nmax_workers = 5\ntrackers = []\nlm = "openai/gpt-5"\n', encoding="utf-8"
    )
    found = json.loads(printed("config", "--json"))
    assert found["project_file"] == "pyproject.toml"
    assert found["settings"]["timeout"] == {"value": 9, "source": "file pyproject.toml"}
    assert found["settings"]["max_workers"] == {"value": 3, "source": "environment HOKUSAI_MAX_WORKERS"}
    assert found["settings"]["lm"]["value"] == "openai/gpt-5"
    Path("pyproject.toml").write_text("[tool.hokusai]\ntimout = 9\n", encoding="utf-8")
    assert "did you mean 'timeout'?" in run("config").stderr
