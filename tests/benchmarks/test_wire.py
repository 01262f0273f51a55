"""The benchmark of the wire measures real calls to a real server."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("wire")


@pytest.mark.slow
def test_sides_answer_rightly_and_absent_ones_are_named(wire: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    benchmark = wire.Benchmark(["dspy.Predict", "hokusai", "baml"], {})
    benchmark.cpu(rounds=1, calls=20)
    shown = capsys.readouterr().out
    assert "baml: left out (baml-py is not installed)" in shown
    rows = {line.split("|")[1].strip(): line.split("|")[2:4] for line in shown.splitlines() if line.startswith("| ")}
    for name in ("dspy.Predict", "hokusai"):
        assert all(100 < float(cell.replace(",", "")) < 100_000 for cell in rows[name])


def test_cancelled_calls_are_counted(wire: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    wire.Benchmark(["hokusai"], {}).cancel(3)
    assert "| hokusai | 3 of 3 | 0 |" in capsys.readouterr().out
