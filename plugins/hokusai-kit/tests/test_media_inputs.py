"""Pictures on the command line: ``-i picture=@photo.png``."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hokusai.cli import cli

#: One red pixel.
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC")
SIGNATURE = {
    "schema": 1,
    "name": "Describe",
    "instructions": "Describe the picture.",
    "version": "1.0.0",
    "fields": [
        {"name": "picture", "role": "input", "type": {"dspy": "Image"}},
        {"name": "caption", "role": "output", "type": "str"},
    ],
}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("HOKUSAI_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOKUSAI_MODE", "testing")
    monkeypatch.setenv("HOKUSAI_DATA_DIR", str(tmp_path / "home"))
    monkeypatch.setenv("HOKUSAI_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Path("describe.json").write_text(json.dumps(SIGNATURE))
    Path("photo.png").write_bytes(PNG)


def hokusai(*arguments: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(cli, arguments, input=stdin)


def test_a_file_is_the_picture() -> None:
    done = hokusai("run", "describe.json", "-i", "picture=@photo.png")
    assert (done.exit_code, done.stdout) == (0, "Sample caption\n"), done.output
    assert hokusai("run", "describe.json", "-i", "picture=@-", stdin=PNG).exit_code == 0


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("photo.png", "write picture=@FILE"),
        ("@nowhere.png", "'nowhere.png' was not found"),
        ("@describe.json", "its type is application/json; expected image"),
        ("https://example.com/a.png", "HOKUSAI_MEDIA_URLS"),
    ],
)
def test_what_is_no_picture_is_an_error(value: str, message: str) -> None:
    done = hokusai("run", "describe.json", "-i", f"picture={value}")
    assert done.exit_code in (1, 2)
    assert message in done.stderr


def test_the_prompt_shows_that_there_is_a_picture() -> None:
    done = hokusai("prompt", "describe.json", "-i", "picture=@photo.png", "--lm", "openai/gpt-5-mini")
    assert done.exit_code == 0, done.output
    assert "[image]" in done.stdout
    assert base64.b64encode(PNG).decode()[:40] not in done.stdout


def test_a_batch_reads_pictures_beside_its_file() -> None:
    Path("rows.csv").write_text("picture\nphoto.png\n/etc/passwd\n")
    done = hokusai("batch", "describe.json", "rows.csv", "-o", "out.jsonl")
    assert done.exit_code == 3, done.output
    first, second = map(json.loads, Path("out.jsonl").read_text().splitlines())
    assert first["outputs"] == {"caption": "Sample caption"}
    assert "outside of" in second["error"]["message"]
