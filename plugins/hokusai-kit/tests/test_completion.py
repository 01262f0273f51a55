"""What shells offer when a word is completed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result

from hokusai.cli import cli
from hokusai.shell_completion import SHELLS

PAINT = '''
import enum
from typing import Literal
from hokusai import BaseSignature, InputField, OutputField

class Color(enum.Enum):
    RED = "deep red"

class Paint(BaseSignature):
    """Paint."""
    size: Literal["small", "large"] = InputField()
    color: Color = InputField()
    shiny: bool = InputField(default=False)
    picture: str = OutputField()
'''


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder, in which the command runs for a user who has kept nothing yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOKUSAI_DATA_DIR", str(tmp_path / "data"))
    for name, text in {"paint.py": PAINT, "mail.txt": "Hello", "my mail.txt": "Hi", "rows.csv": "body;kind\n"}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def completed(*words: str) -> list[str]:
    *before, incomplete = words
    complete = ShellComplete(cli, {}, "hokusai", "_HOKUSAI_COMPLETE")
    return [item.value for item in complete.get_completions(before, incomplete)]


def test_completion_knows_signatures_fields_models_metrics_and_files(folder: Path) -> None:
    assert run("alias", "set", "clf", "ClassifyText").exit_code == 0
    assert completed("run", "Cl") == ["ClarifyIntent", "ClassifyText", "clf"]
    assert completed("run", "ClassifyText", "-i", "") == ["categories=", "text="]
    assert completed("run", "ClassifyText", "-i", "text=x", "-i", "") == ["categories="]
    assert completed("run", "ClassifyText", "-i", "text=@ma") == ["text=@mail.txt"]
    assert "local" in completed("run", "ClassifyText", "--lm", "lo")
    assert "openai/gpt-5-mini" in completed("run", "ClassifyText", "--lm", "openai/gpt-5-m")
    assert "accuracy" in completed("evaluate", "ClassifyText", "rows.csv", "--metric", "acc")
    assert "paint.py" in completed("show", "pa")
    assert "evaluate" in completed("ev")
    for shell in ("bash", "zsh", "fish"):
        assert "_HOKUSAI_COMPLETE" in run("completion", shell).stdout


#: Line up to the cursor, the word that readline replaces -> what stands in its place.
IN_BASH = (
    ("hokusai run Class", "Class", "ClassifyText"),
    ("cd x && hokusai run ClassifyText -i text=@my", "@my", r"@my\ mail.txt"),
    ('hokusai run ClassifyText -i "text=@my', "text=@my", "text=@my mail.txt"),
    ("hokusai run paint.py:Paint -i size=sm", "sm", "small"),
    ("hokusai run paint.py:P", "P", "Paint"),
    ("hokusai run paint.py:Paint -i color=", "", r"deep\ red"),
    ("hokusai run paint.py:Paint -i shiny=t", "t", "true"),
    ("hokusai run paint.py:Paint -i col", "col", "color="),
    ("hokusai run ClassifyText --lm=lo", "lo", "local"),
    ("hokusai batch ClassifyText rows.csv --map bo", "bo", "body="),
    ("hokusai batch ClassifyText rows.csv --map body=te", "te", "text"),
)


@pytest.mark.parametrize(("line", "word", "expected"), IN_BASH, ids=[line for line, _, _ in IN_BASH])
def test_bash_gets_the_word_that_it_replaces(
    folder: Path, monkeypatch: pytest.MonkeyPatch, line: str, word: str, expected: str
) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_WORD", word)
    assert SHELLS["bash"](cli, {}, "hokusai", "_HOKUSAI_COMPLETE").complete() == f"plain,{expected}"


def test_the_script_of_bash_works_in_bash(folder: Path) -> None:
    command = Path(sys.executable).parent / "hokusai"
    script = f"""{run("completion", "bash").stdout}
    COMP_WORDS=(hokusai run ClassifyText -i te) COMP_CWORD=4
    _hokusai_completion {command} "" ""
    COMP_WORDS=() COMP_LINE="hokusai show Summ" COMP_POINT=17 before=${{COMPREPLY[*]}}
    _hokusai_completion {command} Summ show
    echo "$before ${{COMPREPLY[*]}}"
    """
    assert subprocess.check_output(["bash", "--norc", "-c", script], text=True) == "text= SummarizeText\n"
