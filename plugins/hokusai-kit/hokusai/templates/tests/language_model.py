"""Tests of the provider: the suite that every provider passes, against a server on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hokusai_core.testing.chat_server import ChatServer
from hokusai_core.testing.language_models import LanguageModelProviderConformance

from acme_sample.language_model import AcmeSample


class TestAcmeSample(LanguageModelProviderConformance):
    @pytest.fixture
    def make_provider(self) -> Iterator[Callable[[], AcmeSample]]:
        with ChatServer() as server:
            yield lambda: AcmeSample(server.base_url)


def test_it_says_how_to_name_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACME_SAMPLE_URL", raising=False)
    reason = AcmeSample().available()
    assert reason is not None
    assert "ACME_SAMPLE_URL" in reason
