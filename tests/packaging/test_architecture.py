"""The pages that describe the code say what the code is."""

from __future__ import annotations

import re

import pytest

from dev import ROOT
from tools import draw_architecture, plain_english, write_reference

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_every_file_of_the_architecture_page_exists() -> None:
    named = set(re.findall(r"`([\w/-]+(?:\.py|/))`", PAGE)) - {"plugins/"}
    assert len(named) > 40
    missing = [
        name for name in sorted(named) if not any((folder / name).exists() for folder in (ROOT / "hokusai_core", ROOT))
    ]
    assert missing == []


def test_the_glossary_has_at_most_25_words() -> None:
    rows = re.findall(r"^\| (?!Word|---)", PAGE.partition("## Words")[2], re.MULTILINE)
    assert 10 < len(rows) <= 25


def test_the_picture_is_what_the_imports_are() -> None:
    assert draw_architecture.PICTURE.read_text(encoding="utf-8") == draw_architecture.picture()


def test_the_reference_is_what_the_docstrings_say() -> None:
    assert write_reference.differences() == []


def test_no_phrase_has_come_back_that_makes_a_reader_stop() -> None:
    assert plain_english.repository_findings() == []


@pytest.mark.parametrize(
    "text",
    ["Ask whoever is there.", "# nobody reads it", '"""Do as ``get`` without blocking."""', "This is no Tracker"],
)
def test_such_phrases_are_found(text: str) -> None:
    assert list(plain_english.findings(text))
