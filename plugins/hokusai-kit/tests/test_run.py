"""``hokusai run`` without a language model: inputs, outputs, and everything that can be wrong with them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hokusai.cli import cli
from hokusai_core import BaseSignature, InputField, OutputField

Command = Callable[..., "subprocess.CompletedProcess[str]"]

EMAIL = ("-i", "recipient=Ann", "-i", "subject=Hello", "-i", "key_points=one, two")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Testing mode in a folder of its own; no test here calls a language model."""
    for name in [name for name in os.environ if name.startswith("HOKUSAI_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOKUSAI_MODE", "testing")
    monkeypatch.setenv("HOKUSAI_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def run(*arguments: str, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(cli, ["run", *arguments], input=stdin)


def refused(*arguments: str, stdin: str | bytes | None = None, code: int = 1) -> str:
    """Run what has to fail; return the line on stderr."""
    done = run(*arguments, stdin=stdin)
    assert done.exit_code == code, done.output
    assert done.stdout == ""
    assert done.stderr.startswith("hokusai: ")
    return done.stderr


def test_one_output_is_printed_as_it_is() -> None:
    done = run("EmailDraft", *EMAIL)
    assert (done.exit_code, done.stdout) == (0, "Sample email body\n")


def test_several_outputs_are_named() -> None:
    done = run("DataAnalysis", "-i", "data=1, 2", "-i", "question=Which is larger?")
    assert done.stdout == "analysis:\nSample analysis\n\ninsights:\n- Sample insights\n"


def test_json_output_says_how_it_came_about() -> None:
    record = json.loads(run("DataAnalysis", "-i", "data=1", "-i", "question=x", "--json").stdout)
    assert record["signature"] == "signatures/DataAnalysis"
    assert record["outputs"] == {"analysis": "Sample analysis", "insights": ["Sample insights"]}
    assert {"execution_id", "model", "usage", "cost", "latency", "cached", "fingerprint"} <= record.keys()


def write_signature(path: Path) -> None:
    class Echo(BaseSignature):
        """Repeat the values."""

        words: list[str] = InputField()
        numbers: dict[str, int] = InputField(default={})
        secret: str = InputField(default="none", sensitive=True, max_length=10)
        times: int = InputField(default=1, ge=1)
        text: str = OutputField()

        examples = (
            {"inputs": {"words": ["a", "b"], "numbers": {"one": 1}}, "outputs": {"text": "from the example"}},
            {"inputs": {"words": ["@home"]}, "outputs": {"text": "with an at sign"}},
        )

    path.write_text(json.dumps(Echo.spec.to_dict()), encoding="utf-8")


def test_signature_from_a_file() -> None:
    write_signature(Path("echo.json"))
    done = run("echo.json", "-i", "words=a", "-i", "words=b", "-i", 'numbers:={"one": 1}')
    assert done.stdout == "from the example\n", done.output


def test_values_come_from_files_stdin_and_json(tmp_path: Path) -> None:
    write_signature(Path("echo.json"))
    Path("words.txt").write_bytes("\ufeffa\nb".encode())
    assert run("echo.json", "-i", "words=@words.txt", "-i", 'numbers:={"one": 1}').stdout == "from the example\n"
    assert run("echo.json", "-i", "words=@-", "-i", 'numbers:={"one":1}', stdin="a\nb").stdout == "from the example\n"
    assert run("echo.json", "-i", "words=@@home").stdout == "with an at sign\n"
    inputs = {"words": ["a", "b"], "numbers": {"one": 1}}
    Path("inputs.json").write_text(json.dumps(inputs), encoding="utf-8")
    assert run("echo.json", "--inputs", "inputs.json").stdout == "from the example\n"
    assert run("echo.json", "--inputs", "-", stdin=json.dumps(inputs)).stdout == "from the example\n"
    rest = json.dumps({"numbers": {"one": 1}})
    assert run("echo.json", "--inputs", "-", "-i", "words=a, b", stdin=rest).stdout == "from the example\n"


def test_file_that_holds_no_signature_is_refused() -> None:
    Path("list.json").write_text("[]", encoding="utf-8")
    Path("other.json").write_text('{"fields": 1}', encoding="utf-8")
    assert "holds a list" in refused("list.json")
    assert "other.json holds no signature" in refused("other.json")
    assert "No such file" in refused("missing.json")


def test_a_name_that_is_there_twice_is_refused() -> None:
    Path("inputs.json").write_text('{"recipient": "Ann", "recipient": "Bob"}', encoding="utf-8")
    assert "inputs.json: 'recipient' is there twice" in refused("EmailDraft", "--inputs", "inputs.json")


def test_every_problem_of_the_inputs_is_told_at_once() -> None:
    lines = refused("EmailDraft", "-i", "recipient=Ann", "-i", "subjct=Hi", "-i", "tone:=5").splitlines()
    assert lines[0] == "hokusai: inputs do not fit signature 'EmailDraft':"
    told = {line.split(":")[0].strip("- ") for line in lines[1:]}
    assert told == {"subject", "key_points", "subjct", "tone"}
    assert "did you mean 'subject'" in "".join(lines)


def test_unknown_signature_is_guessed() -> None:
    line = refused("EmialDraft", *EMAIL)
    assert "did you mean 'EmailDraft'? hokusai list" in line
    assert line.count("\n") == 1


def test_empty_categories_are_refused() -> None:
    assert "categories: must not be empty" in refused("ClassifyText", "-i", "text=Hello", "-i", "categories=")


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "part"),
    [
        (["-i", "recipient"], None, 2, "-i number 1 has no '='"),
        ([*EMAIL, "-i", "=x"], None, 2, "-i number 4 has no '='"),
        (["-i", "recipient=@"], None, 2, "names no file"),
        (["-i", "recipient=@missing.txt"], None, 1, "missing.txt: No such file or directory"),
        (["-i", "recipient=@."], None, 1, "Is a directory"),
        (["-i", "key_points:=[1"], None, 1, "-i key_points:= is not JSON"),
        (["--inputs", "missing.json"], None, 1, "missing.json: No such file or directory"),
        (["--inputs", "-"], "{'a': 1}", 1, "stdin is not JSON: Expecting property name"),
        (["--inputs", "-"], "", 1, "stdin is not JSON"),
        (["--inputs", "-"], "[1, 2]", 1, "stdin holds a list"),
        (["--inputs", "-"], "3", 1, "stdin holds a single value"),
        (["--inputs", "-"], "[" * 100_000, 1, "nested too deeply"),
        (["--inputs", "-"], b'{"recipient": "Ren\xe9"}', 1, "stdin is not UTF-8 text (byte 19 is 0xe9)"),
        (["--inputs", "-", "-i", "recipient=Ann"], '{"recipient": "Bob"}', 2, "both give recipient"),
        ([*EMAIL, "--timeout", "soon"], None, 2, "'--timeout': 'soon': expected a number"),
        ([*EMAIL, "--cache", "maybe"], None, 2, "'maybe': expected 'use', 'refresh' or 'off'"),
        ([*EMAIL, "--lm"], None, 2, "requires an argument"),
        ([*EMAIL, "--model", "x"], None, 2, "write --lm provider/model"),
        ([*EMAIL, "--temperature", "0"], None, 2, "write --parameter temperature=..."),
        ([*EMAIL, "--recipient", "Ada"], None, 2, "an input is written -i recipient=..."),
        (["a text"], None, 2, "inputs are written -i field=value, or -i field=@file"),
    ],
)
def test_what_cannot_be_read_is_one_line(arguments: list[str], stdin: Any, code: int, part: str) -> None:
    line = refused("EmailDraft", *arguments, stdin=stdin, code=code)
    assert part in line
    assert line.count("\n") == 1


