"""Texts that are printed while they come in."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from hokusai import stream_printer
from hokusai.cli import cli
from hokusai.stream_printer import StreamPrinter
from hokusai_core.cli_support import word_writer
from hokusai_core.types import StreamDelta, StreamEvent, StreamFinished, StreamRetracted, StreamStarted

WORDS = (
    "A text of several words, which is longer than a line of this narrow terminal.\n\n"
    "  - indented item\n漢字漢字 漢字漢字 end"
)


def printed(events: list[StreamEvent], *, several: bool = False) -> None:
    begun: list[int] = []
    StreamPrinter(lambda: begun.append(1), several=several, show=lambda value: f"<{value}>").print(events)
    assert begun == [1] * (1 + sum(event.kind == "retracted" for event in events))


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (stream_printer, word_writer):
        monkeypatch.setattr(module, "is_terminal", lambda _: True)
    monkeypatch.setenv("COLUMNS", "20")


def said(*texts: str, result: Any, field: str = "answer") -> list[StreamEvent]:
    return [StreamStarted("S"), *(StreamDelta(field, text) for text in texts), StreamFinished(result)]


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("size", [1, 3, 7, 500])
def test_lines_are_broken_between_words_however_the_text_comes(size: int, capsys: pytest.CaptureFixture[str]) -> None:
    printed(said(*(WORDS[at : at + size] for at in range(0, len(WORDS), size)), result={"answer": WORDS}))
    assert capsys.readouterr().out == (
        "A text of several\nwords, which is\nlonger than a line\nof this narrow\nterminal.\n\n  - indented item\n"
        "漢字漢字 漢字漢字\nend\n"
    )


@pytest.mark.usefixtures("narrow")
def test_an_answer_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    printed(said("red \x1b[31m\x07 gone\r", "\nd\u00e9j\u00e0\u00a0vu \u202eevil", result={"answer": ""}))
    assert capsys.readouterr().out == "red \ufffd[31m\ufffd gone\nd\u00e9j\u00e0\u00a0vu \ufffdevil\n"


def test_without_a_terminal_nothing_is_broken(capsys: pytest.CaptureFixture[str]) -> None:
    printed(said(WORDS[:9], WORDS[9:], result={"answer": WORDS}))
    assert capsys.readouterr().out == WORDS + "\n"


def test_outputs_have_their_names_and_those_that_did_not_stream_come_at_the_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    printed(said("some", " words", result={"answer": "some words", "score": 3}), several=True)
    assert capsys.readouterr().out == "answer:\nsome words\n\nscore:\n<3>\n"


def test_a_retraction_is_said_and_the_answer_is_printed_anew(capsys: pytest.CaptureFixture[str]) -> None:
    events: list[StreamEvent] = [StreamStarted("S"), StreamDelta("answer", "wrong"), StreamRetracted("it is impolite")]
    printed([*events, *said("right", result={"answer": "right"})[1:]])
    streams = capsys.readouterr()
    assert streams.out == "wrong\n[The answer so far does not count: it is impolite]\n\nright\n"  # a file has no stderr
    assert "does not count: it is impolite" in streams.err


def test_streamed_and_whole_output_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOKUSAI_MODE", "testing")
    arguments = ["run", "EmailDraft", "-i", "recipient=Ann", "-i", "subject=Hello", "-i", "key_points=one"]
    whole, streamed = (CliRunner().invoke(cli, [*arguments, way]) for way in ("--no-stream", "--stream"))
    assert (whole.exit_code, streamed.exit_code) == (0, 0)
    assert whole.stdout == streamed.stdout == "Sample email body\n"


def test_json_does_not_stream() -> None:
    done = CliRunner().invoke(cli, ["run", "EmailDraft", "-i", "recipient=Ann", "--stream", "--json"])
    assert done.exit_code == 2
    assert "--json cannot" in done.stderr
