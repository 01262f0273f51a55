"""Tests of the tool: the suite that every tool passes."""

from __future__ import annotations

import pytest
from hokusai_core.testing.tools import ToolConformance

from acme_sample.tool import AcmeSample


class TestAcmeSample(ToolConformance):
    arguments = {"text": "three short words"}

    @pytest.fixture
    def tool(self) -> AcmeSample:
        return AcmeSample()


def test_it_counts() -> None:
    assert AcmeSample().call(text="three short words") == 3
