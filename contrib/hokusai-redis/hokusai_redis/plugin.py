"""The component of this plugin: the cache ``redis``."""

from __future__ import annotations

from hokusai_core.plugin_api import Component, hookimpl

__all__ = ["provide_caches"]

#: The hook contract that this plugin is written for.
HOKUSAI_HOOK_API = 1


@hookimpl
def provide_caches() -> list[Component]:
    """Offer the cache on a server."""
    return [
        Component(
            name="redis",
            target="hokusai_redis.cache:RedisCache",
            summary="Answers on the Redis or Valkey server of HOKUSAI_REDIS_URL, shared by processes and machines",
            capabilities=("persistent",),
        )
    ]
