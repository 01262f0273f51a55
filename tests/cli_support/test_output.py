"""Tables and progress, on a terminal and elsewhere."""

from __future__ import annotations

import io

import pytest

from hokusai_core.cli_support.progress import StatusLine, spinner
from hokusai_core.cli_support.tables import is_terminal, print_figures, print_table, printable, size_text


def test_elsewhere_a_table_is_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["name", "size"], [["a", "1"], ["long\nname", "22"]])
    print_figures({"a": "1", "long": ""})
    assert capsys.readouterr().out == "NAME       SIZE\na          1\nlong name  22\na     1\nlong\n"


def test_a_stream_that_is_closed_or_missing_is_no_terminal() -> None:
    closed = io.StringIO()
    closed.close()
    assert not is_terminal(closed)
    assert not is_terminal(None)


def test_a_spinner_says_nothing_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with spinner("working"):
        pass
    assert capsys.readouterr() == ("", "")


def test_a_status_line_is_drawn_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    stream = io.StringIO()
    line = StatusLine(stream)
    line.draw("a first state that is far too long")
    line.draw("left out, because it comes too soon")
    line.draw("second", final=True)
    line.close()
    line.close()
    assert stream.getvalue() == "\ra first state that \rsecond             \n"
    quiet = io.StringIO()
    StatusLine(quiet).close()
    assert not quiet.getvalue()


def test_what_a_model_wrote_cannot_steer_a_terminal() -> None:
    assert printable("a\x1b[2Jb\tc\nd\x9b") == "a\ufffd[2Jb\tc\nd\ufffd"


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (3 * 2**20, "3 MiB"), (5 * 2**40, "5120.0 GiB")]
)
def test_sizes(size: int, text: str) -> None:
    assert size_text(size) == text
