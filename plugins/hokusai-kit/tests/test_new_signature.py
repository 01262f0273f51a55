"""``hokusai new-signature``: the project that it writes works, and nothing of anybody's is overwritten."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., "subprocess.CompletedProcess[str]"]

BUILD = "import sys, uv_build; print(uv_build.build_wheel(sys.argv[1]))"


def test_tests_of_a_new_project_pass(hokusai: Command, tmp_path: Path, environment: dict[str, str]) -> None:
    done = hokusai("new-signature", "acme-mail")
    assert done.returncode == 0, done.stderr
    assert "cd acme-mail" in done.stdout
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    tested = subprocess.run(
        command, cwd=tmp_path / "acme-mail", env=environment, capture_output=True, text=True, check=False
    )
    assert tested.returncode == 0, tested.stdout
    assert "4 passed" in tested.stdout


def test_new_project_is_clean_for_linter_and_type_checker(hokusai: Command, tmp_path: Path) -> None:
    hokusai("new-signature", "acme-mail", "--signature", "ReadMail")
    project = tmp_path / "acme-mail"
    for command in (
        [
            sys.executable,
            "-m",
            "ruff",
            "check",
            "--isolated",
            "--select",
            "E,F,I,B,UP,ANN",
            "--line-length",
            "120",
            ".",
        ],
        [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length", "120", "--check", "."],
        [sys.executable, "-m", "mypy", "--strict", "acme_mail"],
    ):
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_new_project_installed_from_its_wheel_is_listed_and_runs(
    hokusai: Command, tmp_path: Path, environment: dict[str, str]
) -> None:
    hokusai("new-signature", "hokusai-acme", "--signature", "ReadMail", "--directory", "projects/acme")
    site = tmp_path / "site"
    scripts = sysconfig.get_path("scripts")
    built = subprocess.run(
        [sys.executable, "-c", BUILD, str(tmp_path)],
        cwd=tmp_path / "projects" / "acme",
        env=environment | {"PATH": os.pathsep.join([scripts, environment.get("PATH", "")])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    path = os.pathsep.join([str(site), *filter(None, [environment.get("PYTHONPATH")])])
    record = json.loads(hokusai("show", "acme/ReadMail", "--json", PYTHONPATH=path).stdout)
    assert record["owner"] == {"plugin": "acme", "distribution": "hokusai-acme", "version": "0.1.0"}
    assert record["evaluation_set"]["rows"] == 3
    assert record["evaluation_set"]["data_card"].endswith("hokusai_acme/evaluation/ReadMail.md")
    assert hokusai("data", "check", "ReadMail", record["evaluation_set"]["file"], PYTHONPATH=path).returncode == 0
    text = record["examples"][0]["inputs"]["text"]
    done = hokusai("run", "ReadMail", "-i", f"text={text}", PYTHONPATH=path, HOKUSAI_MODE="testing")
    assert done.stdout.startswith("actions:\n- Move the meeting to Wednesday\n")
    again = hokusai("new-signature", "hokusai-acme", "--directory", "other", PYTHONPATH=path)
    assert again.returncode == 2
    assert "hokusai-acme 0.1.0 is installed already" in again.stderr


def test_nothing_is_overwritten(hokusai: Command, tmp_path: Path) -> None:
    folder = tmp_path / "acme-mail"
    folder.mkdir()
    (folder / "README.md").write_text("mine", encoding="utf-8")
    done = hokusai("new-signature", "acme-mail")
    assert done.returncode == 1
    assert "README.md already" in done.stderr
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
def test_name_that_cannot_be_used(hokusai: Command, tmp_path: Path, name: str, part: str) -> None:
    done = hokusai("new-signature", name)
    assert done.returncode == 2
    assert part in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / name / "pyproject.toml").exists()


@pytest.mark.parametrize("signature", ["readMail", "Read-Mail", "EmailDraft", "None", "../X"])
def test_signature_that_cannot_be_used(hokusai: Command, signature: str) -> None:
    done = hokusai("new-signature", "acme-mail", "--signature", signature)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
