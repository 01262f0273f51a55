"""Distributions are found as ``importlib.metadata`` finds them."""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from hokusai_core.plugins.discovery import discover
from hokusai_core.plugins.distributions import distributions

ZOO = Path(__file__).parent / "zoo"


def origins(name: str) -> list[str]:
    """Return where the plugins of a distribution are from."""
    return [found.record.origin for found in discover().plugins if found.record.distribution == name]


def test_they_are_those_of_the_standard_library() -> None:
    ours = sorted(text for found in distributions() if (text := found.read_text("METADATA")))
    # The standard library lists a copy that another one shadows, too.
    theirs = sorted({found.name: found.read_text("METADATA") for found in importlib.metadata.distributions()})
    assert len(ours) == len(theirs) > 100


def test_one_in_an_archive_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "good.zip", "w") as archive:
        for path in (ZOO / "good").glob("*.dist-info/*"):
            archive.write(path, path.relative_to(ZOO / "good"))
    monkeypatch.syspath_prepend(str(tmp_path / "good.zip"))
    # The finder of importlib_metadata, where something has imported it, leaves the slash out.
    assert [origin.rstrip("/") for origin in origins("zoo-good")] == [str(tmp_path / "good.zip")]


def test_one_that_another_finder_knows_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Finder:
        def find_distributions(
            self, context: importlib.metadata.DistributionFinder.Context
        ) -> list[importlib.metadata.Distribution]:
            return [importlib.metadata.PathDistribution(ZOO / "good" / "zoo_good-1.0.dist-info")]

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder()])
    assert origins("zoo-good") == [str(ZOO / "good")]


def test_what_an_interrupted_uninstall_left_behind_shadows_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ZOO / "good", tmp_path / "site")
    (tmp_path / "site" / "zoo_good-0.1.dist-info").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert origins("zoo-good") == [str(tmp_path / "site")]
