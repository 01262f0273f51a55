"""``hokusai new-plugin``: the projects that it writes work, each kind, and no existing file is overwritten."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hokusai.cli import cli
from hokusai.scaffold import KINDS, SIGNATURE, ProjectNames, project_files
from tests.warm_python import PYTEST, WarmPython

Command = Callable[..., "subprocess.CompletedProcess[str]"]

BUILD = "import sys, uv_build; print(uv_build.build_wheel(sys.argv[1]))"


def write(folder: Path, names: ProjectNames) -> Path:
    """Write a project and return its folder."""
    for path, text in project_files(names).items():
        (folder / names.distribution / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / names.distribution / path).write_text(text, encoding="utf-8")
    return folder / names.distribution


def check(*command: object, cwd: Path, **options: Any) -> str:
    """Run a command, which succeeds, and return what it prints."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    printed: str = done.stdout
    return printed


def passed(warm_python: WarmPython, *arguments: object, cwd: Path, env: dict[str, str]) -> str:
    """Run tests, which pass, in a process of their own, and return what pytest prints."""
    done = warm_python.run(PYTEST, *map(str, arguments), cwd=cwd, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A project of each kind."""
    folder = tmp_path_factory.mktemp("projects")
    names = {
        kind: ProjectNames(f"acme-{kind.replace('_', '-')}-one", kind, f"Acme{number}")
        for number, kind in enumerate(KINDS)
    }
    return {kind: write(folder, one) for kind, one in names.items()}


@pytest.mark.slow
def test_tests_of_every_kind_pass(
    projects: dict[str, Path], tmp_path: Path, environment: dict[str, str], warm_python: WarmPython
) -> None:
    path = os.pathsep.join(map(str, projects.values()))
    folders = [folder / "tests" for folder in projects.values()]
    options = ["-q", "-p", "no:cacheprovider", "-W", "error::pytest.PytestCollectionWarning"]
    told = passed(warm_python, *options, *folders, cwd=tmp_path, env=environment | {"PYTHONPATH": path})
    assert int(told.splitlines()[-1].split(" passed")[0].split()[-1]) > 10 * len(projects)


@pytest.mark.slow
def test_projects_are_clean_for_linter_and_type_checker(projects: dict[str, Path], tmp_path: Path) -> None:
    root = next(iter(projects.values())).parent
    for folder in projects.values():  # inside, as its author does, since ruff looks for the project's own modules there
        check(sys.executable, "-m", "ruff", "check", "--no-cache", ".", cwd=folder)
        check(sys.executable, "-m", "ruff", "format", "--no-cache", "--check", ".", cwd=folder)
    settings = projects["strategy"] / "pyproject.toml"
    sources = [
        part for folder in projects.values() for part in (next(folder.glob("acme_*")), *folder.glob("tests/*.py"))
    ]
    command = [sys.executable, "-m", "mypy", "--config-file", settings, "--follow-imports", "silent", *sources]
    check(*command, cwd=root, env=os.environ | {"MYPYPATH": os.pathsep.join(map(str, projects.values()))})


@pytest.mark.parametrize(
    "kind", ["cache", *(pytest.param(kind, marks=pytest.mark.soak) for kind in KINDS if kind != "cache")]
)
def test_a_wheel_of_a_project_is_found_and_checked(
    hokusai: Command, projects: dict[str, Path], tmp_path: Path, environment: dict[str, str], kind: str
) -> None:
    site, project = tmp_path / "site", projects[kind]
    scripts = os.pathsep.join([sysconfig.get_path("scripts"), environment.get("PATH", "")])
    check(sys.executable, "-c", BUILD, tmp_path, cwd=project, env=environment | {"PATH": scripts})
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        assert any(name.endswith("py.typed") for name in wheel.namelist())
        assert any(name.endswith("LICENSE") for name in wheel.namelist())
        wheel.extractall(site)
    path = os.pathsep.join([str(site), *filter(None, [environment.get("PYTHONPATH")])])
    done = hokusai("plugins", "check", project.name, "--json", PYTHONPATH=path)
    found = json.loads(done.stdout)["checks"]
    assert [
        one for one in found if one["state"] == "fail" or (one["state"] == "warn" and kind != "language_model")
    ] == []
    assert done.returncode == 0


@pytest.mark.soak
def test_a_pack_from_its_wheel_is_listed_and_runs(
    hokusai: Command, tmp_path: Path, environment: dict[str, str]
) -> None:
    project = write(tmp_path, ProjectNames("hokusai-acme", "signature", "ReadMail"))
    rows = project / "hokusai_acme" / "evaluation" / "ReadMail.jsonl"
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "-q", "-t", tmp_path / "site"]
    scripts = os.pathsep.join([sysconfig.get_path("scripts"), environment.get("PATH", "")])
    check(*pip, project, cwd=tmp_path, env=environment | {"PATH": scripts})
    path = os.pathsep.join([str(tmp_path / "site"), *filter(None, [environment.get("PYTHONPATH")])])
    record = json.loads(hokusai("show", "acme/ReadMail", "--json", PYTHONPATH=path).stdout)
    assert record["owner"] == {"plugin": "acme", "distribution": "hokusai-acme", "version": "0.1.0"}
    assert record["evaluation_set"]["rows"] == 3
    assert hokusai("data", "check", "ReadMail", str(rows), PYTHONPATH=path).returncode == 0
    text = record["examples"][0]["inputs"]["text"]
    done = hokusai("run", "ReadMail", "-i", f"text={text}", PYTHONPATH=path, HOKUSAI_MODE="testing")
    assert done.stdout.startswith("actions:\n- Move the meeting to Wednesday\n")


def test_tests_of_a_pack_pass_when_an_output_becomes_a_model(
    tmp_path: Path, environment: dict[str, str], warm_python: WarmPython
) -> None:
    project = write(tmp_path, ProjectNames("acme-models", "signature", "ReadMail"))
    file = project / "acme_models" / "signatures.py"
    source = file.read_text(encoding="utf-8")
    source = source.replace(
        "from hokusai_core", "import datetime\n\nfrom pydantic import BaseModel\n\nfrom hokusai_core", 1
    )
    source = source.replace(
        "class ReadMail", "class Action(BaseModel):\n    text: str\n    due: datetime.date\n\n\nclass ReadMail"
    )
    source = source.replace("actions: list[str]", "actions: list[Action]")
    for action in ("Move the meeting to Wednesday", "Bring the signed contract", "Fill what you need this morning"):
        source = source.replace(f'"{action}"', f'{{"text": "{action}", "due": "2030-01-02"}}')
    file.write_text(source, encoding="utf-8")
    environment |= {"PYTHONPATH": str(project)}
    assert "passed" in passed(warm_python, "-q", "-p", "no:cacheprovider", project, cwd=project, env=environment)


def own_lines(path: Path) -> int:
    """Return how many lines of a file are code: no blank ones, no comments, no docstrings."""
    text = path.read_text(encoding="utf-8")
    lines = {number for node in ast.walk(ast.parse(text)) for number in _lines(node)}
    return len(lines - {number for node in ast.walk(ast.parse(text)) for number in _docstring(node)})


def _lines(node: ast.AST) -> set[int]:
    if not isinstance(node, ast.stmt | ast.expr | ast.arg):
        return set()
    return {node.lineno} if hasattr(node, "body") else set(range(node.lineno, (node.end_lineno or node.lineno) + 1))


def _docstring(node: ast.AST) -> set[int]:
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or not node.body:
        return set()
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return set()


def test_the_page_tells_what_an_author_writes_for_each_kind(projects: dict[str, Path]) -> None:
    rows = ["| Kind | Component | Tests |", "| --- | --- | --- |"]
    for kind, folder in projects.items():
        package = next(folder.glob("acme_*"))
        component = sum(
            own_lines(path) for path in package.glob("*.py") if path.name not in ("__init__.py", "plugin.py")
        )
        suite = f"test_{package.name if kind == SIGNATURE else kind}.py"
        tests = own_lines(folder / "tests" / suite)
        rows.append(f"| `{kind}` | {component} | {tests} |")
    page = (Path(__file__).parents[3] / "docs" / "plugins.md").read_text(encoding="utf-8")
    assert "\n".join(rows) in page, "\n".join(rows)


# -- the command ------------------------------------------------------------------------------------------------------


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


def test_the_command_writes_a_project_and_says_what_comes_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("new-plugin", "acme-redis", "--kind", "cache")
    assert done.exit_code == 0, done.output
    assert "hokusai plugins check acme-redis" in done.output
    written = {
        str(path.relative_to(tmp_path / "acme-redis"))
        for path in Path("acme-redis").rglob("*")
        if path.is_file()
        for path in [tmp_path / path]
    }
    assert written == set(project_files(ProjectNames("acme-redis", "cache", "AcmeRedis")))
    done = run("new-signature", "acme-mail", "--signature", "ReadMail")
    assert done.exit_code == 0, done.output
    assert "hokusai show ReadMail" in done.output


def test_nothing_is_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "acme-mail"
    folder.mkdir()
    (folder / "README.md").write_text("mine", encoding="utf-8")
    done = run("new-plugin", "acme-mail", "--kind", "tool")
    assert done.exit_code == 1
    assert "README.md already" in done.output
    assert [path.name for path in folder.iterdir()] == ["README.md"]
    assert (folder / "README.md").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("Acme", "lower-case letters"),
        ("acme_mail", "lower-case letters"),
        ("acme--mail", "lower-case letters"),
        ("../acme", "lower-case letters"),
        ("1acme", "lower-case letters"),
        ("import", "Python has its own 'import'"),
        ("json", "Python has its own 'json'"),
        ("tests", "Python has its own 'tests'"),
        ("pytest", "is installed already"),
        ("signatures", "has a plugin 'signatures' already"),
        ("hokusai-local", "is installed already"),
        ("yaml", "can be imported already"),
    ],
)
def test_name_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, part: str) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("new-plugin", name, "--kind", "signature")
    assert done.exit_code == 2
    assert part in done.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("signature", ["readMail", "Read-Mail", "EmailDraft", "None", "../X"])
def test_signature_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signature: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("new-signature", "acme-mail", "--signature", signature).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_kind_that_is_misspelt_lists_the_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("new-plugin", "acme-mail", "--kind", "cahce")
    assert done.exit_code == 2
    assert "did you mean 'cache'" in done.output
    assert all(kind in run("new-plugin", "--help").output.replace("\n", "").replace(" ", "") for kind in KINDS)
