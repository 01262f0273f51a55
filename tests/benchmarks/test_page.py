"""The page of the benchmarks is what their results say."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest

from dev import ROOT


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("_record")


def test_page_is_made_from_the_results(recorder: ModuleType) -> None:
    assert recorder.PAGE.read_text(encoding="utf-8") == recorder.page_text(), "run `make bench`"
    kept = recorder.results()
    assert len(kept) > 1
    for found in kept:
        assert (ROOT / "benchmarks" / f"{found['benchmark']}.py").is_file()
        assert found["output"]
        assert found["machine"]
        assert found["date"]
