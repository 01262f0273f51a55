from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hokusai_redis import RedisCache
from hokusai_redis.testing import RedisProcess


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("URL", "USERNAME", "PASSWORD", "PREFIX"):
        monkeypatch.delenv(f"HOKUSAI_REDIS_{name}", raising=False)


@pytest.fixture(scope="session")
def server() -> Iterator[RedisProcess]:
    """One server for all tests; each has a prefix of its own."""
    process = RedisProcess().start()
    yield process
    process.close()


@pytest.fixture
def make_cache(server: RedisProcess) -> Iterator[Callable[..., RedisCache]]:
    """Make caches on one store that was empty when the test began."""
    prefix, made = f"test-{secrets.token_hex(8)}", []

    def make(**options: Any) -> RedisCache:
        cache = RedisCache(server.url, **{"prefix": prefix, "timeout": 30.0, **options})
        made.append(cache)
        return cache

    yield make
    for cache in made:
        cache.close()
