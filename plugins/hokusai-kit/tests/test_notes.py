"""Notes that a user reads once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hokusai_core import Executor
from hokusai_core.cli_support.notes import note_once


def announced(folder: Path, capsys: pytest.CaptureFixture[str], *, once: bool) -> str:
    with Executor(environ={}, plugins=[]) as executor:
        if once:
            note_once(executor)
        executor.models.announce("the embedded model answers")
    return capsys.readouterr().err


def test_a_command_says_once_that_the_embedded_model_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOKUSAI_DATA_DIR", str(tmp_path / "data"))
    assert announced(tmp_path, capsys, once=True) == "hokusai: the embedded model answers\n"
    assert announced(tmp_path, capsys, once=True) == ""
    assert announced(tmp_path, capsys, once=False) == "hokusai: the embedded model answers\n"  # of a program, as before


def test_a_note_fits_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOKUSAI_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "20")
    with monkeypatch.context() as patch:
        patch.setattr(sys.stderr, "isatty", lambda: True)
        said = announced(tmp_path, capsys, once=True)
    assert said == "hokusai: the\nembedded model\nanswers\n"
