"""Tests of the metric: the suite that every metric passes."""

from __future__ import annotations

import pytest
from hokusai_core.testing.metrics import MetricConformance

from acme_sample.metric import AcmeSample


class TestAcmeSample(MetricConformance):
    expected = {"answer": "Paris, France"}
    right = {"answer": "paris, france"}
    wrong = {"answer": "a potato"}

    @pytest.fixture
    def metric(self) -> AcmeSample:
        return AcmeSample()
