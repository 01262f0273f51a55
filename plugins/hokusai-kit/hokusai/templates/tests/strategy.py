"""Tests of the strategy: the suite that every strategy passes."""

from __future__ import annotations

import pytest
from hokusai_core.testing.strategies import StrategyConformance

from acme_sample.strategy import AcmeSample


class TestAcmeSample(StrategyConformance):
    options = {"tries": 3}

    @pytest.fixture
    def target(self) -> type[AcmeSample]:
        return AcmeSample
