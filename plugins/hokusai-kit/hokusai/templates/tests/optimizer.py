"""Tests of the optimizer: the suite that every optimizer passes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from acme_sample.optimizer import AcmeSample
from hokusai_core.testing.optimizers import OptimizerConformance


class TestAcmeSample(OptimizerConformance):
    @pytest.fixture
    def make_optimizer(self) -> Callable[[], AcmeSample]:
        return AcmeSample
