"""Output on a real terminal: rich tables there, plain lines everywhere else, colors only where they are wanted."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest

from hokusai_core.cli_support.tables import aligned

COLOR = re.compile(r"\x1b\[(?:\d+;)*3[0-8]")


def on_terminal(environment: dict[str, str], *arguments: str, **variables: str) -> str:
    """Run the command with a terminal for its output, and return what it wrote there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "hokusai", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"} | variables,
    )
    os.close(theirs)
    written = bytearray()
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # how Linux says that the other side is closed
            break
        if not part:
            break
        written += part
    os.close(ours)
    assert process.wait(timeout=60) == 0, written.decode()
    return written.decode()


@pytest.mark.parametrize("arguments", [["list"], ["doctor"]], ids=" ".join)
def test_terminal_gets_colors_unless_they_are_unwanted(environment: dict[str, str], arguments: list[str]) -> None:
    environment.pop("NO_COLOR", None)
    assert COLOR.search(on_terminal(environment, *arguments))
    assert "\x1b" not in on_terminal(environment, *arguments, NO_COLOR="1")


@pytest.mark.parametrize(("arguments", "width"), [("list", 80), ("list", 40), ("list --wide", 40), ("models", 40)])
def test_terminal_gets_lines_that_fit_and_break_between_words(
    environment: dict[str, str], arguments: str, width: int
) -> None:
    written = on_terminal(environment, *arguments.split(), COLUMNS=str(width), NO_COLOR="1")
    assert ("─" in written) is (width == 80)
    lines = [line.rstrip() for line in written.splitlines() if not line.startswith("hokusai:")]
    assert max(map(len, lines)) <= width
    words = set(" ".join(lines).split())
    if arguments == "models":
        assert {"local", "context:", "4,096,", "default"} <= words
    else:
        assert {"EmailDraft", "Write", "short"} <= words
        assert sum(line.strip().startswith("EmailDraft") for line in lines) == 1
        assert ("1.0.0," in words) is ("--wide" in arguments)


def test_a_signature_is_shown_in_lines_that_break_between_words(environment: dict[str, str]) -> None:
    written = on_terminal(environment, "show", "SummarizeText", COLUMNS="40", NO_COLOR="1")
    lines = [line.rstrip() for line in written.splitlines()]
    assert max(map(len, lines)) <= 40
    assert "Give the most important facts first," in lines


def test_run_tells_model_and_time_on_a_terminal_only(environment: dict[str, str]) -> None:
    arguments = ["run", "EmailDraft", "-i", "recipient=Ann", "-i", "subject=Hi", "-i", "key_points=one"]
    written = on_terminal(environment, *arguments, HOKUSAI_MODE="testing")
    assert "Sample email body" in written
    assert "0 + 0 tokens" in written


def test_aligned_text_has_a_line_for_each_row() -> None:
    rows = [["NAME", "TEXT"], ["a", "two\nlines"], ["longer", ""]]
    assert aligned(rows) == ["NAME    TEXT", "a       two lines", "longer"]


def test_without_a_stdout_it_fails_in_a_line(environment: dict[str, str]) -> None:
    command = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "hokusai", "list"]
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (
        1,
        "hokusai: stdout is closed, so the answer cannot be printed; give the command a stdout\n",
    )


def test_without_a_stdin_it_says_so(environment: dict[str, str]) -> None:
    start = ["sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-m", "hokusai"]
    for arguments in (["run", "SummarizeText", "-i", "document=@-"], ["batch", "SummarizeText", "-"]):
        done = subprocess.run([*start, *arguments], env=environment, capture_output=True, text=True)
        assert done.returncode == 1
        assert "stdin is closed, so" in done.stderr
        assert "give the name of a file" in done.stderr
