"""Inputs on a command line."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hokusai_core.cli_support.failures import CommandFailure, CommandMisuse
from hokusai_core.cli_support.inputs import gather_inputs, read_object, read_text


def test_every_form_of_an_input(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes("\ufefffrom a file".encode())
    pairs = ["a=1", "b:=[1, 2]", f"c=@{tmp_path / 'text'}", "d=@@home", "e=x", "e=y", "f=a=b", " g =h"]
    expected: dict[str, Any] = {"a": "1", "b": [1, 2], "c": "from a file", "d": "@home", "e": ["x", "y"], "f": "a=b"}
    assert gather_inputs(pairs) == {**expected, "g": "h"}


@pytest.mark.parametrize("pair", ["=x", "x", ":=1", "x:={secret", "x=@", "x=@nowhere", 'x:={"secret": 1, "secret": 2}'])
def test_what_is_wrong_is_named_and_values_are_not(pair: str) -> None:
    with pytest.raises(CommandFailure) as refused:
        gather_inputs([pair])
    assert "-i" in refused.value.message
    assert "secret" not in refused.value.message or "twice" in refused.value.message


def test_inputs_come_from_a_file_and_from_options_together(tmp_path: Path) -> None:
    path = tmp_path / "in.json"
    path.write_text(json.dumps({"a": 1, "b": "x"}))
    assert gather_inputs(["c=y"], str(path)) == {"a": 1, "b": "x", "c": "y"}
    with pytest.raises(CommandMisuse, match="both give b"):
        gather_inputs(["b=y"], str(path))
    path.write_text("[1]")
    with pytest.raises(CommandFailure, match="holds a list; expected a JSON object"):
        read_object(str(path))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(CommandFailure, match="nowhere: No such file or directory; check the name, and that"):
        read_text("nowhere")
    with pytest.raises(CommandFailure, match="Is a directory; give the path of a file"):
        read_text(str(tmp_path))
    (tmp_path / "binary").write_bytes(b"ab\xff")
    with pytest.raises(CommandFailure, match=r"is not UTF-8 text .byte 3 is 0xff."):
        read_text(str(tmp_path / "binary"))
    with pytest.raises(CommandFailure, match="null"):
        read_text("a\0b")
    with pytest.raises(CommandFailure, match=r"nowhere: .*written with @@"):
        gather_inputs(["text=@nowhere"])


def test_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b'{"a": 1}')))
    assert gather_inputs([], "-") == {"a": 1}
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(
        CommandFailure, match="stdin is closed, so nothing can be read from it; give the name of a file"
    ):
        gather_inputs(["text=@-"])
