"""Pictures on the command line: ``-i picture=@photo.png``."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

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


def command(*arguments: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(cli, arguments, input=stdin)


def test_a_file_is_the_picture() -> None:
    done = command("run", "describe.json", "-i", "picture=@photo.png")
    assert (done.exit_code, done.stdout) == (0, "Sample caption\n"), done.output
    assert command("run", "describe.json", "-i", "picture=@-", stdin=PNG).exit_code == 0


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
    done = command("run", "describe.json", "-i", f"picture={value}")
    assert done.exit_code in (1, 2)
    assert message in done.stderr


def test_the_prompt_shows_that_there_is_a_picture() -> None:
    done = command("prompt", "describe.json", "-i", "picture=@photo.png", "--lm", "openai/gpt-5-mini")
    assert done.exit_code == 0, done.output
    assert "[image]" in done.stdout
    assert base64.b64encode(PNG).decode()[:40] not in done.stdout


def test_a_batch_reads_pictures_beside_its_file() -> None:
    Path("rows.csv").write_text("picture\nphoto.png\n/etc/passwd\n")
    done = command("batch", "describe.json", "rows.csv", "-o", "out.jsonl")
    assert done.exit_code == 3, done.output
    first, second = map(json.loads, Path("out.jsonl").read_text().splitlines())
    assert first["outputs"] == {"caption": "Sample caption"}
    assert "outside of" in second["error"]["message"]


PLUGIN = """
import dspy
from hokusai_core import BaseSignature, InputField, OutputField, hookimpl

class Describe(BaseSignature):
    "Describe the picture."
    picture: dspy.Image = InputField()
    caption: str = OutputField()

class Translate(BaseSignature):
    "Translate the text."
    text: str = InputField()
    language: str = InputField()
    translation: str = OutputField()

@hookimpl
def provide_signatures():
    return [Describe, Translate]
"""
CHAIN = """
name = "described"
inputs = ["photo", "language"]

[[steps]]
signature = "Describe"
inputs = { picture = "photo" }

[[steps]]
signature = "Translate"
inputs = { text = "Describe.caption", language = "language" }
"""


def test_chains_evaluations_and_caches_take_files(install: Any, hokusai: Any, tmp_path: Path) -> None:
    install("pictures_pack", PLUGIN)
    Path("chain.toml").write_text(CHAIN)
    settings = {"HOKUSAI_MODE": "testing"}
    arguments = ("chain", "run", "chain.toml", "-i", "language=French")
    done = hokusai(*arguments, "-i", "photo=@photo.png", "--json", **settings)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"schema_version": 1, "outputs": {"translation": "Sample translation"}}
    done = hokusai(*arguments, "-i", "photo=photo.png", **settings)
    assert done.returncode == 2
    assert "write photo=@FILE" in done.stderr
    Path("inputs.json").write_text('{"photo": "photo.png", "language": "French"}')
    done = hokusai("chain", "run", "chain.toml", "--inputs", "inputs.json", **settings)
    assert done.returncode == 0, done.stderr
    Path("inputs.json").write_text('{"photo": "/etc/passwd", "language": "French"}')
    done = hokusai("chain", "run", "chain.toml", "--inputs", "inputs.json", **settings)
    assert done.returncode != 0
    assert "outside of" in done.stderr

    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "red.png").write_bytes(PNG)
    (tmp_path / "data" / "rows.csv").write_text("picture,caption\nred.png,Sample caption\n")
    done = hokusai("evaluate", "Describe", "data/rows.csv", "--metric", "accuracy", "--json", **settings)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["systems"][0]["scores"]["accuracy"]["value"] == 1.0
    (tmp_path / "data" / "rows.jsonl").write_text('{"photo": "red.png", "translation": "Sample translation"}\n')
    done = hokusai("evaluate", "chain.toml", "data/rows.jsonl", "-i", "language=French", "--json", **settings)
    assert done.returncode == 0, done.stderr
    (tmp_path / "data" / "few.jsonl").write_text('{"caption": "Sample caption"}\n')
    done = hokusai("evaluate", "Describe", "data/few.jsonl", "-i", "picture=@photo.png", "--json", **settings)
    assert done.returncode == 0, done.stderr
    (tmp_path / "data" / "bad.csv").write_text("picture,caption\n../photo.png,x\n")
    done = hokusai("evaluate", "Describe", "data/bad.csv", **settings)
    assert done.returncode != 0
    assert "outside of" in done.stderr
    done = hokusai("data", "check", "Describe", "data/rows.csv", **settings)
    assert "misfit" not in done.stdout
    assert "outside of" in hokusai("data", "check", "Describe", "data/bad.csv", **settings).stdout
    done = hokusai("cache", "explain", "Describe", "-i", "picture=@photo.png", "--lm", "openai/gpt-5-mini")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("pictures_pack/Describe: miss")
