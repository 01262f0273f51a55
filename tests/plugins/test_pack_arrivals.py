"""Which pack was there first: noted once for each environment, never guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from hokusai_core.plugins.pack_arrivals import arrivals


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOKUSAI_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def test_packs_that_come_later_are_later(data: Path) -> None:
    assert arrivals(["hokusai-signatures", ""]) == {"hokusai-signatures": 0.0}
    assert not data.exists()  # nothing to note
    first = arrivals(["acme", "beta"])
    assert 0.0 < first["acme"] == first["beta"]
    second = arrivals(["acme", "young", "hokusai-signatures"])
    assert second["hokusai-signatures"] < second["acme"] == first["acme"] < second["young"]


def test_nothing_is_guessed_where_nothing_can_be_noted(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data.parent.joinpath("data").write_text("a file is in the way")
    assert arrivals(["acme"]) == {"hokusai-signatures": 0.0}
    data.unlink()
    arrivals(["acme"])
    (note,) = data.rglob("*.json")
    note.write_text("not JSON")
    assert arrivals(["acme"])["acme"] > 0.0
    monkeypatch.setattr("sys.prefix", "/another/environment")
    arrivals(["acme"])
    assert len(list(data.rglob("*.json"))) == 2
