"""A cache folder that Hokusai 0.1 wrote is read as it is."""

from __future__ import annotations

import json
import tarfile
import warnings
from pathlib import Path
from typing import Any

import pytest

from hokusai_core import Executor
from hokusai_core.testing.lm import null_lm
from hokusai_diskcache import DiskCache

KEY = "0fb7cfaf6a72a6725ead9a2c3a3c6c36744265d88d7ed7ce4a89b9b19f782af3"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with tarfile.open(Path(__file__).parent / "data" / "cache-0.1.tar.gz") as archive:
        # Early patch releases of Python 3.11 know no filters.
        filtered: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(tmp_path, **filtered)
    return tmp_path / "cache01"


def test_a_cache_of_0_1_is_read(folder: Path) -> None:
    cache = DiskCache(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        entry = cache.get(KEY)
        assert entry is not None
        assert json.loads(entry.outputs) == {"answer": "forty-two", "scores": [0.5, 1.0]}
        assert (entry.signature, entry.model, entry.expires_at) == ("local/Ask", "null/model", None)
        assert [found.key for found in cache.entries()] == [KEY]
        assert cache.stats()["entries"] == 1
        assert cache.stats()["damaged_rows"] == 0
    cache.close()


def test_a_cache_of_0_1_takes_new_answers_and_explains_its_own(folder: Path) -> None:
    question = {"question": "What is it? é", "limit": 3}
    cache = DiskCache(folder)
    with Executor(lm=null_lm(answers={"answer": "new", "scores": [1.0]}), plugins=[], cache=cache) as executor:
        executor.register_signature("Ask", "question: str, limit: int -> answer: str, scores: list[float]")
        found = executor.explain("Ask", question)
        # Its answers were read less strictly, so they are not served again; nothing else is different.
        assert found.hit is None
        assert found.nearest is not None
        assert found.nearest.key == KEY
        assert "adapter" in found.differs
        assert not {"fingerprint", "schema", "input:question", "input:limit"} & set(found.differs)
        assert executor.execute_signature("Ask", question)["answer"] == "new"
        assert {entry.signature for entry in cache.entries()} == {"local/Ask"}
        assert len(list(cache.entries())) == 2
