"""Tests of the backend: the suite that every backend passes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hokusai_core.testing.backends import BackendConformance

from acme_sample.backend import AcmeSample


class TestAcmeSample(BackendConformance):
    @pytest.fixture
    def backend(self) -> Iterator[AcmeSample]:
        made = AcmeSample(workers=4)
        yield made
        made.close()
