"""Hook implementations of the plugin ``diskcache``."""

from __future__ import annotations

from hokusai_core.plugin_api import Component, hookimpl

__all__ = ["HOKUSAI_HOOK_API", "provide_caches", "provide_commands"]

#: The hook contract that this plugin is written for.
HOKUSAI_HOOK_API = 1


@hookimpl
def provide_caches() -> list[Component]:
    """Offer the cache in a folder under the name ``diskcache``."""
    return [
        Component(
            name="diskcache",
            target="hokusai_diskcache.cache:DiskCache",
            summary="Answers in a folder of this machine, shared by its processes",
            capabilities=("persistent",),
        )
    ]


@hookimpl
def provide_commands() -> list[Component]:
    """Offer ``hokusai cache``."""
    return [
        Component(
            name="cache",
            target="hokusai_diskcache.commands:cache",
            summary="Show, explain and clear stored answers",
            requires=("click",),
        )
    ]
