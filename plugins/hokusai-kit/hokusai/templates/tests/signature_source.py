"""Tests of the source: the suite that every signature source passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hokusai_core.testing.signature_sources import SignatureSourceConformance

from acme_sample.signature_source import load_signature


class TestAcmeSample(SignatureSourceConformance):
    uri = "acme-plugin:/Shout"
    unknown_uri = "acme-plugin:/Nothing"

    @pytest.fixture
    def load(self) -> Callable[..., dict[str, Any]]:
        return load_signature
