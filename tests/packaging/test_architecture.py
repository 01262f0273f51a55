"""The pages that describe the code say what the code is."""

from __future__ import annotations

import re

import pytest

from dev import ROOT
from tools import plain_english

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


@pytest.mark.parametrize(
    "text",
    ["Ask whoever is there.", "# nobody reads it", '"""Do as ``get`` without blocking."""', "This is no Tracker"],
)
def test_such_phrases_are_found(text: str) -> None:
    assert list(plain_english.findings(text))
