"""Tests of the strategy: the suite that every strategy passes."""

from __future__ import annotations

import pytest
from acme_sample.strategy import AcmeSample
from hokusai_core.testing.strategies import StrategyConformance


class TestAcmeSample(StrategyConformance):
    options = {"tries": 3}

    @pytest.fixture
    def target(self) -> type[AcmeSample]:
        return AcmeSample
