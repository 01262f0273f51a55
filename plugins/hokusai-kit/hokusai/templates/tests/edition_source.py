"""Tests of the source: the suite that every edition source passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hokusai_core.plugin_api import SignatureSpec
from hokusai_core.testing.edition_sources import EditionSourceConformance

from acme_sample.edition_source import AcmeSample


class TestAcmeSample(EditionSourceConformance):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "editions"

    @pytest.fixture
    def make_source(self) -> Callable[[], AcmeSample]:
        return lambda: AcmeSample(self.folder)

    def put(self, name: str, base: SignatureSpec, better: SignatureSpec, namespace: str) -> None:
        AcmeSample(self.folder).publish(name, base, better, namespace)
