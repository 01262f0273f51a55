"""Tests of the optimizer: the suite that every optimizer passes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hokusai_core.testing.optimizers import OptimizerConformance

from acme_sample.optimizer import AcmeSample


class TestAcmeSample(OptimizerConformance):
    @pytest.fixture
    def make_optimizer(self) -> Callable[[], AcmeSample]:
        return AcmeSample
