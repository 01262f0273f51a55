"""What runs the commands of pages sees what differs, and no page hides code from its readers."""

from __future__ import annotations

import pytest

from dev import ROOT, projects
from tests.pages.console import Command, commands_of, matches, plain_lines, rewritten

PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(folder / "README.md" for folder in projects())]

BLOCK = """\
$ hokusai list | \\
    head -n 1
one
$ cat > mail.txt <<'END'
Hello
END
$ hokusai show x
first
...
last
"""


def test_no_page_hides_code() -> None:
    hiding = ("invisible-code", "<!-- skip", "<!--- skip")
    assert not [page.name for page in PAGES if any(mark in page.read_text(encoding="utf-8") for mark in hiding)]


def test_blocks_are_read_as_commands_with_their_output() -> None:
    found = commands_of(BLOCK)
    assert [command.text for command in found] == [
        "hokusai list | \\\n    head -n 1",
        "cat > mail.txt <<'END'\nHello\nEND",
        "hokusai show x",
    ]
    assert [command.output for command in found] == [("one",), (), ("first", "...", "last")]
    printed = {0: ["1"], 1: [], 2: ["a", "b", "c", "d"]}
    assert rewritten(found, printed) == BLOCK.replace("one", "1").replace("first", "a").replace("last", "d")
    assert [Command(text).installs for text in ("make install", ". .venv/bin/activate", "makes")] == [True, True, False]


@pytest.mark.parametrize(
    ("page", "printed", "same"),
    [
        (["done in 1.2 s, id 3f2a9c81d4e0"], ["done in 30 s, id 77aa9c81d4e0"], True),
        (["0.750 of 20 rows"], ["0.751 of 20 rows"], False),
        (["6 rows, 246 tokens"], ["6 rows, 247 tokens"], False),
        (["a", "...", "z"], ["a", "b", "c", "z"], True),
        (["a", "...", "z"], ["a", "b", "c"], False),
        (["a", "...", "m", "...", "z"], ["a", "m", "z"], True),
        (["a", "...", "m", "...", "z"], ["a", "b", "z"], False),
        (["a"], ["a", "b"], False),
    ],
)
def test_output_is_compared_without_what_differs_from_run_to_run(
    page: list[str], printed: list[str], same: bool
) -> None:
    assert matches(page, printed) is same


def test_progress_is_not_shown() -> None:
    assert plain_lines("1 of 2\r2 of 2\n\x1b[1mdone\x1b[0m\n") == ["done"]