def test_file_that_is_no_utf8_is_refused() -> None:
    Path("latin.txt").write_bytes("Caf\xe9".encode("latin-1"))
    line = refused("SummarizeText", "-i", "document=@latin.txt")
    assert "latin.txt is not UTF-8 text (byte 4 is 0xe9)" in line
    assert "iconv" in line


def test_sensitive_values_are_in_no_message() -> None:
    canary = "canary-4711-canary"
    write_signature(Path("echo.json"))
    for arguments in (
        ["-i", f"secret={canary}", "-i", "words=a"],
        ["-i", f'secret:="{canary}', "-i", "words=a"],
        ["-i", f'secret:=["{canary}"]', "-i", "words=a"],
        ["-i", f"{canary}"],
    ):
        done = run("echo.json", *arguments)
        assert done.exit_code != 0
        assert "canary" not in done.output


def test_settings_of_the_environment_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOKUSAI_MODE", "fast")
    assert "HOKUSAI_MODE='fast'" in refused("EmailDraft", *EMAIL)
    monkeypatch.setenv("HOKUSAI_MODE", "testing")
    monkeypatch.setenv("HOKUSAI_TRACKERS", "unknown")
    assert "unknown" in refused("EmailDraft", *EMAIL)


def test_reader_that_goes_away_is_no_traceback(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "hokusai", "list", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=60) == 141
    process.stderr.close()


@pytest.mark.parametrize("command", ["show", "run"])
def test_a_chain_is_not_read_from_stdin(command: str) -> None:
    done = CliRunner().invoke(cli, ["chain", command, "-"])
    assert done.exit_code == 2
    assert "a chain is not read from stdin" in done.stderr
