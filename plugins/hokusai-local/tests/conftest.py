from __future__ import annotations

from collections.abc import Iterator

import pytest

from hokusai_core import LanguageModel
from hokusai_local import LlamaEngine, LocalProvider


@pytest.fixture(scope="session")
def provider() -> Iterator[LocalProvider]:
    provider = LocalProvider()
    yield provider
    provider.close()


@pytest.fixture(scope="session")
def model(provider: LocalProvider) -> LanguageModel:
    return provider.load("")


@pytest.fixture(scope="session")
def engine(model: LanguageModel) -> LlamaEngine:
    engine = model.lm.engine
    assert isinstance(engine, LlamaEngine)
    return engine
