"""Tests of the validator: the suite that every validator passes."""

from __future__ import annotations

import pytest
from hokusai_core.testing.validators import ValidatorConformance

from acme_sample.validator import AcmeSample


class TestAcmeSample(ValidatorConformance):
    bad_inputs = {"message": "The password is hunter2."}  # the suite checks the signature "message -> reply"

    @pytest.fixture
    def validator(self) -> AcmeSample:
        return AcmeSample()
