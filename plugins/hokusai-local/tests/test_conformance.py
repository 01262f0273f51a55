from __future__ import annotations

from typing import Any, ClassVar

import pytest

from hokusai_core.testing.language_models import LanguageModelProviderConformance
from hokusai_local import LocalProvider


class TestLocalProvider(LanguageModelProviderConformance):
    fork_safe = False  # llama.cpp's threads do not come along
    unknown_name = "/no/such/model.gguf"
    options: ClassVar[dict[str, Any]] = {"context": 768}

    @pytest.fixture
    def make_provider(self) -> type[LocalProvider]:
        return LocalProvider
